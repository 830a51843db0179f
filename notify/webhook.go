package notify

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mainstay-go/mainstay/internal/redact"
)

// WebhookOptions configures a [Webhook].
type WebhookOptions struct {
	// Secret signs the body, see [VerifyWebhook]. [NewWebhook] only. It has at least 16 bytes.
	// Default: no signature.
	Secret []byte
	// Header is added to every request, for example an Authorization. Default: empty.
	Header http.Header
	// Insecure permits http:// to hosts other than this one. Default: false.
	Insecure bool
	// Timeout limits one request. A message about several alerts may need several
	// requests, and takes at most six times as long. Default: 10 s.
	Timeout time.Duration
	// Client sends the requests. Its own Timeout and redirect policy are not used.
	// Default: http.DefaultClient.
	Client *http.Client
}

// Webhook is a [Notifier] that posts JSON to a URL. It follows no redirects, because
// they would send the message, and the secret in the URL, to another server. Errors
// contain only the host of the URL.
type Webhook struct {
	service string
	url     string
	parsed  *url.URL
	host    string
	opts    WebhookOptions
	encode  func(Message) []call
	secrets *redact.Redactor
	taken   *taken
}

// call is one request. Most messages need one request. A receiver that manages alerts
// itself needs one per alert. A message without use for the receiver needs no request.
type call struct {
	path string // appended to the path of the URL
	body any
	// alert is the position in Message.Alerts plus one. 0 stands for the whole message.
	alert int
	// follows is set for a request that ends an alert because the request before it opened
	// another one. It is sent only after the server has accepted that request.
	follows bool
}

func one(body any) []call { return []call{{body: body}} }

// NewWebhook returns a Webhook that posts the message as a JSON object. It has the
// fields of [Message] except HTML, and id, which is the same when the same message is
// sent again. With a Secret the request is signed.
func NewWebhook(rawURL string, opts *WebhookOptions) (*Webhook, error) {
	return newWebhook("webhook", rawURL, opts, func(m Message) []call {
		m.HTML = ""
		return one(struct {
			ID string `json:"id"`
			Message
		}{m.id(), m})
	})
}

func newWebhook(service, rawURL string, opts *WebhookOptions, encode func(Message) []call) (*Webhook, error) {
	w := &Webhook{service: service, encode: encode, taken: &taken{}}
	if opts != nil {
		w.opts = *opts
	}
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return nil, fmt.Errorf("notify: the URL for %s is not of the form https://host/…", service)
	}
	if u.Scheme == "http" && !w.opts.Insecure && !isLoopback(u.Hostname()) {
		return nil, fmt.Errorf("notify: the URL for %s on %s would send in the clear; use https or set WebhookOptions.Insecure", service, u.Hostname())
	}
	if w.opts.Timeout < 0 {
		return nil, errors.New("notify: WebhookOptions.Timeout is negative")
	}
	if w.opts.Secret != nil && len(w.opts.Secret) < 16 {
		return nil, errors.New("notify: a WebhookOptions.Secret of less than 16 bytes can be guessed; leave it nil for requests without a signature")
	}
	w.url, w.parsed, w.host = u.String(), u, u.Host
	w.secrets = redact.New(urlSecrets(u, w.opts.Header, string(w.opts.Secret))...)
	w.opts.Timeout = cmp.Or(w.opts.Timeout, 10*time.Second)
	client := *cmp.Or(w.opts.Client, http.DefaultClient)
	client.Timeout = 0 // the context below bounds the request
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	w.opts.Client = &client
	w.opts.Header = w.opts.Header.Clone()
	return w, nil
}

