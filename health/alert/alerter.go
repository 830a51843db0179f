package alert

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/notify"
)

// Alerter sends notifications about the checks of a registry. Create one with [New].
// All methods are safe for concurrent use.
type Alerter struct {
	reg       *health.Registry
	opts      Options
	log       *slog.Logger
	receivers []*receiver
	boot      string
	running   atomic.Bool
	wake      chan struct{}

	deciding chan struct{} // one decision at a time; never held while a message is sent
	watch    watch         // guarded by deciding

	pending map[string]time.Time // checks without a result, since when; used by Run only
	idle    bool                 // a check that never ran was logged

	mu        sync.Mutex // guards the fields below; never held during a call to the outside
	local     *document  // the last known state; replaced, never changed
	stored    []byte     // the encoding of local if the store has it, or nil
	unsaved   bool       // local has changes that are not in the store
	cutOff    bool       // the store was unreachable in the last run of the loop
	calling   time.Time  // the start of a call of the store that has not returned, or zero
	busySince time.Time  // the first look of those in a row that found the store in use
	conflict  bool       // another process writes under the same instance name
	written   time.Time  // the last state that this process stored
	wrote     bool       // a heartbeat of this process is in the store
	speakFrom time.Time  // while cut off: when this instance may send messages itself
	history   map[string]history
	results   []outcome
	sending   int
	cancels   map[*plan]context.CancelFunc // of the running deliveries
	stuck     map[string]time.Time         // receivers whose last call has not returned
	stats     Stats
}

// Stats are counters since [New].
type Stats struct {
	// Sent counts messages that a receiver accepted. Failed counts attempts that
	// failed.
	Sent, Failed uint64
	// Dropped counts alerts that ended before a message about them was delivered.
	Dropped uint64
	// GivenUp counts alerts whose end a receiver did not accept for 7 days. The alert may be
	// open there for ever.
	GivenUp uint64
	// StoreErrors counts how often the store was unreachable. A store that hangs, or that
	// another process uses for a minute, is unreachable too.
	StoreErrors uint64
	// Conflicts counts how often another process used the same instance name and store.
	// Give each process its own Options.Instance.
	Conflicts uint64
	// LastError is the text of the last failed delivery. It is empty after a successful
	// one.
	LastError string
}

const (
	tick = 30 * time.Second // changes wake the loop sooner; this finds what is due by time
	busy = 5 * time.Second  // the pause before a busy store is tried again
	// rankStep spreads the instances that cannot reach their store. If the store of an
	// instance comes back in time, it finds that another instance has sent the message.
	rankStep = 15 * time.Second
	// onceSlack lets a command that runs hourly send the reminder that is due after an
	// hour.
	onceSlack = 5 * time.Minute
	// busyLimit is how long the store may be in use by another process, or hang, before
	// this process decides alone.
	busyLimit = time.Minute
	// storeWait limits one call of the store. A store on Redis waits 10 s for its lock.
	storeWait = 15 * time.Second
	// stopWait is how long Run waits for deliveries at its end, and stopStore for the store.
	stopWait  = 5 * time.Second
	stopStore = 3 * time.Second
	// leastWait keeps the loop from spinning.
	leastWait = 100 * time.Millisecond
)

// New returns an Alerter that notifies to about reg. Options.Receivers adds receivers
// with their own routes. Then to may be nil. Each channel of a notify.Multi becomes a
// separate receiver. New sends no message and starts no goroutine. Call [Alerter.Run],
// or [Alerter.Once] in a command.
func New(reg *health.Registry, to notify.Notifier, opts *Options) (*Alerter, error) {
	if reg == nil {
		return nil, errors.New("alert: New needs a registry")
	}
	o, err := opts.normalized(reg)
	if err != nil {
		return nil, err
	}
	if f, ok := o.Store.(*fallback); ok && f.instance != o.Instance {
		return nil, fmt.Errorf("alert: the Fallback keeps the state of the instance %q, and this one is %q: give both the same name", f.instance, o.Instance)
	}
	for _, w := range o.Windows {
		for _, name := range w.Checks {
			if !slices.Contains(reg.Names(), name) {
				return nil, fmt.Errorf("alert: a maintenance window names the unknown check %q", name)
			}
		}
	}
	receivers, err := o.receivers(to)
	if err != nil {
		return nil, err
	}
	return &Alerter{
		reg: reg, opts: o, log: o.Logger, receivers: receivers, boot: rand.Text()[:12],
		wake: make(chan struct{}, 1), deciding: make(chan struct{}, 1), local: newDocument(), history: map[string]history{}, stuck: map[string]time.Time{},
		pending: map[string]time.Time{}, cancels: map[*plan]context.CancelFunc{},
	}, nil
}

// rules returns the current parameters of decisions.
func (a *Alerter) rules(once bool) *rules {
	o := &a.opts
	r := &rules{
		instance: o.Instance, boot: a.boot, once: once, known: a.reg.Names(), minStatus: o.MinStatus,
		groupWait: o.GroupWait, groupInterval: o.GroupInterval, retries: o.Retries, sendTimeout: o.SendTimeout,
		maxPerHour: o.MaxPerHour, windows: o.Windows, lost: !o.ForgetLost, tellUnclean: o.TellUncleanStop,
		receivers: a.receivers, history: map[string]history{},
	}
	if once {
		r.groupWait, r.groupInterval, r.slack = 0, 0, onceSlack
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, h := range a.history {
		r.history[name] = h
	}
	return r
}

// Stats returns the counters.
func (a *Alerter) Stats() Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stats
}
