package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Announcement is a text from a person to all readers of the pages, such as "maintenance
// tonight from 22:00". It does not change alerts. Use a silence for that.
type Announcement struct {
	// Text is shown as it is, to every reader. An empty one ends the announcement.
	Text string `json:"text"`
	// Until is when the announcement ends, at most 31 days from now.
	Until time.Time `json:"until"`
	// Set is when Announce was called.
	Set time.Time `json:"set"`
}

const (
	announcementKey  = "announcement"
	maxAnnouncement  = 1000 // bytes
	longAnnouncement = 31 * 24 * time.Hour
	formHours        = 24 // how long an announcement of the form lasts by default
)

// Announce shows a on the pages of all instances that share the store, after at most one
// SaveEvery. It replaces the announcement before.
func (h *History) Announce(ctx context.Context, a Announcement) error {
	now := time.Now()
	a.Text, a.Set, a.Until = strings.TrimSpace(a.Text), now.Round(0).UTC(), a.Until.Round(0).UTC()
	if len(a.Text) > maxAnnouncement || !utf8.ValidString(a.Text) {
		return fmt.Errorf("history: an announcement has at most %d bytes of UTF-8", maxAnnouncement)
	}
	var document []byte
	if a.Text != "" {
		if !a.Until.After(now) || a.Until.Sub(now) > longAnnouncement {
			return errors.New("history: an announcement ends in the future, after 31 days at the latest")
		}
		a.Text = h.reg.Scrub(a.Text)
		var err error
		if document, err = json.Marshal(a); err != nil {
			return err
		}
	}
	if err := h.store.Save(ctx, announcementKey, document); err != nil {
		return fmt.Errorf("history: the announcement is not stored: %w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.announced = a
	return nil
}

func (h *History) takeAnnouncement(document []byte) {
	var a Announcement
	if len(document) > 0 && json.Unmarshal(document, &a) != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.announced = a
}

// announcement returns the present announcement, or nil.
func (h *History) announcement(now time.Time) *Announcement {
	h.mu.Lock()
	defer h.mu.Unlock()
	if a := h.announced; a.Text != "" && now.Before(a.Until) {
		return &a
	}
	return nil
}

// serveAnnounce reads the form of the page: "text", and "hours" until the end.
func (h *History) serveAnnounce(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	switch {
	case !h.authorized(r):
		http.NotFound(w, r)
		return
	case http.NewCrossOriginProtection().Check(r) != nil:
		http.Error(w, "a page of another site may not send this", http.StatusForbidden)
		return
	case askedWithSlash(r):
		redirect(w, "../announce", http.StatusPermanentRedirect)
		return
	}
	hours := formHours
	if text := r.PostFormValue("hours"); text != "" {
		var err error
		if hours, err = strconv.Atoi(text); err != nil || hours < 1 || hours > int(longAnnouncement.Hours()) {
			h.servePage(w, r, "The hours are not a number from 1 to 744.", http.StatusBadRequest)
			return
		}
	}
	err := h.Announce(r.Context(), Announcement{Text: r.PostFormValue("text"), Until: time.Now().Add(time.Duration(hours) * time.Hour)})
	if err != nil {
		h.servePage(w, r, "The announcement was not stored: "+h.reg.Scrub(err.Error()), http.StatusBadRequest)
		return
	}
	redirect(w, "./", http.StatusSeeOther)
}
