package alert_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/alert"
)

const linkURL = "https://pos.example.org/alerts"

var linkSecret = []byte("0123456789abcdef")

// open follows a link as a browser (GET) or with its button (POST).
func open(al *alert.Alerter, method, link string, form url.Values) (int, string) {
	target := strings.TrimPrefix(link, "https://pos.example.org")
	req := httptest.NewRequest(method, target, strings.NewReader(form.Encode()))
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	rec := httptest.NewRecorder()
	al.Handler().ServeHTTP(rec, req)
	return rec.Code, rec.Body.String()
}

// The links of a message act when a person presses the button, and not when a
// program opens them.
func TestLinks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mail := newLetters()
		al, stop := serve(t, mail, alert.Options{LinkURL: linkURL, LinkSecret: linkSecret}, during("db", true, 0, 9*h, down), during("disk", false, 0, 9*h, slow))
		time.Sleep(10 * m)
		links := map[string]string{}
		for _, msg := range mail.all() {
			for _, a := range msg.Alerts {
				for _, l := range a.Links {
					links[a.Check+" "+l.Name] = l.URL
				}
			}
		}
		ack, silence := links["db Acknowledge"], links["disk Silence for 2 h"]
		if len(links) != 4 || ack == "" || silence == "" {
			t.Fatalf("%v", links)
		}
		if code, body := open(al, http.MethodGet, ack, nil); code != 200 || !strings.Contains(body, "db on ") || !strings.Contains(body, " is fail") || !strings.Contains(body, "<button>Acknowledge") {
			t.Errorf("%d %s", code, body)
		}
		if al.Alerts().Open[0].AckBy != "" {
			t.Error("opening the link acknowledged the alert")
		}
		if code, body := open(al, http.MethodPost, ack, url.Values{"name": {"Ada\r\n<b>"}}); code != 200 || !strings.Contains(body, "Done") {
			t.Errorf("%d %s", code, body)
		}
		if a := al.Alerts().Open[0]; a.AckBy != "Ada <b> (link, default)" || len(a.Actions) != 1 {
			t.Errorf("%+v", a)
		}
		if code, body := open(al, http.MethodGet, ack, nil); code != 200 || strings.Contains(body, "<b>") {
			t.Errorf("%d %s", code, body)
		}
		if code, _ := open(al, http.MethodPost, silence, nil); code != 200 {
			t.Errorf("%d", code)
		}
		if s, err := al.Silences(t.Context()); err != nil || len(s) != 1 || !strings.HasPrefix(s[0].Subject, "disk@") || s[0].Check != "" || time.Until(s[0].Until) != 2*h {
			t.Errorf("%+v, %v", s, err)
		}

		// A link for one thing is no link for another.
		for name, change := range map[string]func(q url.Values){
			"another alert":  func(q url.Values) { q.Set("alert", al.Alerts().Open[1].ID) },
			"another action": func(q url.Values) { q.Set("act", "silence") },
			"a later end":    func(q url.Values) { q.Set("expires", "9999999999") },
			"no signature":   func(q url.Values) { q.Del("sig") },
			"another name":   func(q url.Values) { q.Set("via", "boss") },
		} {
			u, err := url.Parse(ack)
			if err != nil {
				t.Fatal(err)
			}
			q := u.Query()
			change(q)
			u.RawQuery = q.Encode()
			if code, _ := open(al, http.MethodPost, u.String(), nil); code != http.StatusForbidden {
				t.Errorf("%s: %d", name, code)
			}
		}
		if code, _ := open(al, http.MethodDelete, ack, nil); code != http.StatusMethodNotAllowed {
			t.Errorf("DELETE: %d", code)
		}
		time.Sleep(12 * h)
		if code, _ := open(al, http.MethodPost, ack, nil); code != http.StatusGone {
			t.Errorf("after the end: %d", code)
		}
		stop() // a week of polls takes seconds
		time.Sleep(8 * 24 * h)
		if code, _ := open(al, http.MethodGet, ack, nil); code != http.StatusForbidden {
			t.Errorf("after a week: %d", code)
		}
	})
}

// Without a secret there are no links, and none is valid.
func TestNoLinksWithoutSecret(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		al, stop := serve(t, newLetters(), alert.Options{}, during("db", true, 0, ever, down))
		time.Sleep(5 * m)
		if a := al.Alerts().Open[0]; a.Actions != nil {
			t.Errorf("%+v", a)
		}
		if code, _ := open(al, http.MethodPost, "/alerts?act=acknowledge&alert="+al.Alerts().Open[0].ID+"&via=x&expires=9999999999&sig=", nil); code != http.StatusForbidden {
			t.Errorf("%d", code)
		}
		stop()
	})
}

