package pagination

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Precision says how exact a [Total] is.
type Precision uint8

// The precisions of a total.
const (
	Exact    Precision = iota // the number of rows when they were counted
	AtLeast                   // counting stopped at this number
	Estimate                  // from the database's statistics
	Unknown                   // the list was not counted
)

// Total is the number of rows of a list. In JSON it is the number, or null when
// unknown. The zero value is an exact 0.
type Total struct {
	N         int64     // 0 if Precision is Unknown
	Precision Precision // how exact N is
}

// MarshalJSON writes the number, or null when unknown.
func (t Total) MarshalJSON() ([]byte, error) {
	if t.Precision == Unknown {
		return []byte("null"), nil
	}
	return strconv.AppendInt(nil, t.N, 10), nil
}

// UnmarshalJSON reads a number as an exact total and null as an unknown one.
func (t *Total) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		*t = Total{Precision: Unknown}
		return nil
	}
	n, err := strconv.ParseInt(string(data), 10, 64)
	if err != nil {
		return fmt.Errorf("pagination: total: %w", err)
	}
	*t = Total{N: n}
	return nil
}

// CountPolicy decides how the total of a list is found. Counting is often more expensive
// than the page itself: on a million rows a page costs a tenth of a millisecond and
// COUNT(*) tens of milliseconds. The zero value counts exactly.
//
// Any other policy reads one row more than the page shows. The next link is then right even
// if the total is not. The page "last" exists only with an exact total.
type CountPolicy struct {
	precision  Precision
	limit      int64 // cap, or threshold of the estimate
	ttl        time.Duration
	remember   Remember
	remembered bool
}

// Remember returns the value kept under key. If there is none, it calls load and keeps the
// result for ttl. It connects a cache to a [CountPolicy]: a get-or-load method of a cache
// fits with one line. It may collapse concurrent loads of one key.
type Remember func(ctx context.Context, key string, ttl time.Duration, load func(context.Context) (int64, error)) (int64, error)

// CountNone does not count: count and total_pages are null.
func CountNone() CountPolicy { return CountPolicy{precision: Unknown} }

// CountCapped counts up to most rows. If there are more, count is most and count_exact is
// false ("at least"). It panics if most is below 1.
func CountCapped(most int64) CountPolicy {
	if most < 1 {
		panic("pagination: CountCapped needs a cap of at least 1")
	}
	return CountPolicy{precision: AtLeast, limit: most}
}

// CountEstimated reads the estimate of the database's statistics. The source must be an
// [Estimator]. If the estimate is below exactBelow, it counts exactly: counting is cheap
// there, and an error would be visible.
func CountEstimated(exactBelow int64) CountPolicy {
	return CountPolicy{precision: Estimate, limit: exactBelow}
}

// Remembered keeps the counts of this policy for ttl, under a key made of the resource,
// the scope and the filter of the request. The total is then up to ttl old. It panics if
// remember is nil or ttl is not positive.
func (c CountPolicy) Remembered(ttl time.Duration, remember Remember) CountPolicy {
	if remember == nil || ttl <= 0 {
		panic("pagination: Remembered needs a function and a positive TTL")
	}
	c.remember, c.ttl, c.remembered = remember, ttl, true
	return c
}

// fresh reports whether the total is exact at the time of the page, so that it decides
// which pages exist.
func (c CountPolicy) fresh() bool { return c.precision == Exact && !c.remembered }

var errNoCounter = errors.New("pagination: the source has no Count method; add one or use CountNone")

// Total counts a source under the policy. It is for paginators outside this package. The
// source needs the methods of [Counter]. It also needs those of [CappedCounter] or
// [Estimator] if the policy names them. Only a remembered policy calls key.
func (c CountPolicy) Total(ctx context.Context, source any, key func() string) (Total, error) {
	if c.precision == Unknown {
		return Total{Precision: Unknown}, nil
	}
	load := func(ctx context.Context) (int64, error) { return c.load(ctx, source) }
	var n int64
	var err error
	if c.remembered {
		n, err = c.remember(ctx, c.own(key()), c.ttl, load)
	} else {
		n, err = load(ctx)
	}
	if err != nil {
		return Total{}, err
	}
	switch {
	case n < 0: // an estimate, see load
		return Total{N: -n - 1, Precision: Estimate}, nil
	case c.precision == AtLeast && n > c.limit:
		return Total{N: c.limit, Precision: AtLeast}, nil
	default:
		return Total{N: n}, nil
	}
}

// own returns the key of a count under this policy: the same number means something else
// under another policy.
func (c CountPolicy) own(key string) string {
	if c.precision == Exact {
		return key
	}
	return fmt.Sprintf("%s:%d:%d", key, c.precision, c.limit)
}

// load returns a count, cap+1 for "more than the cap", or -1-n for an estimate of n. The
// result is one integer so that any cache can keep it.
func (c CountPolicy) load(ctx context.Context, source any) (int64, error) {
	switch c.precision {
	case AtLeast:
		if capped, ok := source.(CappedCounter); ok {
			return capped.CountUpTo(ctx, c.limit+1)
		}
	case Estimate:
		estimator, ok := source.(Estimator)
		if !ok {
			return 0, errors.New("pagination: the source has no EstimateCount method; add one or choose another count policy")
		}
		n, err := estimator.EstimateCount(ctx)
		if err != nil {
			return 0, err
		}
		if n >= c.limit {
			return -1 - n, nil
		}
	}
	counter, ok := source.(Counter)
	if !ok {
		return 0, errNoCounter
	}
	return counter.Count(ctx)
}
