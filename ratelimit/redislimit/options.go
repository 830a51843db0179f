package redislimit

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"
)

// Options configure a Store.
type Options struct {
	// Prefix begins every Redis key: "rl:{user:42}:api". Default: "rl".
	Prefix string
	// Timeout is how long Redis may stay silent until a decision stops waiting for
	// it. A Redis that answers other decisions is busy and not away: a decision that is
	// queued behind them waits up to 40 times as long. Default: 500 ms.
	Timeout time.Duration
	// BreakerFailures is how many calls must fail in a row, over at least Timeout, until a
	// node is left alone. Calls that wait in this process, and errors about single keys,
	// are no failures. Default: 5.
	BreakerFailures int
	// BreakerOpen is how long a node is left alone until one call tries again. Default: 1 s.
	BreakerOpen time.Duration
	// Instances is how many processes share the limits at least. While Redis is away,
	// FailLocal divides each limit by their number, at least 1 being left, so that all
	// together hold about the limit. Processes also learn it from each other's heartbeats
	// on Redis: see Store.Run. Default: 1.
	Instances int
	// DenyFor is how long a denial is remembered in this process at most, so that an
	// attack on an exhausted key costs Redis no command. A denial stays true until
	// RetryAfter unless another process cancels, resets or raises the limit; DenyFor
	// is how late this one may notice. Negative: denials are not remembered. Default: 1 s.
	DenyFor time.Duration
	// DenyKeys bounds how many denials are remembered for each policy. Default: 65,536.
	DenyKeys int
	// Logger receives one line when Redis stops answering and one when it resumes, and
	// warnings about the client's settings and about keys that hold something else.
	// Default: slog.Default().
	Logger *slog.Logger
	// Trace receives failures. Default: nil.
	Trace *Trace
}

// Trace is a set of hooks. nil hooks are skipped.
type Trace struct {
	// Down is called when a breaker opens, with the last error.
	Down func(context.Context, FailedEvent)
	// Up is called when the node responds again.
	Up func(context.Context, UpEvent)
	// Failed is called for every call that failed.
	Failed func(context.Context, FailedEvent)
}

// FailedEvent is a call that Redis did not answer, or answered with an error.
type FailedEvent struct {
	// Err is the error of the call, such as a timeout.
	Err error
	// Key is set when the error is about one key.
	Key string
}

// UpEvent is the end of the outage of a node. It has no fields yet.
type UpEvent struct{}

func (o *Options) withDefaults() (Options, error) {
	var opts Options
	if o != nil {
		opts = *o
	}
	if opts.Timeout < 0 || opts.BreakerFailures < 0 || opts.BreakerOpen < 0 || opts.Instances < 0 || opts.DenyKeys < 0 {
		return opts, errors.New("redislimit: Timeout, BreakerFailures, BreakerOpen, Instances and DenyKeys must not be negative; 0 is the default")
	}
	for i := range len(opts.Prefix) {
		if c := opts.Prefix[i]; c == '{' || c == '}' || c <= ' ' || c >= 0x7f {
			return opts, errors.New("redislimit: Prefix must be printable ASCII without braces: they choose the Cluster slot")
		}
	}
	opts.Prefix = cmp.Or(opts.Prefix, "rl")
	opts.Timeout = cmp.Or(opts.Timeout, 500*time.Millisecond)
	opts.BreakerFailures = cmp.Or(opts.BreakerFailures, 5)
	opts.BreakerOpen = cmp.Or(opts.BreakerOpen, time.Second)
	opts.Instances = cmp.Or(opts.Instances, 1)
	opts.DenyFor = cmp.Or(opts.DenyFor, time.Second)
	opts.DenyKeys = cmp.Or(opts.DenyKeys, 1<<16)
	opts.Logger = cmp.Or(opts.Logger, slog.Default())
	return opts, nil
}

// ClientOptions returns settings for a client of redis.NewUniversalClient that suit a
// limiter: a command is not sent again after its reply is lost, which would count it twice, and
// a silent connection is closed after a second. A store needs four
// connections to a node; its decisions share them.
func ClientOptions(addrs ...string) *redis.UniversalOptions {
	return &redis.UniversalOptions{
		Addrs:                 addrs,
		ContextTimeoutEnabled: true,
		MaxRetries:            -1,
		DialerRetries:         1,
		DialTimeout:           time.Second,
		ReadTimeout:           time.Second,
		WriteTimeout:          time.Second,
	}
}
