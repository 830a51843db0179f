// Package history keeps the results of a health registry for 90 days, across restarts
// and for all instances of a service, and serves them as pages.
//
//	store, err := history.Files("/var/lib/pos/health")
//	...
//	past, err := history.New(reg, store, &history.Options{Password: os.Getenv("STATUS_PASSWORD")})
//	...
//	go past.Run(ctx)
//	past.Mount(mux) // /uptime/
//
// Results are counted in intervals of five minutes for two days, and then in intervals
// of an hour. A store receives one small document per instance and day, of about 4 KB
// per check. Its size is therefore limited.
package history

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/mainstay-go/mainstay/health"
)

// Store keeps documents by key. Use [Files], [Redis] or [Database].
type Store interface {
	// Load returns the documents with the given prefix, by key.
	Load(ctx context.Context, prefix string) (map[string][]byte, error)
	// Save stores a document. An empty one deletes it.
	Save(ctx context.Context, key string, document []byte) error
}

// Options tune a [History]. The zero value and nil work.
type Options struct {
	// Instance names this process among all instances of the service. Default: the host
	// name.
	Instance string
	// SaveEvery is the time between two writes to the store. A process that is killed
	// loses at most the results of this time. Default: 1 min.
	SaveEvery time.Duration
	// Keep is how long results are kept, at most 90 days. A process that has run for less than
	// an hour deletes only what is more than twice as many dates. Default: 90 days.
	Keep time.Duration
	// Password gives access to all pages in a browser, by a form and a cookie. Default:
	// empty. Then only Authorize decides.
	Password string
	// PasswordHash is the SHA-256 of a generated password, instead of Password, for a
	// service that stores no password. It signs the cookies, so it is a secret too.
	// Default: empty.
	PasswordHash []byte
	// Authorize gives programs access to all pages, such as health.BearerToken.
	// Default: nil.
	Authorize func(*http.Request) bool
	// Public names the checks that every caller sees: their state, uptime and badges,
	// and never their output. Default: empty.
	Public []string
	// Title is the heading of the pages. Default: the service of the registry.
	Title string
	// Logger receives failures of the store. Default: slog.Default().
	Logger *slog.Logger
}

const (
	defaultKeep = 90 * 24 * time.Hour
	lostAfter   = 5 * time.Minute    // an instance that has not saved for this long is shown as lost
	lostFor     = 7 * 24 * time.Hour // how long it is shown
	// deleteAfter is how long a process runs before it deletes old days by its clock. By then a
	// clock that was wrong at the start is right, and days that only seemed to be old are kept.
	deleteAfter = time.Hour
)

// History counts the results of a registry. All methods are safe for concurrent use.
type History struct {
	reg                 *health.Registry
	store               Store
	opts                Options
	log                 *slog.Logger
	key                 []byte // of the cookies, or nil without a password
	born                time.Time
	logins, knownLogins tries

	saving sync.Mutex
	mu     sync.Mutex // guards everything below
	days   map[dayKey]*day
	dirty  map[string]bool // days of this instance with unsaved results
	loaded bool
	seen   map[string]now // the last state of every instance
	// announced is the last announcement, or one without a text.
	announced Announcement
	failed    bool
}

// dayKey is one day of one instance.
type dayKey struct{ instance, date string }

