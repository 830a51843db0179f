package health

import (
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
)

// Options tune a registry. The zero value and nil work.
type Options struct {
	// Authorize decides who sees details, the status page and single checks.
	// It must be safe for concurrent use. See [BearerToken], [AllowFrom] and
	// [AnyOf]. Default: nobody; the status page is off.
	Authorize func(*http.Request) bool
	// OnChange is told about every change, as a [Listener]. Default: none.
	OnChange func(Change)

	// Groups names sets of checks, for ?group= and Snapshot.Group. A group
	// "ready" replaces the rule of Check.Ready. Default: none.
	Groups map[string][]string
	// FailAfter and RecoverAfter are the defaults of the checks. Default: 3
	// and 2.
	FailAfter, RecoverAfter int
	// MaxConcurrent bounds how many checks run at the same time on demand and
	// in RunOnce. Default: 16.
	MaxConcurrent int
	// HoldReady keeps /ready/ at 503 until Started is called, for work that
	// must be done before the first request, such as migrations. Default: off.
	HoldReady bool

	// Service, Release and Description name the service to authorised callers.
	// Default: empty.
	Service, Release, Description string
	// Secrets are texts that are cut out of everything the registry shows or
	// logs, beside what the scrubber knows by its form. Empty ones are
	// ignored. Default: none.
	Secrets []string

	// Heartbeat is asked after each good minute; nil is off. Default: off.
	Heartbeat *Heartbeat
	// Trace is told about single runs. Default: none.
	Trace *Trace
	// Logger receives what no caller sees: causes of failures, panics, slow
	// checks. Default: slog.Default().
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
	n.FailAfter = orDefault(n.FailAfter, defaultFailAfter)
	n.RecoverAfter = orDefault(n.RecoverAfter, defaultRecoverAfter)
	n.MaxConcurrent = orDefault(n.MaxConcurrent, defaultMaxConcurrent)
	n.Groups = maps.Clone(n.Groups)
	for group, names := range n.Groups {
		n.Groups[group] = slices.Clone(names)
	}
	if n.Logger == nil {
		n.Logger = slog.Default()
	}
	if n.Trace == nil {
		n.Trace = new(Trace)
	}
	return n, n.Heartbeat.validate()
}

// validGroups refuses a group with a bad name, no checks, or one that is not
// in the registry: a typing error there would make a check silently not count.
func validGroups(groups map[string][]string, known map[string]*slot) error {
	for group, names := range groups {
		if err := validName(group); err != nil {
			return err
		}
		if _, ok := known[group]; ok {
			return fmt.Errorf("health: group %q has the name of a check", group)
		}
		for i, name := range names {
			if _, ok := known[name]; !ok {
				return fmt.Errorf("health: group %q names the unknown check %q", group, name)
			}
			if slices.Contains(names[:i], name) {
				return fmt.Errorf("health: group %q names the check %q twice", group, name)
			}
		}
		if len(names) == 0 && group != readyGroup {
			return fmt.Errorf("health: group %q is empty", group)
		}
	}
	return nil
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
