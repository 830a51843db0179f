// Package operate lets operators list, unlock and block the keys of limiters, by HTTP and by a
// command.
//
//	mux.Handle("/ops/limits/", http.StripPrefix("/ops/limits", operate.Handler(authorized, login, api)))
package operate

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
)

// Limiter is a limiter that knows its keys: *ratelimit.Memory and *redislimit.Limiter.
type Limiter interface {
	ratelimit.Limiter
	// Keys returns the keys that begin with prefix and have used something.
	Keys(ctx context.Context, prefix string) iter.Seq2[string, ratelimit.Result]
}

// Status is one key of one policy.
type Status struct {
	Policy     string  `json:"policy"`
	Key        string  `json:"key"`
	Limit      int     `json:"limit"`
	Remaining  int     `json:"remaining"`
	RetryAfter float64 `json:"retry_after,omitempty"` // seconds
	Blocked    bool    `json:"blocked"`
}

func status(key string, r ratelimit.Result) Status {
	return Status{
		Policy: r.Policy, Key: key, Limit: r.Limit, Remaining: r.Remaining,
		RetryAfter: max(r.RetryAfter, 0).Seconds(), Blocked: !r.Allowed || r.Shadowed,
	}
}

// maxListed bounds a listing.
const maxListed = 1000

// List returns up to 1,000 keys that begin with prefix, those of one policy or of all if
// policy is "". blocked leaves out those that still have units.
func List(ctx context.Context, limiters []Limiter, policy, prefix string, blocked bool) (list []Status) {
	for _, l := range limiters {
		if policy != "" && l.Policy().Name != policy {
			continue
		}
		for key, r := range l.Keys(ctx, prefix) {
			if s := status(key, r); s.Blocked || !blocked {
				list = append(list, s)
			}
			if len(list) >= maxListed {
				return list
			}
		}
	}
	return list
}

// find returns the limiters of a policy.
func find(limiters []Limiter, policy string) (Limiter, error) {
	var names []string
	for _, l := range limiters {
		if l.Policy().Name == policy {
			return l, nil
		}
		names = append(names, l.Policy().Name)
	}
	return nil, fmt.Errorf("operate: no policy %q; there are %s", policy, strings.Join(names, ", "))
}

// Set blocks a key of a policy for a while, or unlocks it when wait is 0, and returns its status.
func Set(ctx context.Context, limiters []Limiter, policy, key string, wait time.Duration) (Status, error) {
	l, err := find(limiters, policy)
	if err != nil {
		return Status{}, err
	}
	if err := l.Block(ctx, key, wait); err != nil {
		return Status{}, err
	}
	r, err := l.AllowN(ctx, key, 0)
	return status(key, r), err
}

// Handler serves operators. authorized accepts their requests; nil refuses every request.
//
//	GET    /?policy=login&prefix=ip:&blocked=1   lists keys
//	POST   /block   {"policy":"login","key":"ip:203.0.113.7","for":"1h"}
//	POST   /unlock  {"policy":"login","key":"ip:203.0.113.7"}
func Handler(authorized func(*http.Request) bool, limiters ...Limiter) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		list := List(r.Context(), limiters, q.Get("policy"), q.Get("prefix"), q.Get("blocked") != "" && q.Get("blocked") != "0")
		reply(w, http.StatusOK, map[string]any{"keys": append([]Status{}, list...), "truncated": len(list) == maxListed})
	})
	change := func(block bool) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			var in struct {
				Policy, Key, For string
			}
			if err := json.NewDecoder(io.LimitReader(r.Body, 4096)).Decode(&in); err != nil {
				reply(w, http.StatusBadRequest, map[string]string{"error": `the body must be JSON with "policy" and "key"`})
				return
			}
			var wait time.Duration
			if block {
				var err error
				if wait, err = time.ParseDuration(in.For); err != nil || wait <= 0 {
					reply(w, http.StatusBadRequest, map[string]string{"error": `"for" must be a duration such as "1h"`})
					return
				}
			}
			s, err := Set(r.Context(), limiters, in.Policy, in.Key, wait)
			if err != nil {
				reply(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
				return
			}
			reply(w, http.StatusOK, s)
		}
	}
	mux.HandleFunc("POST /block", change(true))
	mux.HandleFunc("POST /unlock", change(false))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if authorized == nil || !authorized(r) {
			reply(w, http.StatusForbidden, map[string]string{"error": "operators only"})
			return
		}
		if r.URL.Path == "" {
			r = r.Clone(r.Context())
			r.URL.Path = "/"
		}
		mux.ServeHTTP(w, r)
	})
}

func reply(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // the client is gone
}

const usage = `usage: list [-policy NAME] [-blocked] [PREFIX]
       unlock POLICY KEY
       block POLICY KEY DURATION`

// Command runs one command of an operator, such as the arguments of a service's own
// subcommand "limits": list, unlock or block. It is of use for limiters on Redis, whose keys a
// second process can reach.
func Command(ctx context.Context, args []string, out io.Writer, limiters ...Limiter) error {
	if len(args) == 0 {
		return errors.New("operate: " + usage)
	}
	show := func(list ...Status) error {
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "POLICY\tKEY\tLEFT\tOF\tRETRY AFTER")
		for _, s := range list {
			wait := time.Duration(s.RetryAfter * float64(time.Second)).Round(time.Second)
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%v\n", s.Policy, s.Key, s.Remaining, s.Limit, wait)
		}
		return w.Flush()
	}
	switch {
	case args[0] == "list":
		flags := flag.NewFlagSet("list", flag.ContinueOnError)
		flags.SetOutput(io.Discard)
		policy, blocked := flags.String("policy", "", ""), flags.Bool("blocked", false, "")
		if err := flags.Parse(args[1:]); err != nil || flags.NArg() > 1 {
			return errors.New("operate: " + usage)
		}
		if *policy != "" {
			if _, err := find(limiters, *policy); err != nil {
				return err
			}
		}
		return show(List(ctx, limiters, *policy, flags.Arg(0), *blocked)...)
	case args[0] == "unlock" && len(args) == 3:
		s, err := Set(ctx, limiters, args[1], args[2], 0)
		if err != nil {
			return err
		}
		return show(s)
	case args[0] == "block" && len(args) == 4:
		wait, err := time.ParseDuration(args[3])
		if err != nil || wait <= 0 {
			return fmt.Errorf(`operate: %q is no duration such as "1h"`, args[3])
		}
		s, err := Set(ctx, limiters, args[1], args[2], wait)
		if err != nil {
			return err
		}
		return show(s)
	}
	return errors.New("operate: " + usage)
}
