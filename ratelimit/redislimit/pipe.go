package redislimit

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// maxLanes is how many pipelines to a node are under way at once.
	maxLanes = 2
	// maxBatch is how many commands a pipeline carries.
	maxBatch = 64
	// maxQueue is how many calls wait for a node; further ones are shed.
	maxQueue = 1 << 16
	// patience is how many Timeouts a call waits for a node that answers others.
	patience = 40
)

// query is one script on its way to a node and back.
type query struct {
	script *script
	keys   []string
	args   []any
	state  atomic.Int32 // queued, sent or left
	sentAt atomic.Int64 // nanoseconds since the store's base
	at     time.Time    // when it was made
	list   []int64      // the reply of a script that returns a list of integers
	value  any          // the reply of any other
	err    error
	waiter *waiter // nil: the caller sends it itself
}

// waiter is a channel and a timer to wait for a reply.
type waiter struct {
	done  chan struct{} // receives one value
	timer *time.Timer
}

var waiters = sync.Pool{New: func() any {
	w := &waiter{done: make(chan struct{}, 1), timer: time.NewTimer(time.Hour)}
	w.timer.Stop()
	return w
}}

// command returns the query as a command of Redis: by the name of its script, or by its source.
func (q *query) command(ctx context.Context, source bool) redis.Cmder {
	name, text := "evalsha", q.script.sha
	if source {
		name, text = "eval", q.script.source
	}
	args := make([]any, 3, 3+len(q.keys)+len(q.args))
	args[0], args[1], args[2] = name, text, len(q.keys)
	for _, k := range q.keys {
		args = append(args, k)
	}
	args = append(args, q.args...)
	if q.script.list {
		cmd := redis.NewIntSliceCmd(ctx, args...)
		cmd.SetFirstKeyPos(3)
		return cmd
	}
	cmd := redis.NewCmd(ctx, args...)
	cmd.SetFirstKeyPos(3)
	return cmd
}

// read takes the reply over.
func (q *query) read(cmd redis.Cmder) {
	switch cmd := cmd.(type) {
	case *redis.IntSliceCmd:
		q.list, q.err = cmd.Result()
	case *redis.Cmd:
		q.value, q.err = cmd.Result()
	}
}

const (
	queued = iota
	sent
	left
)

// pipe sends the scripts of many goroutines to one node, in a few pipelines. A pipeline has
// no deadline but the client's own: a command that is under way is never cut off, and its
// connection stays.
type pipe struct {
	store   *Store
	client  Client
	breaker breaker

	mu      sync.Mutex
	queue   []*query
	lanes   int
	sending []time.Time // when the pipelines under way were sent

	answered atomic.Int64 // when the node answered last, in nanoseconds since the store's base
	woken    atomic.Int64 // when a waiter last woke up late
}

func newPipe(s *Store, client Client) *pipe {
	p := &pipe{store: s, client: client}
	p.breaker = breaker{limit: s.opts.BreakerFailures, span: s.opts.Timeout, pause: s.opts.BreakerOpen}
	return p
}

// run runs a script. The error is the context's when that ended, errDown while the breaker
// is open, errSaturated, the reply's, or a failure of the node, which has been counted.
func (p *pipe) run(ctx context.Context, sc *script, keys []string, args []any) (*query, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	now := time.Now()
	wait, ok, probe := p.breaker.allow(now)
	if !ok {
		return nil, errDown{wait, &p.breaker}
	}
	if probe && sc != probeScript { // a script that only reads would not notice a node without writes
		if _, err := p.ask(ctx, probeScript, []string{keys[0] + ":p"}, nil, true); err != nil {
			return nil, err
		}
		probe = false
	}
	return p.ask(ctx, sc, keys, args, probe)
}

// probe finds out whether the node of a key is back.
func (p *pipe) probe(ctx context.Context, key string) error {
	_, err := p.run(ctx, probeScript, []string{key + ":p"}, nil)
	return err
}

