package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Admission is a request that has been let in and whose outcome is still open. The
// middleware puts it into the request's context, and the handler states the outcome:
//
//	a := ratelimit.AdmissionFrom(r.Context())
//	if passwordIsRight {
//		a.Succeed()
//	}
//
// A check with FailuresOnly counts every admission whose handler has not called Succeed
// by the time that it returns, with any status. A panic, a hijacked connection and
// a form that is shown again with status 200 are failures in this sense.
//
// An Admission is safe for concurrent use. A nil Admission, which AdmissionFrom returns
// outside of any limit, accepts all calls without effect. Its Charge returns an error.
type Admission struct {
	ctx      context.Context
	decision Decision
	outer    *Admission
	logger   *slog.Logger
	free     []*Reservation // of rules whose cost is 0: only Charge books them
	skipped  []string       // policies of rules that leave the request out

	mu       sync.Mutex
	stated   bool
	ended    bool
	verdicts []int             // one a check: see judge
	hook     func(outcome int) // of the login guard
	guard    any               // the login guard: its checks have one handler, and are watched together
}

// The outcomes of an admission. outcomeOpen means that the handler has not stated one.
const (
	outcomeOpen = iota - 1
	outcomeFailed
	outcomeSucceeded
	outcomePending
)

type admissionKey struct{}

// AdmissionFrom returns the innermost admission of a request, or nil.
func AdmissionFrom(ctx context.Context) *Admission {
	a, _ := ctx.Value(admissionKey{}).(*Admission)
	return a
}

// Admit decides checks for one request and returns its admission. It is what the
// middleware of every protocol calls: put [Admission.Context] into the request, defer
// [Admission.End], and answer a denial, for which Decision().Allowed is false.
//
// Checks with Within are waited for, once all checks allow. Where units in flight are all that
// denies a request, Admit waits for their outcome, up to 5 seconds. The errors are those of
// [Decide]. The admission is never nil.
func Admit(ctx context.Context, checks ...Check) (*Admission, error) {
	a, err := admit(ctx, checks)
	a.noteTwice()
	return a, err
}

// admit reserves the units of the checks without Within first, then those of the others, and
// waits at the end. So a request that is denied waits for nothing, and takes the place of no
// request that waits.
func admit(ctx context.Context, checks []Check) (*Admission, error) {
	a := &Admission{ctx: ctx, outer: AdmissionFrom(ctx), logger: slog.Default()}
	now, later := make([]Check, 0, len(checks)), []Check(nil)
	for _, c := range checks {
		if c.Within > 0 && !c.Limiter.Policy().Shadow {
			later = append(later, c)
		} else {
			now = append(now, c)
		}
	}
	d, err := decideInFlight(ctx, now)
	a.decision = *d
	if len(later) == 0 || err != nil || !d.Allowed {
		return a, err
	}
	waits := make([]*Decision, 0, len(later))
	for _, c := range later {
		d, err := Decide(ctx, c)
		a.decision.add(d)
		if err != nil || !d.Allowed {
			return a, joinCancel(ctx, err, &a.decision)
		}
		waits = append(waits, d)
	}
	for _, d := range waits {
		if err := d.Wait(ctx); err != nil {
			a.decision.Allowed = false
			return a, joinCancel(ctx, err, &a.decision)
		}
	}
	return a, nil
}

func joinCancel(ctx context.Context, err error, d *Decision) error {
	if e := d.Cancel(context.WithoutCancel(ctx)); err == nil {
		err = e
	}
	return err
}

func (d *Decision) add(o *Decision) {
	d.Allowed = d.Allowed && o.Allowed
	d.Results = append(d.Results, o.Results...)
	d.checks = append(d.checks, o.checks...)
	d.reservations = append(d.reservations, o.reservations...)
}

// Decision returns the decision.
func (a *Admission) Decision() *Decision {
	if a == nil {
		return &Decision{Allowed: true}
	}
	return &a.decision
}

// Context returns a context of parent that carries the admission.
func (a *Admission) Context(parent context.Context) context.Context {
	return &admissionContext{parent, a}
}

type admissionContext struct {
	context.Context
	a *Admission
}

func (c *admissionContext) Value(key any) any {
	if _, ok := key.(admissionKey); ok {
		return c.a
	}
	return c.Context.Value(key)
}

// Succeed states that the request has succeeded: checks with FailuresOnly get their units
// back, those of outer admissions too.
func (a *Admission) Succeed() { a.state(outcomeSucceeded) }

