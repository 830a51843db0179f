package alert

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"time"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/internal/foreign"
	"github.com/mainstay-go/mainstay/notify"
)

// obeyWait is how long a notifier may take to return after its context has ended.
const obeyWait = time.Second

// outcome is the outcome of a delivery.
type outcome struct {
	plan    *plan
	subject string
	at      time.Time
	err     error // nil: the receiver has the whole message
	// accepted and refused are keys of alerts that the receiver certainly has, or does not
	// have. It may have the others or not.
	accepted, refused []string
	wait              time.Duration // the pause that the receiver asked for
}

// start sends a message in the background. Only the next message to the same
// receiver waits for it.
func (a *Alerter) start(ctx context.Context, p *plan, snap *health.Snapshot, now time.Time) {
	m := a.compose(ctx, p, snap, now)
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	a.mu.Lock()
	a.sending++
	a.cancels[p] = cancel
	a.mu.Unlock()
	go func() {
		defer cancel()
		err := a.send(ctx, p.receiver, m)
		o := outcome{plan: p, subject: m.Subject, at: time.Now(), err: err}
		o.read()
		a.mu.Lock()
		delete(a.cancels, p)
		a.sending--
		a.results = append(a.results, o)
		a.mu.Unlock()
		a.poke()
	}()
}

// read takes the parts of the error that decisions need. The methods of the error were
// called before, so they work.
func (o *outcome) read() {
	var known *notify.DeliveryError
	if errors.As(o.err, &known) {
		o.accepted, o.refused = known.Accepted, known.Refused
	}
	var asked interface{ RetryAfter() time.Duration }
	if errors.As(o.err, &asked) {
		o.wait = max(0, min(asked.RetryAfter(), maxAskedWait))
	}
}

// send calls the notifier and stops waiting at SendTimeout, even if the notifier has
// not returned. A receiver whose last call has not returned yet is not called again.
func (a *Alerter) send(ctx context.Context, to *receiver, m notify.Message) error {
	ctx, cancel := context.WithTimeout(ctx, a.opts.SendTimeout)
	defer cancel()
	began := time.Now()
	a.mu.Lock()
	since, isStuck := a.stuck[to.Name]
	if !isStuck {
		a.stuck[to.Name] = began
	}
	a.mu.Unlock()
	var err error
	if isStuck {
		err = notify.Refused(m, fmt.Errorf("the notifier has not returned since %s", since.UTC().Format(time.RFC3339)))
	} else {
		done := make(chan error, 1)
		go func() {
			var err error
			if fault := foreign.Call(func() { err = to.Notifier.Notify(ctx, m) }); fault != nil {
				err = fmt.Errorf("the notifier %w", fault)
			}
			err = foreign.Error(err)
			a.mu.Lock()
			delete(a.stuck, to.Name)
			a.mu.Unlock()
			done <- err
		}()
		select {
		case err = <-done:
		case <-ctx.Done():
			select {
			case err = <-done: // both at once, or a more precise error
			case <-time.After(obeyWait):
				err = fmt.Errorf("the notifier did not return within %v", a.opts.SendTimeout)
			}
		}
	}
	if err != nil {
		err = &deliveryError{text: a.reg.Scrub(err.Error()), err: err}
	}
	a.mu.Lock()
	if err == nil {
		a.stats.Sent++
		a.stats.LastError = ""
	} else {
		a.stats.Failed++
		a.stats.LastError = err.Error()
	}
	text := a.stats.LastError
	a.mu.Unlock()
	if err != nil {
		if attempt := a.attempts(to.Name) + 1; bits.OnesCount(uint(attempt)) == 1 { // not one line per attempt
			a.log.ErrorContext(ctx, "alert: a message was not taken", "receiver", to.Name, "subject", m.Subject, "error", text, "attempt", attempt)
		}
	}
	if hook := a.opts.Trace.Delivery; hook != nil {
		e := DeliveryEvent{Receiver: to.Name, Message: m, Took: time.Since(began), Err: err}
		if fault := foreign.Call(func() { hook(ctx, e) }); fault != nil {
			a.log.ErrorContext(ctx, "alert: the hook Trace.Delivery failed", "error", a.reg.Scrub(fault.Text))
		}
	}
	return err
}

// deliveryError is the error of a notifier. Its text contains no secrets.
type deliveryError struct {
	text string
	err  error
}

func (e *deliveryError) Error() string { return e.text }
func (e *deliveryError) Unwrap() error { return e.err }

func (a *Alerter) attempts(receiver string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.local.Receivers[receiver]; s != nil {
		return s.Attempts
	}
	return 0
}

// take returns the outcomes that are not recorded yet.
func (a *Alerter) take() []outcome {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.results
	a.results = nil
	return all
}

// restore keeps outcomes that could not be recorded.
func (a *Alerter) restore(outcomes []outcome) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.results = append(outcomes, a.results...)
}

// await returns the outcomes of all deliveries, or the outcomes so far when ctx ends.
// It does not remove them from the list.
func (a *Alerter) await(ctx context.Context) []outcome {
	for {
		a.mu.Lock()
		sending, results := a.sending, append([]outcome(nil), a.results...)
		a.mu.Unlock()
		if sending == 0 || ctx.Err() != nil {
			return results
		}
		select {
		case <-ctx.Done():
		case <-a.wake:
		}
	}
}

// abort ends the running deliveries, and returns the outcomes of all of them.
func (a *Alerter) abort(ctx context.Context) []outcome {
	a.mu.Lock()
	for _, cancel := range a.cancels {
		cancel()
	}
	a.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 2*obeyWait)
	defer cancel()
	return a.await(ctx)
}
