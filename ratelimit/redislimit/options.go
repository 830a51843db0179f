package redislimit

import (
	"errors"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"
)

// Options configure a Store.
type Options struct {
	// Prefix begins every Redis key: "rl:{user:42}:api". Default: "rl".
	Prefix string
	// Timeout is the most that one decision waits for Redis. It holds even for a
	// client that ignores its context's deadline. Default: 100 ms.
	Timeout time.Duration
	// BreakerFailures is how many calls must fail in a row until Redis is left alone,
	// and BreakerOpen how long until one call tries again. Default: 5 and 1 s.
	BreakerFailures int
	BreakerOpen     time.Duration
	// Instances is how many processes share the limits. FailLocal divides each limit
	// by it, at least 1 being left, so that all together hold about the limit while
	// Redis is away. Default: 1.
	Instances int
	// DenyFor is how long a denial is remembered in this process at most, so that an
	// attack on an exhausted key costs Redis nothing. A denial stays true until
	// RetryAfter unless another process cancels, resets or raises the limit; DenyFor
	// is how late this one may notice. Negative: not at all. Default: 1 s.
	DenyFor time.Duration
	// DenyKeys bounds how many denials are remembered for each policy. Default: 65,536.
	DenyKeys int
	// Logger gets one line when Redis stops and one when it resumes answering, and
	// warnings about the client's settings. Default: slog.Default().
	Logger *slog.Logger
	// Trace is told what happens. Default: nil.
	Trace *Trace
}

// Trace is a set of hooks; nil ones are skipped.
type Trace struct {
	// Down is called when the breaker opens, with the last error, and Up when Redis
	// answers again.
	Down func(err error)
	Up   func()
	// Failed is called for every call that failed.
	Failed func(err error)
}

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
	setDefault(&opts.Prefix, "rl")
	setDefault(&opts.Timeout, 100*time.Millisecond)
	setDefault(&opts.BreakerFailures, 5)
	setDefault(&opts.BreakerOpen, time.Second)
	setDefault(&opts.Instances, 1)
	setDefault(&opts.DenyFor, time.Second)
	setDefault(&opts.DenyKeys, 1<<16)
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	return opts, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// ClientOptions returns settings for a client of redis.NewUniversalClient that suit a
// limiter: deadlines are kept, and nothing is sent twice. go-redis' own defaults
// resend a command whose answer was lost, which counts it twice, and try to connect
// for seconds. Use a client of its own, or accept those for the service's client.
func ClientOptions(addrs ...string) *redis.UniversalOptions {
	return &redis.UniversalOptions{
		Addrs:                 addrs,
		ContextTimeoutEnabled: true,
		MaxRetries:            -1,
		DialerRetries:         1,
		DialTimeout:           100 * time.Millisecond,
		ReadTimeout:           100 * time.Millisecond,
		WriteTimeout:          100 * time.Millisecond,
	}
}
