package alert

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/health"
)

const (
	// linkLife is how long the links of a message work.
	linkLife = 7 * 24 * time.Hour
	// linkSilence is how long the link "silence" silences an alert.
	linkSilence = 2 * time.Hour
)

// The actions of links.
const (
	actAcknowledge = "acknowledge"
	actSilence     = "silence"
)

// actions returns the signed links of an open alert, or nil without a secret. via is
// the place where the link was shown. It becomes part of the acknowledgement.
func (a *Alerter) actions(al *state, via string, now time.Time) []health.AlertAction {
	if len(a.opts.LinkSecret) == 0 || !al.Ended.IsZero() {
		return nil
	}
	// The link stays the same for an hour, so that a reloaded page does not change.
	expires := now.Truncate(time.Hour).Add(linkLife)
	var all []health.AlertAction
	for _, act := range []string{actAcknowledge, actSilence} {
		if act == actAcknowledge && !al.AckAt.IsZero() {
			continue
		}
		name := act
		if act == actAcknowledge && al.Face == lost {
			name = "close"
		}
		all = append(all, health.AlertAction{Name: name, URL: a.opts.LinkURL + "?" + a.query(act, al.ID, via, expires).Encode()})
	}
	return all
}

func (a *Alerter) query(act, id, via string, expires time.Time) url.Values {
	q := url.Values{"act": {act}, "alert": {id}, "via": {via}, "expires": {strconv.FormatInt(expires.Unix(), 10)}}
	q.Set("sig", base64.RawURLEncoding.EncodeToString(a.sign(q)))
	return q
}

func (a *Alerter) sign(q url.Values) []byte {
	mac := hmac.New(sha256.New, a.opts.LinkSecret)
	for _, name := range []string{"act", "alert", "via", "expires"} {
		fmt.Fprintf(mac, "%d:%s", len(q.Get(name)), q.Get(name))
	}
	fmt.Fprintf(mac, "%d:%s", len(a.opts.Service), a.opts.Service)
	return mac.Sum(nil)
}

// verify returns the action of a link, or the reason why it is rejected.
func (a *Alerter) verify(q url.Values, now time.Time) (act, id, via string, err error) {
	given, err := base64.RawURLEncoding.DecodeString(q.Get("sig"))
	if err != nil || len(a.opts.LinkSecret) == 0 || !hmac.Equal(given, a.sign(q)) {
		return "", "", "", errors.New("this link is not valid")
	}
	expires, err := strconv.ParseInt(q.Get("expires"), 10, 64)
	if err != nil || now.After(time.Unix(expires, 0)) {
		return "", "", "", errors.New("this link has expired")
	}
	return q.Get("act"), q.Get("alert"), q.Get("via"), nil
}

