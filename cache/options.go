package cache

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"
)

// Options tune a [Typed]. The zero value and nil are valid.
type Options[V any] struct {
	// NoMemory never serves a value from the memory of this process. During an outage of
	// the store, each read then loads. Use it for values such as a balance, where every
	// read must see the last write of every process. New refuses it without a store, and with
	// NewMemory. Default: false.
	NoMemory bool
	// MaxBytes is the limit for the values of a cache without a store. Caches on one store
	// share the memory of the store. Default: 64 MiB.
	MaxBytes int64
	// Weigh returns the bytes of a value in memory. A negative result counts as 0. Weigh is
	// not called for an absence. Default: the encoded size, or an estimate that walks the
	// value.
	Weigh func(value V) int64
	// Clone copies a value for a caller, who may then change it. It receives every value that
	// a load has returned without an error, also nil. Default: nil, all callers share one
	// value and must not change it.
	Clone func(value V) V
	// LocalTTL is the maximum life of a value in memory. Default: the time to live.
	LocalTTL time.Duration
	// OutageTTL is the maximum life in memory of a value that was loaded while the store
	// could not be reached. Other processes cannot invalidate it here during that time.
	// Default: 10 s.
	OutageTTL time.Duration
	// Strict makes a write return ErrPending while the store cannot be reached. Without
	// Strict it returns nil, and the store applies it later. Default: false.
	Strict bool
	// Codec encodes the values. Default: Msgpack().
	Codec Codec
	// Schema is part of the schema of each stored value, in addition to the type of V.
	// Change it when the meaning of V changes and its fields do not. Up to 32 bytes.
	// Default: "".
	Schema string
	// Compression is tried on values of 1 KiB and more, and used if it saves a tenth.
	// Default: NoCompression.
	Compression Compression
	// MaxValue is the largest size of an encoded value in bytes. A larger value is returned
	// but not stored. Default: 1 MiB.
	MaxValue int
	// Tags returns the tags of a key, at most 16. InvalidateTags with any of these tags
	// makes the key absent. Tags is called before the load. Default: nil, no tags.
	Tags func(key string) []string
	// Jitter is the largest share by which a time to live is shortened at random, so that
	// values that were loaded together do not expire together. Negative: no jitter.
	// Default: 0.1.
	Jitter float64
	// NotFoundTTL is how long an ErrNotFound of a load is remembered. Negative: not
	// remembered. Default: a tenth of the time to live, at most 30 s.
	NotFoundTTL time.Duration
	// ErrorTTL is how long other readers of this process also receive the error of a load,
	// instead of loading again. It is at most a second. Default: 0, only the waiters of the
	// load receive the error.
	ErrorTTL time.Duration
	// StaleFor is how long a value may be served after its time to live if its load fails. A
	// load that takes longer, and the pause of ThrottleFor, do not prolong it. Default: 0,
	// never.
	StaleFor time.Duration
	// SoftTimeout is how long a reader waits for a load if there is a value within
	// StaleFor. The load continues. Default: 0, to the end of the load.
	SoftTimeout time.Duration
	// ThrottleFor is the pause after a failed load if there is a value to serve instead.
	// Default: 1 s.
	ThrottleFor time.Duration
	// EarlyRefresh loads values in the background before their time to live ends. A refresh
	// is more likely near the end, and after a long load (XFetch, Vattani et al., VLDB
	// 2015). The paper uses 1. A larger number refreshes earlier. Default: 0, off.
	EarlyRefresh float64
	// AuditEvery is the number of hits for one comparison with the source, in the
	// background. Stats and Trace.Audit report values that differ after they were encoded and
	// decoded. Values that the codec cannot encode do not count. Default: 0, off.
	AuditEvery int
	// LoadTimeout is the limit for one load, and for how long its readers wait. After that
	// they receive the old value if there is one within StaleFor, or else ErrLoadTimeout. A
	// value that arrives later is not stored. Default: 30 s.
	LoadTimeout time.Duration
	// LeaseWait is how long a load waits for another process that loads the same key. After
	// that it loads for its own callers and stores no value. Default: 10 s.
	LeaseWait time.Duration
	// StoreTimeout is the limit for one call of the store. Default: 700 ms.
	StoreTimeout time.Duration
	// Logger receives a line when the store begins to fail and when it works again.
	// Default: slog.Default().
	Logger *slog.Logger
	// Trace has hooks for metrics and traces. Default: nil.
	Trace *Trace
}