// New returns a History of the registry. It loads no results and starts no goroutine.
// Call [History.Run].
func New(reg *health.Registry, store Store, opts *Options) (*History, error) {
	if reg == nil || store == nil {
		return nil, errors.New("history: New needs a registry and a store")
	}
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.Instance == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("history: name this instance in Options.Instance: %w", err)
		}
		o.Instance = host
	}
	if o.SaveEvery < 0 || o.Keep < 0 || o.Keep > defaultKeep {
		return nil, fmt.Errorf("history: SaveEvery %v and Keep %v: use positive times, and 90 days at most", o.SaveEvery, o.Keep)
	}
	o.SaveEvery = cmp.Or(o.SaveEvery, time.Minute)
	o.Keep = cmp.Or(o.Keep, defaultKeep)
	if o.Password != "" && len(o.Password) < 8 {
		return nil, errors.New("history: the Password has less than 8 characters")
	}
	if o.Password != "" {
		if len(o.PasswordHash) > 0 {
			return nil, errors.New("history: set Password or PasswordHash, not both")
		}
		sum := sha256.Sum256([]byte(o.Password))
		o.PasswordHash = sum[:]
	}
	if n := len(o.PasswordHash); n != 0 && n != sha256.Size {
		return nil, fmt.Errorf("history: PasswordHash has %d bytes, and a SHA-256 has 32", n)
	}
	o.Logger = cmp.Or(o.Logger, slog.Default())
	if o.Title == "" {
		o.Title = reg.Snapshot().Service
	}
	o.Title = cmp.Or(o.Title, o.Instance)
	h := &History{
		reg: reg, store: store, opts: o, log: o.Logger, key: cookieKey(o.PasswordHash), born: time.Now(),
		days: map[dayKey]*day{}, dirty: map[string]bool{}, seen: map[string]now{},
	}
	reg.AddTrace(&health.Trace{RunDone: h.record})
	return h, nil
}

// record counts one result. It costs a lock, and usually no allocation.
func (h *History) record(_ context.Context, e health.RunEvent) {
	h.mu.Lock()
	defer h.mu.Unlock()
	date := e.Time.UTC().Format(time.DateOnly)
	k := dayKey{h.opts.Instance, date}
	d := h.days[k]
	if d == nil {
		d = &day{Date: date, Instance: h.opts.Instance, Checks: map[string]*series{}}
		h.days[k] = d
	}
	d.record(e)
	h.dirty[date] = true
}

// Run loads the stored results, and saves new results until ctx ends and once after
// that. It returns nil. Without Run, the pages show only the results of this process.
func (h *History) Run(ctx context.Context) error {
	ticker := time.NewTicker(h.opts.SaveEvery)
	defer ticker.Stop()
	for {
		h.sync(ctx)
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			h.sync(last)
			h.leave(last)
			return nil
		case <-ticker.C:
		}
	}
}

func (h *History) sync(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err := h.load(ctx) // first, so that the day of an earlier process is not overwritten
	if err == nil {
		err = h.save(ctx)
	}
	h.note(err)
}

// note logs a failing store once, until it works again.
func (h *History) note(err error) {
	h.mu.Lock()
	changed := (err != nil) != h.failed
	h.failed = err != nil
	h.mu.Unlock()
	switch {
	case changed && err != nil:
		h.log.Error("history: results cannot be stored, and are kept in memory", "cause", health.Scrub(err.Error()))
	case changed:
		h.log.Info("history: results are stored again")
	}
}

// load reads the days of all instances. The first time it reads all days, and later
// only the last two.
func (h *History) load(ctx context.Context) error {
	h.mu.Lock()
	first := !h.loaded
	h.mu.Unlock()
	prefixes := []string{"day/"}
	if !first {
		today := time.Now().UTC()
		prefixes = []string{"day/" + today.Format(time.DateOnly), "day/" + today.AddDate(0, 0, -1).Format(time.DateOnly)}
	}
	prefixes = append(prefixes, "now/", announcementKey)
	for _, prefix := range prefixes {
		documents, err := h.store.Load(ctx, prefix)
		if err != nil {
			return err
		}
		switch prefix {
		case "now/":
			h.takeStates(documents)
			continue
		case announcementKey:
			h.takeAnnouncement(documents[announcementKey])
			continue
		}
		for _, document := range documents {
			h.take(document, first)
		}
	}
	h.mu.Lock()
	h.loaded = true
	h.mu.Unlock()
	return nil
}

// take adds a stored document. It skips a document that cannot be read. A damaged
// document costs only its day.
func (h *History) take(document []byte, first bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var d day
	if json.Unmarshal(document, &d) != nil || !d.valid() {
		return
	}
	k := dayKey{d.Instance, d.Date}
	switch own := h.days[k]; {
	case d.Instance != h.opts.Instance:
		h.days[k] = &d
	case first && own != nil: // this process recorded results before the first load
		own.merge(&d)
	case first:
		h.days[k] = &d
	}
}

