package rediscache

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache/driver"
)

// batch turns operations into the commands of one round trip, and the replies into results.
type batch struct {
	s     *Store
	ops   []driver.Op
	reads map[string]redis.Cmder // each name is read once
	items []item
	note  message
	sent  []appended // messages in this round trip
	tags  bool       // the first message announces tags
}

// item is the command of an operation.
type item struct {
	op      int
	first   bool // the command applies the pending write of the key or tag of op
	command redis.Cmder
	script  *redis.Script // the script of the command
	text    bool          // the command has the text of the script
	keys    []string
	args    []any
	pending uint64 // the pending write that this command applies
	applies target
}

// run executes the operations that have no result yet. It returns an error of the
// connection. Each operation holds its own error.
func (b *batch) run(ctx context.Context) error {
	if done, err := b.s.reads(ctx, b.ops); done {
		return err
	}
	_, err := b.s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		b.commands(ctx, p)
		return nil
	})
	if len(b.items) == 0 {
		return nil
	}
	if err != nil && !isReply(err) && !b.answered() {
		return err
	}
	if err := b.repeatScripts(ctx); err != nil {
		return err
	}
	return b.results(ctx)
}

// answered reports whether any command has a reply. If so, the connection works.
func (b *batch) answered() bool {
	for i := range b.items {
		if err := b.items[i].command.Err(); err == nil || isReply(err) {
			return true
		}
	}
	return false
}

// again is run after a connection broke. It does not send a value again: the value may be
// stored already, and the second command could replace a later write.
func (b *batch) again(ctx context.Context) error {
	broken := errors.New("rediscache: the connection broke, and a write must not be sent twice")
	for i := range b.ops {
		if op := &b.ops[i]; op.Err == nil && (op.Kind == driver.Set && op.Token != "" || op.Kind == driver.Fill) {
			op.Err = broken
		}
	}
	b.items, b.reads, b.note, b.sent, b.tags = nil, nil, nil, nil, false
	return b.run(ctx)
}

// commands appends the announcements of tags, the operations in their order, and the
// message about the writes.
func (b *batch) commands(ctx context.Context, p redis.Pipeliner) {
	s := b.s
	if s.single {
		if m := s.tagMessage(b.ops); len(m) > 0 {
			b.sent, b.tags = append(b.sent, s.log.shards[0].append(ctx, p, m)), true
		}
	}
	var deletes []string
	b.items = make([]item, 0, len(b.ops)+1)
	for i := range b.ops {
		op := &b.ops[i]
		if op.Err != nil || op.Kind == driver.Sync {
			continue
		}
		b.applyPending(ctx, p, i)
		it := item{op: i}
		place := s.place(op)
		if op.Kind == driver.Delete && s.single && len(b.ops) > 1 { // a long list needs few commands
			deletes = append(deletes, place)
			if more := len(deletes) < 256 && i+1 < len(b.ops) && b.ops[i+1].Kind == driver.Delete && b.ops[i+1].Err == nil; !more {
				it.command = b.deleteAll(ctx, p, deletes)
				deletes = nil
			}
		} else if !b.command(ctx, p, op, place, &it) {
			continue
		}
		if op.Kind == driver.Set && it.script != leaseScript || op.Kind == driver.Delete || op.Kind == driver.Expire || op.Kind == driver.Invalidate {
			it.applies = target{op.Key, op.Kind == driver.Invalidate}
			it.pending = s.pending.get(it.applies)
			b.note = b.note.add(op)
		}
		b.items = append(b.items, it)
	}
	if s.single && len(b.note) > 0 {
		b.sent = append(b.sent, s.log.shards[0].append(ctx, p, b.note))
	}
}