// A store that is out of reach: the page says so.
func TestLinkWithoutStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &broken{Store: alert.Memory()}
		al, stop := serve(t, newLetters(), alert.Options{Store: store, LinkURL: linkURL, LinkSecret: linkSecret}, during("db", true, 0, ever, down))
		time.Sleep(5 * m)
		store.set(true)
		if code, body := open(al, http.MethodPost, al.Alerts().Open[0].Actions[0].URL, nil); code != http.StatusServiceUnavailable || strings.Contains(body, "secret") {
			t.Errorf("%d %s", code, body)
		}
		store.set(false)
		stop()
	})
}

// A link may reach an instance that has not read the alert yet, or that runs a version without the
// check.
func TestLinkOnAnotherInstance(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, mail := alert.Memory(), newLetters()
		o := alert.Options{Store: store, LinkURL: linkURL, LinkSecret: linkSecret, Instance: "pod-a"}
		_, stopA := serve(t, mail, o, during("db", true, 0, ever, down))
		time.Sleep(5 * m)
		o.Instance = "pod-b"
		reg, err := health.New([]health.Check{during("other", true, ever, ever, down)}, &health.Options{Service: "pos", Logger: discard})
		if err != nil {
			t.Fatal(err)
		}
		o.Logger = discard
		other, err := alert.New(reg, newLetters(), &o) // it has not run yet
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range mail.all()[0].Alerts[0].Links {
			for _, method := range []string{http.MethodHead, http.MethodGet, http.MethodPost} {
				if code, body := open(other, method, l.URL, nil); code != 200 {
					t.Errorf("%s %s: %d %s", method, l.Name, code, body)
				}
			}
		}
		if s, err := other.Silences(t.Context()); err != nil || len(s) != 1 || s[0].Subject != "db@pod-a" {
			t.Errorf("%+v, %v", s, err)
		}
		stopA()
	})
}

type broken struct {
	alert.Store
	mu  sync.Mutex
	cut bool
}

func (b *broken) Update(ctx context.Context, f func([]byte) ([]byte, error)) error {
	b.mu.Lock()
	cut := b.cut
	b.mu.Unlock()
	if cut {
		return errors.New("password=secretsecret is wrong")
	}
	return b.Store.Update(ctx, f)
}

func (b *broken) set(cut bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cut = cut
}

func FuzzLinks(f *testing.F) {
	f.Add("act=acknowledge&alert=x&via=y&expires=9999999999&sig=AAAA")
	f.Add("%zz;&&&=")
	al, _ := serveOnce(f)
	f.Fuzz(func(t *testing.T, query string) {
		req := httptest.NewRequest(http.MethodPost, "/alerts", nil)
		req.URL.RawQuery = query
		rec := httptest.NewRecorder()
		al.Handler().ServeHTTP(rec, req)
		if rec.Code != http.StatusForbidden {
			t.Errorf("%d", rec.Code)
		}
	})
}

// The link "silence" of an alert about an instance silences no check of the instance.
func TestSilenceOfAnInstance(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk, mail := alert.Memory(), newLetters()
		o := alert.Options{Store: &mortal{Store: disk}, Instance: "pod-a", TellUncleanStop: true, LinkURL: linkURL, LinkSecret: linkSecret}
		_, stop := serve(t, mail, o)
		time.Sleep(2 * m)
		o.Store.(*mortal).kill()
		stop()
		o.Store = disk
		al, stop := serve(t, mail, o, during("db", true, 20*m, 100*m, down))
		time.Sleep(10 * m)
		open1 := al.Alerts().Open
		if len(open1) != 1 || open1[0].Check != "" {
			t.Fatalf("%+v", open1)
		}
		for _, act := range open1[0].Actions {
			if act.Name == "silence" {
				if code, body := open(al, http.MethodPost, act.URL, nil); code != http.StatusOK {
					t.Errorf("%d %s", code, body)
				}
			}
		}
		if s, err := al.Silences(t.Context()); err != nil || len(s) != 1 || s[0].Subject != "restarts@pod-a" {
			t.Errorf("%+v, %v", s, err)
		}
		time.Sleep(h)
		stop()
		if mail.containing("[UNHEALTHY] pos: db") != 1 {
			t.Errorf("%v", mail)
		}
		if err := al.Silence(t.Context(), alert.Silence{Subject: "nothing", Until: time.Now().Add(h)}); !errors.Is(err, alert.ErrNoAlert) {
			t.Error(err)
		}
	})
}