// Notify posts m and returns nil on any 2xx status, unless the body of the response is a JSON
// object in which "ok" or "success" is false. A message about several alerts may
// need several requests, and all are tried even if one fails. The error is then a
// [DeliveryError] with the outcome of each alert, and a repetition of the same message
// sends only the alerts that were not accepted.
func (w *Webhook) Notify(ctx context.Context, m Message) error {
	if err := m.check(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, maxTimeouts*w.opts.Timeout)
	defer cancel()
	ready := m.prepared(time.Now(), w.secrets)
	id := ready.id()
	for _, a := range ready.Alerts {
		id = digest(id, a.Key)
	}
	have := w.taken.has(id)
	d := delivery{outcomes: whole(len(m.Alerts), unknown)}
	for i := range d.outcomes {
		if have[i+1] {
			d.outcomes[i] = accepted
		}
	}
	var last error
	for _, c := range w.encode(ready) {
		if c.alert > 0 && have[c.alert] || c.follows && last != nil {
			continue
		}
		if ctx.Err() != nil {
			last = fmt.Errorf("the request was not sent: %w", ctx.Err())
			d.add(c.alert, refused, last)
			continue
		}
		var outcome certainty
		outcome, last = w.post(ctx, c)
		d.add(c.alert, outcome, last)
	}
	if len(d.errs) == 0 {
		return nil
	}
	for i, c := range d.outcomes {
		if c == accepted {
			have[i+1] = true
		}
	}
	w.taken.add(id, have)
	err := error(&rejection{text: fmt.Sprintf("notify: %s on %s: %v", w.service, w.host, d.errs[0]), err: d.errs[0], wait: d.wait})
	if n := len(d.errs) - 1; n > 0 {
		err = fmt.Errorf("%w, and %d more requests failed", err, n)
	}
	return d.outcomes.failure(m, err)
}

// maxTimeouts is how many times Timeout a whole message may take.
const maxTimeouts = 6

// delivery collects the outcomes of the requests of one message.
type delivery struct {
	outcomes outcomes
	begun    map[int]bool // alerts with a request
	errs     []error
	wait     time.Duration // the longest pause that the server asked for
}

// add records the outcome of a request. An alert is accepted if all its requests are,
// and refused if the first one is. alert is as in call.
func (d *delivery) add(alert int, c certainty, err error) {
	if err != nil {
		d.errs = append(d.errs, err)
		d.wait = max(d.wait, pauseOf(err))
	}
	if alert == 0 {
		copy(d.outcomes, whole(len(d.outcomes), c))
		return
	}
	if d.begun == nil {
		d.begun = map[int]bool{}
	}
	if o := &d.outcomes[alert-1]; !d.begun[alert] {
		*o = c
	} else if *o != c {
		*o = unknown
	}
	d.begun[alert] = true
}

// post sends one request, with a deadline of its own.
func (w *Webhook) post(ctx context.Context, c call) (certainty, error) {
	ctx, cancel := context.WithTimeout(ctx, w.opts.Timeout)
	defer cancel()
	now := time.Now()
	body, err := json.Marshal(c.body)
	if err != nil {
		return refused, err
	}
	target := w.url
	if c.path != "" {
		path, query, _ := strings.Cut(c.path, "?")
		u := *w.parsed
		u.Path = strings.TrimSuffix(u.Path, "/") + path
		u.RawQuery = query
		target = u.String()
	}
	var line connection
	req, err := http.NewRequestWithContext(line.watch(ctx), http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return refused, errors.New("the request cannot be built")
	}
	for name, values := range w.opts.Header {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", "application/json")
	if len(w.opts.Secret) > 0 {
		sign(req.Header, w.opts.Secret, body, now)
	}
	res, err := w.opts.Client.Do(req)
	if err != nil {
		var withURL *url.Error
		if errors.As(err, &withURL) {
			err = withURL.Err // the URL is a secret
		}
		if line.failed() {
			return refused, err
		}
		return unknown, err
	}
	defer res.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(res.Body, 4<<10)) // without its end if that is late
	if res.StatusCode < 200 || res.StatusCode > 299 || denies(answer) {
		return certaintyOf(res.StatusCode), &rejection{
			text: fmt.Sprintf("the server responded %d: %s", res.StatusCode, w.secrets.Text(oneLine(string(answer), 2000), 200)),
			wait: retryAfter(res.Header.Get("Retry-After"), now),
		}
	}
	return accepted, nil
}