// command appends the command of one operation. It returns false if the operation needs none.
func (b *batch) command(ctx context.Context, p redis.Pipeliner, op *driver.Op, place string, it *item) bool {
	s := b.s
	switch op.Kind {
	case driver.Get:
		it.command = b.get(ctx, p, place)
	case driver.TagState:
		if op.TTL == 0 {
			it.command = b.get(ctx, p, place)
			break
		}
		if op.Token != "" && (persistent(op.Key) || s.ensured.covers(op.Key, op.TTL)) {
			return false
		}
		life := stateLife(op.TTL).Milliseconds()
		if persistent(op.Key) {
			life = 0
		}
		it.script, it.args = stateScript, []any{driver.NewToken(), life}
	case driver.Set:
		switch {
		case len(op.Value) > s.opts.MaxValue:
			op.Err = s.tooLarge(op.Value) // the old value is deleted in any case
			it.command = p.Del(ctx, place)
		case op.Token == "":
			it.script, it.args = leaseScript, []any{driver.NewToken(), s.opts.Timeout.Milliseconds(), seenBytes(0), magic, "1"}
		default:
			it.script, it.args = fillScript, []any{op.Token, sealed(op.Value), op.TTL.Milliseconds()}
		}
	case driver.Delete, driver.Invalidate:
		it.command = p.Del(ctx, place)
	case driver.Expire:
		it.script, it.args = expireScript, []any{op.TTL.Milliseconds(), magic}
	case driver.Lease:
		it.script, it.args = leaseScript, []any{op.Token, op.TTL.Milliseconds(), seenBytes(op.Seen), magic, "0"}
	case driver.Extend:
		it.script, it.args = extendScript, []any{op.Token, op.TTL.Milliseconds()}
	case driver.Fill:
		it.script, it.args = fillScript, []any{op.Token, sealed(op.Value), op.TTL.Milliseconds()}
	case driver.Release:
		it.script, it.args = releaseScript, []any{op.Token}
	case driver.Sync:
	}
	if it.script != nil {
		it.keys = []string{place}
		if _, known := s.scripts.Load(it.script); known {
			it.command = it.script.EvalSha(ctx, p, it.keys, it.args...)
		} else {
			it.command, it.text = it.script.Eval(ctx, p, it.keys, it.args...), true
		}
	}
	return true
}

// deleteAll appends one command for several deletes. The items of the earlier ones wait for it.
func (b *batch) deleteAll(ctx context.Context, p redis.Pipeliner, places []string) redis.Cmder {
	command := p.Del(ctx, places...)
	for i := range b.items {
		if it := &b.items[i]; it.command == nil && it.script == nil {
			it.command = command
		}
	}
	return command
}

func (b *batch) get(ctx context.Context, p redis.Pipeliner, place string) redis.Cmder {
	if c := b.reads[place]; c != nil {
		return c
	}
	if b.reads == nil {
		b.reads = map[string]redis.Cmder{}
	}
	c := p.Get(ctx, place)
	b.reads[place] = c
	return c
}

// applyPending deletes the key or tag of the i-th operation if an earlier write of it did not
// arrive.
func (b *batch) applyPending(ctx context.Context, p redis.Pipeliner, i int) {
	op := &b.ops[i]
	t := target{op.Key, op.Kind == driver.TagState}
	if op.Kind != driver.Get && op.Kind != driver.TagState && op.Kind != driver.Lease && op.Kind != driver.Fill {
		return
	}
	if seq := b.s.pending.get(t); seq != 0 {
		b.items = append(b.items, item{op: i, first: true, command: p.Del(ctx, b.s.place(op)), pending: seq, applies: t})
		kind := driver.Delete
		if t.tag {
			kind = driver.Invalidate
		}
		b.note = b.note.add(&driver.Op{Kind: kind, Key: t.name})
	}
}

// repeatScripts sends scripts that the server did not know again, with their text.
func (b *batch) repeatScripts(ctx context.Context) error {
	var unknown []int
	for i := range b.items {
		if it := &b.items[i]; it.script != nil && redis.HasErrorPrefix(it.command.Err(), "NOSCRIPT") {
			unknown = append(unknown, i)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	_, err := b.s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, i := range unknown {
			it := &b.items[i]
			it.command = it.script.Eval(ctx, p, it.keys, it.args...)
		}
		return nil
	})
	if err != nil && !isReply(err) && !b.answered() {
		return err
	}
	return nil
}