// ask sends a script that the breaker has let through, and waits for the reply.
func (p *pipe) ask(ctx context.Context, sc *script, keys []string, args []any, probe bool) (*query, error) {
	now, timeout := time.Now(), p.store.opts.Timeout
	p.store.calls.Add(1)
	if !probe && p.breaker.failing() && !p.starving(now, now) { // a call has waited for it already
		if since := p.silentSince(); !since.IsZero() && now.Sub(since) > timeout {
			p.failed(errSilent, since)
			return nil, errSilent
		}
	}
	q := &query{script: sc, keys: keys, args: args, at: now}
	if !probe && p.store.obeys && p.answered.Load() != 0 && p.alone(ctx, timeout) {
		p.sendAlone(ctx, q, timeout)
		return q, q.err
	}
	w := waiters.Get().(*waiter)
	q.waiter = w
	if err := p.enter(q, probe); err != nil {
		return nil, err
	}
	w.timer.Reset(timeout)
	defer w.timer.Stop()
	due, suspected := now.Add(timeout), false
	for {
		select {
		case <-w.done:
			w.timer.Stop()
			waiters.Put(w) // in all other cases done may still receive
			return q, q.err
		case <-ctx.Done():
			q.state.CompareAndSwap(queued, left)
			return nil, ctx.Err()
		case <-w.timer.C:
		}
		now = time.Now()
		quiet, fate := p.judge(q, now, p.starving(now, due))
		next := max(timeout-quiet, timeout/4)
		switch {
		case fate == fateSilent && !suspected: // the answer may be here and not be read yet
			suspected, next = true, timeout/8
		case fate == fateSilent:
			p.failed(errSilent, q.at)
			return nil, errSilent
		case fate == fateSaturated:
			p.store.shed.Add(1)
			return nil, errSaturated
		}
		due = now.Add(next)
		w.timer.Reset(next)
	}
}

const (
	fateOpen = iota
	fateSilent
	fateSaturated
)

// starved is how many Timeouts of silence are no sign of an outage while this process itself
// gets too little of the processor to notice answers.
const starved = 8

// starving reports whether waiters of this process wake up late: this one, which was due at
// due, or another in the last Timeout.
func (p *pipe) starving(now, due time.Time) bool {
	if now.Sub(due) > p.store.opts.Timeout/16 {
		p.woken.Store(int64(now.Sub(p.store.base)))
		return true
	}
	at := p.woken.Load()
	return at != 0 && now.Sub(p.store.base)-time.Duration(at) < p.store.opts.Timeout
}

// judge returns how long the node has been silent, and the fate of a waiting call. A
// node that answers others is busy and not away. late means that this process wakes up late.
func (p *pipe) judge(q *query, now time.Time, late bool) (quiet time.Duration, fate int) {
	timeout := p.store.opts.Timeout
	since := q.at
	if at := q.sentAt.Load(); at != 0 {
		since = p.store.base.Add(time.Duration(at))
	}
	if last := p.store.base.Add(time.Duration(p.answered.Load())); last.After(since) {
		since = last
	}
	quiet = now.Sub(since)
	switch {
	case q.state.Load() == sent && (quiet >= starved*timeout || quiet >= timeout && !late):
		return quiet, fateSilent
	case now.Sub(q.at) >= patience*timeout:
		q.state.CompareAndSwap(queued, left)
		return quiet, fateSaturated
	}
	return quiet, fateOpen
}

// alone reports whether a caller may send its command by itself, without a goroutine between:
// no other command is under way, and it can wait for as long as the node may be silent.
func (p *pipe) alone(ctx context.Context, timeout time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < timeout {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lanes > 0 || len(p.queue) > 0 {
		return false
	}
	p.lanes++
	return true
}

// sendAlone sends one command. It gives the command up when the node is silent for too long:
// half as long again as a waiter would, since a busy process looks like a silent node.
func (p *pipe) sendAlone(ctx context.Context, q *query, timeout time.Duration) {
	if !p.breaker.failing() {
		timeout += timeout / 2
	}
	p.send(until{context.WithoutCancel(ctx), q.at.Add(timeout)}, []*query{q})
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) > 0 {
		go p.lane() // in the place of this one
	} else {
		p.lanes--
	}
}

