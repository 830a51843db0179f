package health

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
)

// Options tune a registry. The zero value and nil work.
type Options struct {
	// Authorize decides which callers see details, the status page and single checks.
	// It must be safe for concurrent use. See [BearerToken], [AllowFrom] and [AnyOf].
	// Default: no caller sees details, and the status page is off.
	Authorize func(*http.Request) bool
	// OnChange is called for each change, as by [Registry.Subscribe]. Default: nil.
	OnChange func(Change)

	// FailAfter and RecoverAfter are the defaults of the checks. Default: 3
	// and 2.
	FailAfter, RecoverAfter int
	// MaxConcurrent bounds how many checks run at the same time on demand and
	// in RunOnce. Default: 16.
	MaxConcurrent int
	// HoldReady keeps /ready/ at 503 until Started is called. Use it for work that must
	// be done before the first request, such as migrations. Default: off.
	HoldReady bool

	// PlainOK is the whole body of a 200 for callers without details that request no
	// format. The body of a 503 is then "fail". Use it for monitors that search for a
	// word, such as "OK". Default: {"status":"pass"} and so on.
	PlainOK string

	// Service, Release and Description name the service to authorised callers.
	// Default: empty.
	Service, Release, Description string
	// Home is the link back from the status page, such as "/". Default: empty.
	Home string
	// Secrets are texts that are removed from everything the registry shows or logs, in
	// addition to the secrets that the scrubber recognises by their form. Empty ones
	// are ignored. Default: empty.
	Secrets []string

	// Heartbeat is sent every Interval while the service is well. Default: off.
	Heartbeat *Heartbeat
	// Trace receives single runs. Default: nil.
	Trace *Trace
	// Logger receives the details that callers do not see: causes of failures, panics,
	// slow checks. Default: slog.Default().
	Logger *slog.Logger
}

const (
	readyGroup           = "ready"
	defaultMaxConcurrent = 16
)

func (o *Options) normalized() (Options, error) {
	var n Options
	if o != nil {
		n = *o
	}
	if n.FailAfter < 0 || n.RecoverAfter < 0 || n.MaxConcurrent < 0 {
		return n, fmt.Errorf("health: FailAfter, RecoverAfter and MaxConcurrent must not be negative")
	}
	n.FailAfter = cmp.Or(n.FailAfter, defaultFailAfter)
	n.RecoverAfter = cmp.Or(n.RecoverAfter, defaultRecoverAfter)
	n.MaxConcurrent = cmp.Or(n.MaxConcurrent, defaultMaxConcurrent)
	n.Logger = cmp.Or(n.Logger, slog.Default())
	n.Trace = cmp.Or(n.Trace, new(Trace))
	return n, n.Heartbeat.Validate()
}

func validLink(link string) error {
	if link == "" {
		return nil
	}
	u, err := url.Parse(link)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return fmt.Errorf("must be an http or https URL without a password in it")
	}
	return nil
}