// results reads the replies. If a full server rejects a write, results deletes the key, so
// that no reader receives the old value.
func (b *batch) results(ctx context.Context) error {
	s := b.s
	var again []string // names to delete
	var woken, unnoted message
	rejected := -1 // the operation whose pending write the server rejected
	for i := range b.items {
		it := &b.items[i]
		err := it.command.Err()
		if it.applies.name != "" && err == nil {
			s.pending.done(it.applies, it.pending)
		}
		if it.text && err == nil {
			s.scripts.Store(it.script, nil)
		}
		op := &b.ops[it.op]
		if it.first && err != nil {
			op.Err, rejected = wrap(err), it.op // the value or state is still the old one
		}
		if it.first || it.op == rejected {
			continue
		}
		full := redis.HasErrorPrefix(err, "OOM")
		if full && (op.Kind == driver.Set || op.Kind == driver.Expire) {
			again = append(again, s.place(op))
			if it.script == leaseScript {
				unnoted = unnoted.add(op)
			}
		}
		switch {
		case op.Kind == driver.Get || op.Kind == driver.TagState && op.TTL == 0:
			data, err := it.command.(*redis.StringCmd).Bytes() //nolint:forcetypeassert // made by get
			if err := taken(op, data, err); err != nil {
				op.Err = wrap(err)
			}
		case full && op.Kind == driver.TagState:
			op.Token = "" // no state: no value with this tag is valid
		case err != nil:
			op.Err = wrap(err)
		default:
			if s.result(it, op) {
				woken = woken.wake(op.Key)
			}
		}
	}
	again = append(again, b.unannounced(ctx)...)
	if len(again) > 0 {
		_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, place := range again {
				p.Del(ctx, place)
			}
			return nil
		})
		if err != nil && !isReply(err) {
			return err
		}
	}
	if s.single && len(unnoted) > 0 {
		_ = s.log.post(ctx, unnoted, true) // it is appended later after an error
	}
	s.log.later(woken)
	return nil
}

// result reads the reply of a script. It reports whether other processes wait for the key.
func (s *Store) result(it *item, op *driver.Op) (wake bool) {
	switch op.Kind { //nolint:exhaustive // the others have no result
	case driver.TagState:
		op.Token, _ = it.command.(*redis.Cmd).Text() //nolint:forcetypeassert // made by command
		s.ensured.note(op.Key, op.TTL)
	case driver.Lease:
		n, _ := it.command.(*redis.Cmd).Int() //nolint:forcetypeassert // made by command
		if op.State = driver.LeaseHeld; n > 0 {
			op.State = driver.LeaseState(n) //nolint:gosec // 1 or 2
		}
		op.Left = time.Duration(max(-n, 0)) * time.Millisecond
	case driver.Set:
		switch it.script {
		case nil:
			return false
		case leaseScript:
			op.Token = it.args[0].(string) //nolint:forcetypeassert // made by command
			return false
		}
		fallthrough // a Set whose lease has ended had no effect, since a later write replaced it
	case driver.Fill, driver.Release:
		n, _ := it.command.(*redis.Cmd).Int() //nolint:forcetypeassert // made by command
		op.Done = n > 0
		return n == 2
	}
	return false
}

// unannounced waits for the replies to the messages. It returns the tags whose announcement came
// too late: an invalidation must follow its announcement, so it is repeated.
func (b *batch) unannounced(ctx context.Context) (places []string) {
	for n, a := range b.sent {
		late, err := b.s.log.appended(ctx, a)
		if !late || n > 0 || !b.tags {
			continue
		}
		for i := range b.ops {
			switch op := &b.ops[i]; {
			case op.Kind != driver.Invalidate || op.Err != nil:
			case err != nil:
				op.Err = wrap(err)
			default:
				places = append(places, b.s.place(op))
			}
		}
	}
	return places
}

// changedState counts and logs that the breaker of a node has opened or closed.
func (s *Store) changedState(ctx context.Context, addr string, err error, open bool) {
	if open {
		s.stats.outages.Add(1)
		s.opts.Logger.WarnContext(ctx, "rediscache: a node cannot be reached; values are loaded, and writes are applied later", "node", addr, "error", err)
	} else {
		s.opts.Logger.InfoContext(ctx, "rediscache: a node is back", "node", addr)
	}
	if hook := s.opts.Trace.Node; hook != nil {
		hook(ctx, NodeEvent{Addr: addr, Open: open, Err: err, At: time.Now()})
	}
}
