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
	"net/url"
	"strconv"
	"strings"
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
	// Timeout limits one delivery. Default: 10 s.
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
}

// call is one request. Most messages need one request. A receiver that manages alerts
// itself needs one per alert. A message without use for the receiver needs no request.
type call struct {
	path string // appended to the path of the URL
	body any
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
	w := &Webhook{service: service, encode: encode}
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

// Notify posts m and returns nil on any 2xx status. A message about several alerts may
// need several requests. They share one deadline, and all are tried even if one fails.
// A repetition sends all of them again, and the receivers recognise them by their keys.
func (w *Webhook) Notify(ctx context.Context, m Message) error {
	ctx, cancel := context.WithTimeout(ctx, w.opts.Timeout)
	defer cancel()
	var errs []error
	var last error
	for _, c := range w.encode(m.prepared(time.Now(), w.secrets)) {
		if c.follows && last != nil {
			continue
		}
		if last = w.post(ctx, c); last != nil {
			errs = append(errs, fmt.Errorf("notify: %s on %s: %w", w.service, w.host, last))
			if ctx.Err() != nil {
				break
			}
		}
	}
	return errors.Join(errs...)
}

func (w *Webhook) post(ctx context.Context, c call) error {
	now := time.Now()
	body, err := json.Marshal(c.body)
	if err != nil {
		return err
	}
	target := w.url
	if c.path != "" {
		path, query, _ := strings.Cut(c.path, "?")
		u := *w.parsed
		u.Path = strings.TrimSuffix(u.Path, "/") + path
		u.RawQuery = query
		target = u.String()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return errors.New("the request cannot be built")
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
		return err
	}
	defer res.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(res.Body, 4<<10)) // only for the error text
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return &rejection{
			text: fmt.Sprintf("the server responded %d: %s", res.StatusCode, w.secrets.Text(oneLine(string(answer), 2000), 200)),
			wait: retryAfter(res.Header.Get("Retry-After"), now),
		}
	}
	return nil
}

// rejection is the response of a server that did not accept a message. Package health/alert and
// Spool wait for RetryAfter before the next attempt.
type rejection struct {
	text string
	wait time.Duration
}

func (r *rejection) Error() string             { return r.text }
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