// Fail states that the request has failed: its units stay counted, and callers that wait
// for its outcome continue at once.
func (a *Admission) Fail() { a.state(outcomeFailed) }

// Pending states that a later request will show the outcome, such as after a correct
// password that needs a second factor. The units are given back, and a login guard does not
// learn from this request.
func (a *Admission) Pending() { a.state(outcomePending) }

// Charge sets the real cost of the request, once it is known, for the checks without
// FailuresOnly of this admission and of outer ones: all checks, or the checks of the named
// policies. A lower cost than was reserved is given back. A higher one is taken even if it
// does not fit: see [Reservation.Settle]. A rule with a cost of 0 is charged too. A later
// Charge sets the new total. A lower one gives back at most the units that the request had
// reserved.
//
// The error says which policy the charge has not reached, or why it could not be counted. It
// is logged too.
func (a *Admission) Charge(cost int, policies ...string) error {
	if cost < 0 {
		return ErrInvalidCost
	}
	var list []*Reservation
	var known, reached []string
	add := func(policy string, r *Reservation) {
		known = append(known, policy)
		if len(policies) > 0 && !slices.Contains(policies, policy) {
			return
		}
		reached = append(reached, policy)
		if r != nil {
			list = append(list, r)
		}
	}
	for o := a; o != nil; o = o.outer {
		for i := range o.decision.checks {
			if c := &o.decision.checks[i]; o.decision.Allowed && !c.FailuresOnly {
				add(c.Limiter.Policy().Name, o.decision.reservations[i])
			}
		}
		for _, r := range o.free {
			add(r.result.Policy, r)
		}
		for _, policy := range o.skipped {
			add(policy, nil)
		}
	}
	var missed []string
	for _, policy := range policies {
		if !slices.Contains(reached, policy) {
			missed = append(missed, policy)
		}
	}
	if a == nil {
		return fmt.Errorf("ratelimit: a charge of %d units counts nowhere, because its context has no admission; pass the context that the middleware gives to the handler", cost)
	}
	costs := make([]int, len(list))
	for i := range costs {
		costs[i] = cost
	}
	err := a.settle(list, costs, true)
	for o := a; o != nil; o = o.outer {
		o.noteUnrefused()
	}
	if len(missed) > 0 || len(reached) == 0 {
		missing := fmt.Errorf("ratelimit: a charge of %d units does not reach policies %q; those that this request can charge are %q", cost, missed, known)
		if notices.due("charge " + strings.Join(missed, " ")) {
			a.logger.WarnContext(a.ctx, "ratelimit: a charge counts nowhere, because no rule of the request has such a policy without FailuresOnly", "policies", missed, "known", known)
		}
		err = errors.Join(missing, err)
	}
	return err
}

// noteUnrefused warns of a policy that charges use up, and that refuses no request because all
// cost 0.
func (a *Admission) noteUnrefused() {
	for _, r := range a.free {
		r.mu.Lock()
		spent := r.spent
		r.mu.Unlock()
		if spent && notices.due("unrefused "+r.result.Policy) {
			a.logger.WarnContext(a.ctx, "ratelimit: charges have used a key up, and its next request is let through if the rule's Cost is 0 again; let Cost return 1", "policy", r.result.Policy)
		}
	}
}

func (a *Admission) state(outcome int) {
	for ; a != nil; a = a.outer {
		a.mu.Lock()
		first := !a.stated && !a.ended
		a.stated = true
		a.mu.Unlock()
		if first {
			a.conclude(outcome)
		}
	}
}

// End settles an outcome that the handler has left open. Defer it, so that it also runs after a panic.
func (a *Admission) End() {
	if a == nil {
		return
	}
	a.mu.Lock()
	open := !a.stated && !a.ended
	a.ended = true
	a.mu.Unlock()
	if open {
		a.conclude(outcomeOpen)
	}
}

// judge records the verdict of each check's own SuccessStatus about status. A verdict concerns
// its check only. End settles it unless the handler has stated the outcome.
func (a *Admission) judge(status int) {
	a.verdicts = make([]int, len(a.decision.checks))
	for i := range a.verdicts {
		switch success := a.decision.checks[i].success; {
		case success == nil:
			a.verdicts[i] = outcomeOpen
		case success(status):
			a.verdicts[i] = outcomeSucceeded
		}
	}
}

