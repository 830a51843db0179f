package cache

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Options tune a [Typed]. The zero value and nil work.
type Options struct {
	// Codec stores the values. Default: Msgpack().
	Codec Codec
	// Schema names the form of V, such as "2": values of another schema are misses, so
	// raise it when V changes its meaning. Up to 32 bytes. Default: "".
	Schema string
	// Compression is tried on values of 1 KiB and more, and used where it saves a
	// tenth. Default: NoCompression.
	Compression Compression
	// MaxValue is the size of an encoded value in bytes above which it is returned but
	// not kept. Default: 1 MiB.
	MaxValue int
	// Near keeps values, as they are, in this process before the store. They are shared
	// by all callers, who must not change them. How stale one can be is for the store
	// to say; see its Coherence. Default: nil, none.
	Near Near
	// NearTTL bounds how long a value is kept there. Default: the time to live; 2 s
	// before a store that does not hear of other processes' writes (no [Coherent]).
	NearTTL time.Duration
	// Tags returns the tags of a key, at most 16; InvalidateTags with any of them makes
	// the key absent. It is called before the load. Default: nil, none.
	Tags func(key string) []string
	// Jitter is the largest share by which a time to live is shortened at random, so
	// that what was loaded together does not end together. Negative: none. Default: 0.1.
	Jitter float64
	// NotFoundTTL is how long it is remembered that a load returned ErrNotFound.
	// Negative: not at all. Default: a tenth of the time to live, at most 30 s.
	NotFoundTTL time.Duration
	// ErrorTTL is how long the error of a load is given to other readers of this process
	// too, instead of loading again; a second at most. Default: 0, to those who waited for
	// the load only.
	ErrorTTL time.Duration
	// StaleFor is how long after its time a value may be served when its load fails.
	// Default: 0, never.
	StaleFor time.Duration
	// SoftTimeout is how long a reader waits for a load if it can have a value within
	// StaleFor instead; the load goes on. Default: 0, to the load's end.
	SoftTimeout time.Duration
	// ThrottleFor is how long a load that failed is not tried again while there is
	// something to serve instead. Default: 1 s.
	ThrottleFor time.Duration
	// EarlyRefresh loads values again before their time ends, in the background and the
	// likelier the nearer the end and the longer the load took (XFetch, Vattani et al.,
	// VLDB 2015). 1 is the paper's choice, more is earlier. Default: 0, off.
	EarlyRefresh float64
	// LoadTimeout bounds one load, and what its readers wait for it: then they get the old
	// value if they can have one within StaleFor, or else ErrLoadTimeout, and what the load
	// still brings is not kept. Default: 30 s.
	LoadTimeout time.Duration
	// LeaseWait bounds how long a load waits for another process that loads the same
	// key; after that it loads for its own callers and keeps nothing. Default: 10 s.
	LeaseWait time.Duration
	// StoreTimeout bounds one call of the store. Default: 500 ms.
	StoreTimeout time.Duration
	// Logger is told when the store begins to fail and when it works again. Default:
	// slog.Default().
	Logger *slog.Logger
	// Trace is told what happens. Default: nil.
	Trace *Trace
}

const maxTags = 16

func (o *Options) complete(name string, ttl time.Duration) error {
	for _, d := range []time.Duration{o.NearTTL, o.ErrorTTL, o.StaleFor, o.SoftTimeout, o.ThrottleFor, o.LoadTimeout, o.LeaseWait, o.StoreTimeout} {
		if d < 0 {
			return fmt.Errorf("cache: %s: a duration is negative", name)
		}
	}
	if o.Codec == nil {
		o.Codec = Msgpack()
	}
	if o.MaxValue == 0 {
		o.MaxValue = 1 << 20
	}
	if o.Jitter == 0 {
		o.Jitter = 0.1
	}
	def := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	def(&o.NearTTL, ttl+o.StaleFor)
	def(&o.NotFoundTTL, max(min(ttl/10, 30*time.Second), time.Millisecond))
	def(&o.ThrottleFor, time.Second)
	def(&o.LoadTimeout, 30*time.Second)
	def(&o.LeaseWait, 10*time.Second)
	def(&o.StoreTimeout, 500*time.Millisecond)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Trace == nil {
		o.Trace = &Trace{}
	}
	codec := o.Codec.Name()
	switch {
	case name == "":
		return errors.New("cache: New needs a name; it keeps the keys of different caches apart")
	case ttl < time.Millisecond:
		return fmt.Errorf("cache: %s: %w", name, ErrInvalidTTL)
	case codec == "" || len(codec) > 16:
		return fmt.Errorf("cache: %s: the codec's name %q must have 1 to 16 bytes", name, codec)
	case len(o.Schema) > 32:
		return fmt.Errorf("cache: %s: Schema must have at most 32 bytes", name)
	case o.Compression > Zstd:
		return fmt.Errorf("cache: %s: Compression %d is unknown", name, o.Compression)
	case o.Jitter >= 1:
		return fmt.Errorf("cache: %s: Jitter must be below 1", name)
	case o.SoftTimeout > 0 && o.StaleFor == 0:
		return fmt.Errorf("cache: %s: SoftTimeout needs StaleFor, or there is nothing to serve instead", name)
	case o.ErrorTTL > time.Second:
		return fmt.Errorf("cache: %s: ErrorTTL must be at most a second; what does not exist is for NotFoundTTL", name)
	case o.MaxValue < 0 || o.EarlyRefresh < 0:
		return fmt.Errorf("cache: %s: MaxValue and EarlyRefresh must not be negative", name)
	}
	return nil
}