// takeStates replaces the states of the instances. An instance has saved since the last load if its
// state has another time, whatever its clock says.
func (h *History) takeStates(documents map[string][]byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	clock := time.Now()
	seen := map[string]now{}
	for _, document := range documents {
		var n now
		if json.Unmarshal(document, &n) != nil || n.Instance == "" {
			continue
		}
		n.heard = clock
		if old, ok := h.seen[n.Instance]; ok && old.Time.Equal(n.Time) {
			n.heard = old.heard
		} else if !h.loaded && n.Time.Before(clock) {
			n.heard = n.Time
		}
		seen[n.Instance] = n
	}
	h.seen = seen
}

// lost reports whether an instance has not saved its state for too long.
func (h *History) lost(n now, at time.Time) bool {
	return n.Instance != h.opts.Instance && at.Sub(n.heard) > max(lostAfter, 3*h.opts.SaveEvery)
}

// leave removes the state of this instance after a clean stop, so that it is not shown as lost.
func (h *History) leave(ctx context.Context) {
	h.mu.Lock()
	loaded := h.loaded
	h.mu.Unlock()
	if loaded {
		h.note(h.store.Save(ctx, stateKey(h.opts.Instance), nil))
	}
}

func stateKey(instance string) string { return "now/" + url.PathEscape(instance) }

// save writes the days with new results and the current state, and deletes days that
// are too old.
func (h *History) save(ctx context.Context) error {
	h.saving.Lock()
	defer h.saving.Unlock()
	snap := h.reg.Snapshot()
	h.mu.Lock()
	if !h.loaded {
		h.mu.Unlock()
		return nil
	}
	present := newNow(h.opts.Instance, snap)
	h.seen[h.opts.Instance] = present
	documents := map[string][]byte{}
	var err error
	write := func(key string, v any) {
		document, e := json.Marshal(v)
		err = errors.Join(err, e)
		documents[key] = document
	}
	write(stateKey(h.opts.Instance), present)
	for name, n := range h.seen {
		if name != h.opts.Instance && snap.Time.Sub(n.heard) > lostFor {
			documents[stateKey(name)] = nil
			delete(h.seen, name)
		}
	}
	oldest := snap.Time.Add(-h.opts.Keep).UTC().Format(time.DateOnly)
	if time.Since(h.born) < deleteAfter { // by the monotonic clock
		oldest = min(oldest, h.excess())
	}
	compactBefore := snap.Time.Add(-48 * time.Hour).UTC().Format(time.DateOnly)
	for k, d := range h.days {
		switch {
		case k.date < oldest:
			documents[keyOf(k)] = nil
			delete(h.days, k)
		case k.instance == h.opts.Instance && k.date < compactBefore && d.compact(), k.instance == h.opts.Instance && h.dirty[k.date]:
			write(keyOf(k), d)
		}
	}
	h.dirty = map[string]bool{}
	h.mu.Unlock()
	for key, document := range documents {
		if saveErr := h.store.Save(ctx, key, document); saveErr != nil {
			err = errors.Join(err, saveErr)
			h.mu.Lock()
			h.dirty[dateOf(key)] = true
			h.mu.Unlock()
		}
	}
	return err
}

// excess returns the date before which days are deleted whatever the clock says, for processes
// that never run for an hour. From it on there are twice as many dates as Keep has. It is called
// with mu held.
func (h *History) excess() string {
	seen := map[string]bool{}
	for k := range h.days {
		seen[k.date] = true
	}
	dates := slices.Sorted(maps.Keys(seen))
	most := 2 * (int(h.opts.Keep/(24*time.Hour)) + 1)
	if len(dates) <= most {
		return ""
	}
	return dates[len(dates)-most]
}

func keyOf(k dayKey) string { return "day/" + k.date + "/" + url.PathEscape(k.instance) }

func dateOf(key string) string {
	if len(key) >= 14 && key[:4] == "day/" {
		return key[4:14]
	}
	return ""
}