// until is a context with a deadline for the client's connection. It needs no timer.
type until struct {
	context.Context
	at time.Time
}

// Deadline implements context.Context.
func (u until) Deadline() (time.Time, bool) { return u.at, true }

// silentSince is when the oldest command was sent to a node that is silent since; zero if the
// node is not silent.
func (p *pipe) silentSince() (oldest time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := p.store.base.Add(time.Duration(p.answered.Load()))
	for _, at := range p.sending {
		if at.After(last) && (oldest.IsZero() || at.Before(oldest)) {
			oldest = at
		}
	}
	return oldest
}

// enter queues q and sees that a lane will send it. A probe has a lane of its own, since the
// others may hang.
func (p *pipe) enter(q *query, probe bool) error {
	if probe {
		q.state.Store(sent)
		go p.send(context.Background(), []*query{q})
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) >= maxQueue {
		p.store.shed.Add(1)
		return errSaturated
	}
	p.queue = append(p.queue, q)
	if p.lanes < maxLanes {
		p.lanes++
		go p.lane()
	}
	return nil
}

// lane sends queued commands until the queue is empty.
func (p *pipe) lane() {
	for {
		p.mu.Lock()
		n := min(len(p.queue), maxBatch)
		if n == 0 {
			p.lanes--
			p.queue = nil
			p.mu.Unlock()
			return
		}
		batch := make([]*query, 0, n)
		for _, q := range p.queue[:n] {
			if q.state.CompareAndSwap(queued, sent) {
				batch = append(batch, q)
			}
		}
		p.queue = p.queue[n:]
		p.mu.Unlock()
		if len(batch) > 0 {
			p.send(context.Background(), batch) // see pipe
		}
	}
}

// send sends one pipeline and hands out the answers.
func (p *pipe) send(ctx context.Context, batch []*query) {
	start := time.Now()
	p.mu.Lock()
	p.sending = append(p.sending, start)
	p.mu.Unlock()
	for _, q := range batch {
		q.sentAt.Store(int64(start.Sub(p.store.base)))
	}
	p.exec(ctx, batch, false)
	p.mu.Lock()
	for i, at := range p.sending {
		if at.Equal(start) {
			p.sending = append(p.sending[:i], p.sending[i+1:]...)
			break
		}
	}
	p.mu.Unlock()
	replied, up := false, false
	var unknown, moved []*query
	for _, q := range batch {
		switch {
		case q.err == nil:
			replied, up = true, true
		case unknownScript(q.err):
			unknown = append(unknown, q)
			replied, up = true, true
		case redis.HasErrorPrefix(q.err, "MOVED"), redis.HasErrorPrefix(q.err, "ASK"):
			moved = append(moved, q)
			replied, up = true, true
		case isReply(q.err):
			replied = true
			up = up || !outOfService(q.err)
		case errors.Is(q.err, redis.ErrPoolTimeout), errors.Is(q.err, redis.ErrPoolExhausted):
			q.err = errSaturated
			p.store.shed.Add(1)
		}
	}
	if replied {
		p.answered.Store(int64(time.Since(p.store.base)))
	}
	if len(moved) > 0 {
		p.store.reload()
		p.redirect(moved)
	}
	if len(unknown) > 0 {
		p.exec(ctx, unknown, true)
	}
	if up {
		p.up()
	}
	for _, q := range batch {
		if q.err != nil && q.err != errSaturated { //nolint:errorlint // it is set above
			if outOfService(q.err) || !isReply(q.err) {
				p.failed(q.err, start)
			} else {
				p.store.badReply(q)
			}
		}
		if q.waiter != nil {
			q.waiter.done <- struct{}{}
		}
	}
}

// apartFor is how long decisions have a script each after a server has refused a shared one. A
// full server refuses it too, so the refusal is not for ever.
const apartFor = time.Minute