// denies reports whether the body of a response says that the server did not accept the
// message, as those of Slack, Telegram and others do.
func denies(answer []byte) bool {
	var said struct{ OK, Success any }
	return json.Unmarshal(answer, &said) == nil && (said.OK == false || said.Success == false)
}

// certaintyOf says whether a status proves that the server did not accept the request.
// A gateway responds 5xx or 408 also if the server behind it did. With 409 the alert may
// exist. Alertmanager responds 400 if it rejects some alerts of a request.
func certaintyOf(status int) certainty {
	switch {
	case status == http.StatusBadRequest, status == http.StatusRequestTimeout, status == http.StatusConflict:
		return unknown
	case status >= 400 && status < 500:
		return refused
	}
	return unknown
}

// connection finds out whether a request was not sent because there was no connection.
// A client with a transport of its own may not report that.
type connection struct{ wanted, got atomic.Bool }

func (c *connection) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { c.wanted.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { c.got.Store(true) },
	})
}

func (c *connection) failed() bool { return c.wanted.Load() && !c.got.Load() }

// rejection is the error of a server that did not accept a message. Package health/alert and
// Spool wait for RetryAfter before the next attempt.
type rejection struct {
	text string
	err  error // may be nil
	wait time.Duration
}

func (r *rejection) Error() string             { return r.text }
func (r *rejection) Unwrap() error             { return r.err }
func (r *rejection) RetryAfter() time.Duration { return r.wait }

// maxRetryAfter is the longest pause that a server can ask for. An alert must not wait a day
// because a proxy said so.
const maxRetryAfter = 15 * time.Minute

// retryAfter reads the header Retry-After: seconds or a date.
func retryAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseFloat(header, 64); err == nil {
		if !(seconds > 0) { // negative, or not a number
			return 0
		}
		return time.Duration(min(seconds, maxRetryAfter.Seconds()) * float64(time.Second))
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(0, min(at.Sub(now), maxRetryAfter))
	}
	return 0
}

const (
	signatureHeader = "X-Signature"
	timestampHeader = "X-Timestamp"
)

func sign(h http.Header, secret, body []byte, now time.Time) {
	timestamp := strconv.FormatInt(now.Unix(), 10)
	h.Set(timestampHeader, timestamp)
	h.Set(signatureHeader, "sha256="+hex.EncodeToString(signature(secret, timestamp, body)))
}

// signature covers the time, so that an old request cannot be sent again with a new
// time.
func signature(secret []byte, timestamp string, body []byte) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(timestamp))
	mac.Write([]byte{'.'})
	mac.Write(body)
	return mac.Sum(nil)
}

// VerifyWebhook reports an error unless a request from [NewWebhook] was signed with
// secret and is at most maxAge old. The clock of the sender may be ahead by the same
// time. The receiver of the request calls it.
//
// X-Timestamp is the Unix time in seconds. X-Signature is "sha256=" and the hex
// HMAC-SHA256 of that time, a full stop and the body. Within maxAge the same request
// can be replayed. Its id identifies a replay.
func VerifyWebhook(secret []byte, header http.Header, body []byte, maxAge time.Duration) error {
	timestamp := header.Get(timestampHeader)
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return errors.New("notify: the request has no valid X-Timestamp")
	}
	given, err := hex.DecodeString(trimPrefix(header.Get(signatureHeader), "sha256="))
	if err != nil || len(secret) == 0 || !hmac.Equal(given, signature(secret, timestamp, body)) {
		return errors.New("notify: the request's X-Signature does not match")
	}
	if age := time.Since(time.Unix(seconds, 0)); age > maxAge || age < -maxAge {
		return errors.New("notify: the request is too old or its time is in the future")
	}
	return nil
}

// trimPrefix returns "" if the prefix is missing.
func trimPrefix(s, prefix string) string {
	if len(s) < len(prefix) || s[:len(prefix)] != prefix {
		return ""
	}
	return s[len(prefix):]
}