const maxTags = 16

func (o *Options[V]) complete(name string, ttl time.Duration) error {
	for _, d := range []time.Duration{o.LocalTTL, o.OutageTTL, o.ErrorTTL, o.StaleFor, o.SoftTimeout, o.ThrottleFor, o.LoadTimeout, o.LeaseWait, o.StoreTimeout} {
		if d < 0 {
			return fmt.Errorf("cache: %s: a duration is negative", name)
		}
	}
	o.Codec = cmp.Or(o.Codec, Msgpack())
	o.MaxValue = cmp.Or(o.MaxValue, 1<<20)
	o.Jitter = cmp.Or(o.Jitter, 0.1)
	o.LocalTTL = cmp.Or(o.LocalTTL, math.MaxInt64)
	o.OutageTTL = cmp.Or(o.OutageTTL, 10*time.Second)
	o.NotFoundTTL = cmp.Or(o.NotFoundTTL, max(min(ttl/10, 30*time.Second), time.Millisecond))
	o.ThrottleFor = cmp.Or(o.ThrottleFor, time.Second)
	o.LoadTimeout = cmp.Or(o.LoadTimeout, 30*time.Second)
	o.LeaseWait = cmp.Or(o.LeaseWait, 10*time.Second)
	o.StoreTimeout = cmp.Or(o.StoreTimeout, 700*time.Millisecond)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	o.Trace = cmp.Or(o.Trace, &Trace{})
	codec := o.Codec.Name()
	switch {
	case name == "":
		return errors.New("cache: New needs a name; it keeps the keys of different caches apart")
	case ttl < time.Millisecond:
		return fmt.Errorf("cache: %s: %w", name, ErrInvalidTTL)
	case ttl > longestTTL || o.StaleFor > longestTTL:
		return fmt.Errorf("cache: %s: the time to live %v and StaleFor %v must be at most %v; clocks and stores cannot count further", name, ttl, o.StaleFor, longestTTL)
	case codec == "" || len(codec) > 16:
		return fmt.Errorf("cache: %s: the codec's name %q must have 1 to 16 bytes", name, codec)
	case len(o.Schema) > 32:
		return fmt.Errorf("cache: %s: Schema must have at most 32 bytes", name)
	case o.Compression > Zstd:
		return fmt.Errorf("cache: %s: Compression %d is unknown", name, o.Compression)
	case !(o.Jitter < 1):
		return fmt.Errorf("cache: %s: Jitter must be below 1", name)
	case o.SoftTimeout > 0 && o.StaleFor == 0:
		return fmt.Errorf("cache: %s: SoftTimeout needs StaleFor, or there is nothing to serve instead", name)
	case o.ErrorTTL > time.Second:
		return fmt.Errorf("cache: %s: ErrorTTL must be at most a second; what does not exist is for NotFoundTTL", name)
	case !(o.EarlyRefresh >= 0 && o.EarlyRefresh <= math.MaxFloat64):
		return fmt.Errorf("cache: %s: EarlyRefresh %v must be a number from 0", name, o.EarlyRefresh)
	case o.MaxValue < 0 || o.AuditEvery < 0 || o.MaxBytes < 0:
		return fmt.Errorf("cache: %s: MaxValue, MaxBytes and AuditEvery must not be negative", name)
	case o.MaxBytes > 0 && o.MaxBytes < 1<<10:
		return fmt.Errorf("cache: %s: MaxBytes must be at least 1024", name)
	}
	return nil
}

// longestTTL is about 50 years. Stores and clocks cannot add longer times.
const longestTTL = 50 * 365 * 24 * time.Hour

// CallOption tunes one call. See [WithTags] and [WithTTL].
type CallOption struct {
	tags []string
	ttl  time.Duration
}

// WithTags adds tags to those of Options.Tags, for the value that this call loads or sets.
func WithTags(tags ...string) CallOption { return CallOption{tags: tags} }

// WithTTL sets the time to live of the value that this call loads or sets.
func WithTTL(ttl time.Duration) CallOption { return CallOption{ttl: ttl} }