// Handler serves the signed links of the messages. Mount it at the path of
// Options.LinkURL, without a login in front of it, because the signature is the
// permission. Opening a link shows a page with a button. Only the button changes the
// alert, because mail programs open links automatically.
func (a *Alerter) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", linkPolicy)
		h.Set("Content-Type", "text/html; charset=utf-8")
		if req.Method != http.MethodGet && req.Method != http.MethodHead && req.Method != http.MethodPost {
			h.Set("Allow", "GET, HEAD, POST")
			a.linkPage(w, http.StatusMethodNotAllowed, linkView{Text: "Use the link as it was sent."})
			return
		}
		q, err := url.ParseQuery(req.URL.RawQuery)
		if err != nil {
			q = url.Values{}
		}
		act, id, via, err := a.verify(q, time.Now())
		if err != nil {
			a.linkPage(w, http.StatusForbidden, linkView{Text: sentence(err.Error())})
			return
		}
		al, ok := a.find(id)
		if !ok { // another instance may have opened it since this one read the store
			ctx, cancel := context.WithTimeout(req.Context(), stopWait)
			_ = a.change(ctx, func(*document, time.Time) error { return nil }) // on an error the alert stays unknown
			cancel()
			al, ok = a.find(id)
		}
		if !ok {
			a.linkPage(w, http.StatusGone, linkView{Text: "The alert is over. Nothing is to be done here."})
			return
		}
		v := linkView{Alert: subjectName(al.Check, al.Instance) + " is " + al.State, Output: a.reg.Scrub(al.Output), AckBy: a.reg.Scrub(al.AckBy)}
		switch act {
		case actAcknowledge:
			v.Button, v.Text = "Acknowledge", "Reminders and escalations end. A message is sent when it is over."
			if al.State == string(lost) {
				v.Button, v.Text = "Close", "The instance stays away for good. The alert ends."
			}
		case actSilence:
			v.Button, v.Text = "Silence for 2 hours", "No messages about this alert until then. If it lasts longer, a message is sent afterwards."
		default:
			a.linkPage(w, http.StatusForbidden, linkView{Text: "This link does nothing that is known here."})
			return
		}
		if req.Method != http.MethodPost {
			a.linkPage(w, http.StatusOK, v)
			return
		}
		by := "link, " + via
		req.Body = http.MaxBytesReader(w, req.Body, 4<<10)
		if err := req.ParseForm(); err == nil {
			if name := oneLine(req.PostForm.Get("name")); name != "" {
				by = name + " (link, " + via + ")"
			}
		}
		by = by[:min(len(by), 100)]
		if act == actAcknowledge {
			err = a.Acknowledge(req.Context(), id, strings.ToValidUTF8(by, ""))
		} else {
			err = a.Silence(req.Context(), Silence{Subject: id, Until: time.Now().Add(linkSilence), By: strings.ToValidUTF8(by, ""), Reason: "by link"})
		}
		switch {
		case errors.Is(err, ErrNoAlert):
			a.linkPage(w, http.StatusGone, linkView{Text: "The alert is over."})
		case err != nil:
			a.log.ErrorContext(req.Context(), "alert: a link could not be followed", "error", a.reg.Scrub(err.Error()))
			a.linkPage(w, http.StatusServiceUnavailable, linkView{Text: "That did not work: the state cannot be stored now. Try again, or use the command."})
		default:
			a.linkPage(w, http.StatusOK, linkView{Alert: v.Alert, Text: "Done."})
		}
	})
}

// find returns an open alert from the last state that this process read.
func (a *Alerter) find(id string) (health.Alert, bool) {
	list := a.Alerts().Open
	i := slices.IndexFunc(list, func(al health.Alert) bool { return al.ID == id })
	if i < 0 {
		return health.Alert{}, false
	}
	return list[i], true
}

func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f && r < 0xa0 }), " ")
}

func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] + "." }

type linkView struct{ Service, Alert, Output, AckBy, Text, Button string }

const linkStyle = `:root{color-scheme:light dark}body{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:2rem auto;padding:0 1rem}button,input{font:inherit;padding:.5rem 1rem;max-width:100%}`

var linkPolicy = func() string {
	sum := sha256.Sum256([]byte(linkStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
}()

var linkTemplate = template.Must(template.New("link").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{{.Service}}: alert</title><style>` + linkStyle + `</style></head>
<body><main><h1>{{.Service}}{{with .Alert}}: {{.}}{{end}}</h1>
{{with .Output}}<p>{{.}}</p>{{end}}{{with .AckBy}}<p>Acknowledged by {{.}}.</p>{{end}}<p>{{.Text}}</p>
{{with .Button}}<form method="post"><p><label>Your name (optional)<br><input name="name" maxlength="60" autocomplete="name"></label></p><p><button>{{.}}</button></p></form>{{end}}
</main></body></html>
`))

func (a *Alerter) linkPage(w http.ResponseWriter, code int, v linkView) {
	v.Service = a.opts.Service
	var b strings.Builder
	if err := linkTemplate.Execute(&b, v); err != nil { // a constant, rendered by every test
		http.Error(w, v.Text, code)
		return
	}
	w.WriteHeader(code)
	fmt.Fprint(w, b.String())
}