// conclude settles the checks that count failures only.
func (a *Admission) conclude(outcome int) {
	if !a.decision.Allowed {
		return
	}
	failures := false
	for i := range a.decision.checks {
		if c := &a.decision.checks[i]; c.FailuresOnly {
			o, by := a.outcome(i, outcome), c.place()
			if a.guard != nil {
				by = a.guard
			}
			if a.guard == nil || !failures {
				watchOf(by).saw(a.logger, a.decision.Results[i].Policy, o > outcomeFailed, o != outcomeOpen)
			}
			failures = true
		}
	}
	if failures {
		var list []*Reservation
		var costs []int
		for i, r := range a.decision.reservations {
			if r == nil || !a.decision.checks[i].FailuresOnly {
				continue
			}
			cost := r.result.Cost
			if a.outcome(i, outcome) > outcomeFailed {
				cost = 0
			}
			list, costs = append(list, r), append(costs, cost)
		}
		_ = a.settle(list, costs, false) // it is logged
		for i := range a.decision.checks {
			if c := &a.decision.checks[i]; c.FailuresOnly {
				flights.wake(a.decision.flight(i))
			}
		}
	}
	if a.hook != nil {
		a.hook(max(outcome, outcomeFailed))
	}
}

// outcome is the outcome for check i: the one that the handler has stated, or the verdict.
func (a *Admission) outcome(i, stated int) int {
	if stated == outcomeOpen && a.verdicts != nil {
		return a.verdicts[i]
	}
	return stated
}

// settle gives reservations their costs.
func (a *Admission) settle(list []*Reservation, costs []int, again bool) error {
	if len(list) == 0 {
		return nil
	}
	err := settle(context.WithoutCancel(a.ctx), list, costs, again)
	if err != nil {
		a.logger.WarnContext(a.ctx, "ratelimit: the outcome of a request could not be counted; its units stay as reserved", "policy", list[0].result.Policy, "error", err)
	}
	return err
}

// noteTwice warns once of a policy that has charged the same request before: the same preset
// lies around a router and around one of its routes.
func (a *Admission) noteTwice() {
	for o := a.outer; o != nil; o = o.outer {
		for i := range a.decision.checks {
			c := &a.decision.checks[i]
			for j := range o.decision.checks {
				if !c.counts(&o.decision.checks[j]) || !watchOf(c.place()).twice.CompareAndSwap(false, true) {
					continue
				}
				a.logger.WarnContext(a.ctx, "ratelimit: a policy charges one request twice: an outer middleware has charged the same key already; leave one of the two out, or give the inner policy another Name", "policy", c.Limiter.Policy().Name)
			}
		}
	}
}

// counts reports whether two checks of one key count in one place.
func (c *Check) counts(o *Check) bool {
	if c.Key != o.Key || c.Cost == 0 || o.Cost == 0 {
		return false
	}
	if same(c.Limiter, o.Limiter) {
		return true
	}
	_, memory := c.by().(*memoryBackend) // each counts by itself
	return !memory && c.by().Group() == o.by().Group() && c.Limiter.Policy().Name == o.Limiter.Policy().Name
}

// watch notices a handler that never states an outcome, or never a failure.
type watch struct {
	open, succeeded, failed atomic.Uint64
	warned, twice           atomic.Bool
}

const (
	watchOpen      = 20
	watchSucceeded = 1000
)

var watches sync.Map // by the place of a check, or by the login guard

func watchOf(by any) *watch {
	if w, ok := watches.Load(by); ok {
		return w.(*watch)
	}
	w, _ := watches.LoadOrStore(by, new(watch))
	return w.(*watch)
}

func (w *watch) saw(logger *slog.Logger, policy string, success, stated bool) {
	switch {
	case !stated:
		if w.open.Add(1) >= watchOpen && w.succeeded.Load() == 0 && w.warned.CompareAndSwap(false, true) {
			logger.Warn("ratelimit: the policy counts failures only, and no handler has stated the success of a request, so that all requests count; call ratelimit.AdmissionFrom(r.Context()).Succeed() after a success", "policy", policy, "requests", watchOpen)
		}
	case success:
		if w.succeeded.Add(1) >= watchSucceeded && w.failed.Load() == 0 && w.open.Load() == 0 && w.warned.CompareAndSwap(false, true) {
			logger.Warn("ratelimit: the policy counts failures only, and the handlers have called every request a success; call Succeed only after a success", "policy", policy, "requests", watchSucceeded)
		}
	default:
		w.failed.Add(1)
	}
}