// exec runs a batch, with the sources of the scripts if Redis does not know them. Decisions of
// the usual kind are one script where all keys are on one node.
func (p *pipe) exec(ctx context.Context, batch []*query, source bool) {
	if len(batch) == 1 || p.store.slots.Load() || time.Since(p.store.base) < time.Duration(p.store.apart.Load()) {
		p.execEach(ctx, batch, source)
		return
	}
	many := &query{script: manyScript}
	var usual, all []*query
	for _, q := range batch {
		if q.usual() {
			usual = append(usual, q)
			many.keys, many.args = append(many.keys, q.keys[0]), append(many.args, q.args...)
		} else {
			all = append(all, q)
		}
	}
	if len(usual) < 2 {
		p.execEach(ctx, batch, source)
		return
	}
	p.execEach(ctx, append(all, many), source)
	var again []*query // by themselves
	for i, q := range usual {
		switch {
		case many.err == nil && len(many.list) == 4*len(usual) && many.list[4*i] >= 0:
			q.list, q.err = many.list[4*i:4*i+4], nil
		case many.err != nil && (!isReply(many.err) || outOfService(many.err) || unknownScript(many.err)):
			q.err = many.err
		default:
			again = append(again, q)
		}
	}
	if len(again) == 0 {
		return
	}
	if many.err != nil { // one address of a Cluster, or a proxy
		p.store.apart.Store(int64(time.Since(p.store.base) + apartFor))
	}
	p.execEach(ctx, again, false)
	var unknown []*query
	for _, q := range again {
		if unknownScript(q.err) {
			unknown = append(unknown, q)
		}
	}
	if len(unknown) > 0 {
		p.execEach(ctx, unknown, true)
	}
}

// usual reports whether a query is a decision of the usual kind: see usual.lua.
func (q *query) usual() bool { return q.script == takeScript && len(q.args) == 2 }

func unknownScript(err error) bool { return redis.HasErrorPrefix(err, "NOSCRIPT") }

// execEach runs each query of a batch as a command.
func (p *pipe) execEach(ctx context.Context, batch []*query, source bool) {
	client, ok := p.client.(pipeliner)
	switch {
	case len(batch) == 1:
		p.one(ctx, batch[0], source)
		return
	case !ok:
		p.each(ctx, batch, source)
		return
	}
	cmds := make([]redis.Cmder, len(batch))
	_, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, q := range batch {
			cmds[i] = q.command(ctx, source)
			_ = pipe.Process(ctx, cmds[i]) // the pipeline reports what becomes of it
		}
		return nil
	})
	for i, q := range batch {
		q.read(cmds[i])
		if q.err == nil && q.value == nil && q.list == nil && err != nil {
			q.err = err // it was not sent
		}
	}
}

// each runs a batch with a client that has no pipelines, or makes them by itself.
func (p *pipe) each(ctx context.Context, batch []*query, source bool) {
	var wg sync.WaitGroup
	for _, q := range batch {
		wg.Go(func() { p.one(ctx, q, source) })
	}
	wg.Wait()
}

func (p *pipe) one(ctx context.Context, q *query, source bool) {
	if c, ok := p.client.(processor); ok {
		cmd := q.command(ctx, source)
		_ = c.Process(ctx, cmd) // the command has the error
		q.read(cmd)
		return
	}
	if source {
		q.value, q.err = p.client.Eval(ctx, q.script.source, q.keys, q.args...).Result()
	} else {
		q.value, q.err = p.client.EvalSha(ctx, q.script.sha, q.keys, q.args...).Result()
	}
}

// redirect runs commands of another node's keys, by the client that knows the node.
func (p *pipe) redirect(batch []*query) {
	for _, q := range batch {
		q.value, q.err = p.store.client.Eval(context.Background(), q.script.source, q.keys, q.args...).Result()
	}
}

func (p *pipe) up() {
	if p.breaker.succeeded() {
		p.store.recovered()
	}
	p.store.mergeLeft()
}

func (p *pipe) failed(err error, at time.Time) {
	p.store.failed(err)
	if p.breaker.failed(at, time.Now(), errors.Is(err, syscall.ECONNREFUSED)) {
		p.store.down(err)
	}
}

func crossSlot(err error) bool { return err != nil && strings.HasPrefix(err.Error(), "CROSSSLOT") }
