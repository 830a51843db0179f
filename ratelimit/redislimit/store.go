package redislimit

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/ratelimit"
)

// Client is the part of a go-redis client that a Store uses. Every client has it: *redis.Client, also
// behind Sentinel, *redis.ClusterClient, *redis.Ring and *redis.AutoPipeliner.
type Client interface {
	redis.Scripter
	Del(ctx context.Context, keys ...string) *redis.IntCmd
}

// processor is a Client that can send any command.
type processor interface {
	Process(ctx context.Context, cmd redis.Cmder) error
}

// pipeliner is a Client that can send several scripts in one round trip.
type pipeliner interface {
	Pipelined(ctx context.Context, fn func(redis.Pipeliner) error) ([]redis.Cmder, error)
}

// Store is one Redis and its health as seen by this process. It is safe for
// concurrent use. It starts goroutines that end with the commands that they send.
type Store struct {
	client Client
	opts   Options
	base   time.Time
	id     string       // of this process
	obeys  bool         // the client keeps the deadlines of contexts
	slots  atomic.Bool  // keys of different subjects cannot go into one script
	apart  atomic.Int64 // until when decisions do not share scripts, in nanoseconds since base
	single *pipe        // of a client that talks to one node, as far as this store knows
	pipes  sync.Map     // *redis.Client -> *pipe, of a Cluster's nodes

	mu       sync.Mutex
	policies map[string]string // what each name has been used for
	reported map[string]time.Time

	outage   outage
	eviction eviction     // of Run
	seen     atomic.Int64 // instances that the last heartbeat found
	beaten   atomic.Int64 // when the last was, in nanoseconds since base
	calls    atomic.Uint64
	shed     atomic.Uint64
	errs     atomic.Uint64
	bad      atomic.Uint64
	sending  sync.WaitGroup // heartbeats and merges
}

// New returns a store on client. It does not connect, so a service starts without its
// Redis. opts may be nil.
func New(client Client, opts *Options) (*Store, error) {
	if client == nil {
		return nil, errors.New("redislimit: New needs a client")
	}
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Store{
		client: client, opts: o, base: time.Now(), id: rand.Text()[:16],
		policies: make(map[string]string), reported: make(map[string]time.Time),
	}
	s.beaten.Store(-int64(time.Hour))
	s.single = newPipe(s, client)
	retries := 0
	switch c := client.(type) {
	case *redis.Client:
		s.obeys, retries = c.Options().ContextTimeoutEnabled, c.Options().MaxRetries
	case *redis.ClusterClient:
		s.obeys, retries = c.Options().ContextTimeoutEnabled, c.Options().MaxRetries
		s.slots.Store(true)
	default:
		s.slots.Store(true)
	}
	if retries > 0 {
		o.Logger.Warn("redislimit: the client sends a command again when its answer is lost, which counts it twice; set MaxRetries to -1 (see redislimit.ClientOptions)", "max_retries", retries)
	}
	return s, nil
}

// Stats counts events since New.
type Stats struct {
	// Calls and Failures count questions to Redis, and those that a node did not answer.
	Calls, Failures uint64
	// Shed counts questions that were given up because too many waited, while Redis answered
	// others. The policy's OnFailure decided them.
	Shed uint64
	// BadReplies counts errors that Redis answered about single keys or commands.
	BadReplies uint64
	// Instances is how many processes share the limits, as far as this one knows.
	Instances int
	// Unmerged is how many keys were used while Redis was away and are not merged yet.
	Unmerged int
	// Forgotten counts uses that this process allowed by itself and that are never merged: more
	// than 100,000 waited, or Redis refuses their key. Other processes do not count them.
	Forgotten uint64
	// Evicted is how many keys Redis has evicted since Run began, on a server that evicts. Each
	// may have been one of a limit, which then has all of its units again.
	Evicted uint64
	// Down says that a node is left alone at the moment.
	Down bool
}

// Stats returns a snapshot.
func (s *Store) Stats() Stats {
	st := Stats{
		Calls: s.calls.Load(), Failures: s.errs.Load(), Shed: s.shed.Load(), BadReplies: s.bad.Load(),
		Instances: s.instances(), Unmerged: s.outage.len(), Forgotten: s.outage.forgotten.Load(), Evicted: s.eviction.keys.Load(), Down: s.single.breaker.open(),
	}
	s.pipes.Range(func(_, p any) bool {
		st.Down = st.Down || p.(*pipe).breaker.open()
		return true
	})
	return st
}

// eval runs a script at the node of its first key.
func (s *Store) eval(ctx context.Context, sc *script, keys []string, args ...any) (any, error) {
	p, err := s.pipeOf(ctx, keys[0])
	if err != nil {
		return nil, err
	}
	q, err := p.run(ctx, sc, keys, args)
	if err != nil {
		return nil, err
	}
	return q.value, nil
}

// pipeOf returns the pipe to the node of a key.
func (s *Store) pipeOf(ctx context.Context, key string) (*pipe, error) {
	c, ok := s.client.(*redis.ClusterClient)
	if !ok {
		return s.single, nil
	}
	if wait, ok, _ := s.single.breaker.allow(time.Now()); !ok { // no node of the Cluster can be found
		return nil, errDown{wait, &s.single.breaker}
	}
	// It answers from memory except before the first command and after a change.
	sent := time.Now()
	limited, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	node, err := c.MasterForKey(limited, key)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		s.single.failed(err, sent)
		return nil, err
	}
	if s.single.breaker.succeeded() {
		s.recovered()
	}
	if p, ok := s.pipes.Load(node); ok {
		return p.(*pipe), nil
	}
	p, _ := s.pipes.LoadOrStore(node, newPipe(s, node))
	return p.(*pipe), nil
}

// integers runs a script whose reply is n integers.
func (s *Store) integers(ctx context.Context, n int, sc *script, keys []string, args ...any) ([]int64, error) {
	got, err := s.list(ctx, sc, keys, args)
	if err == nil && len(got) != n {
		return nil, fmt.Errorf("redislimit: %d integers instead of %d", len(got), n)
	}
	return got, err
}

// list runs a script whose reply is integers.
func (s *Store) list(ctx context.Context, sc *script, keys []string, args []any) (got []int64, err error) {
	p, err := s.pipeOf(ctx, keys[0])
	if err != nil {
		return nil, err
	}
	q, err := p.run(ctx, sc, keys, args)
	if err != nil {
		return nil, err
	}
	switch value := q.value.(type) {
	case nil:
		return q.list, nil
	case int64:
		return []int64{value}, nil
	case []any:
		for _, v := range value {
			if i, ok := v.(int64); ok {
				got = append(got, i)
			}
		}
	}
	return got, nil
}

// reload makes the client of a Cluster find out who answers for what.
func (s *Store) reload() {
	if c, ok := s.client.(interface{ ReloadState(context.Context) }); ok {
		c.ReloadState(context.Background()) // in the background, and once for many failures
	}
}

func (s *Store) failed(err error) {
	s.errs.Add(1)
	s.reload()
	if t := s.opts.Trace; t != nil && t.Failed != nil {
		t.Failed(context.Background(), FailedEvent{Err: err})
	}
}

func (s *Store) down(err error) {
	s.outage.open.Add(1)
	s.opts.Logger.Warn("redislimit: Redis does not answer; each policy's OnFailure holds until it does", "error", err)
	if t := s.opts.Trace; t != nil && t.Down != nil {
		t.Down(context.Background(), FailedEvent{Err: err})
	}
}

func (s *Store) recovered() {
	s.outage.open.Add(-1)
	s.opts.Logger.Info("redislimit: Redis answers again")
	if t := s.opts.Trace; t != nil && t.Up != nil {
		t.Up(context.Background(), UpEvent{})
	}
	s.beaten.Store(-int64(time.Hour))
	s.sending.Go(s.mergeAll)
}

// badReply reports an error about one key or command, each text once a minute.
func (s *Store) badReply(q *query) {
	s.bad.Add(1)
	if t := s.opts.Trace; t != nil && t.Failed != nil {
		t.Failed(context.Background(), FailedEvent{Err: q.err, Key: q.keys[0]})
	}
	if !crossSlot(q.err) && s.due(q.err.Error()) {
		s.opts.Logger.Warn("redislimit: Redis answers one key with an error; its policy's OnFailure decides", "key", q.keys[0], "error", q.err)
	}
}

// due reports whether a text was not reported within the last minute.
func (s *Store) due(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.reported[text]) < time.Minute {
		return false
	}
	if len(s.reported) > 100 {
		clear(s.reported)
	}
	s.reported[text] = time.Now()
	return true
}

// A process counts as an instance for beatLasts after each heartbeat.
const (
	beatEvery = 5 * time.Second
	beatLasts = time.Minute
)

// Run sends the heartbeats of this process, also while it is idle. It merges the uses of an
// outage as soon as Redis responds, and reports a Redis that evicts keys. When ctx ends, it
// signs the process off and returns nil. Without Run, allowed decisions do this: a process that allows
// no use for a minute is not counted as an instance until it does again.
func (s *Store) Run(ctx context.Context) error {
	ticker, minute := time.NewTicker(beatEvery), time.NewTicker(evictionEvery)
	defer ticker.Stop()
	defer minute.Stop()
	s.readEviction(ctx)
	for {
		s.beaten.Store(int64(time.Since(s.base)))
		if n, err := s.integers(ctx, 1, beatScript, []string{s.beatKey()}, s.id, beatLasts.Microseconds()); err == nil {
			s.seen.Store(n[0])
			s.mergeAll()
		}
		select {
		case <-ticker.C:
		case <-minute.C:
			s.readEviction(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.Timeout)
			defer cancel()
			if _, err := s.eval(last, leaveScript, []string{s.beatKey()}, s.id); err != nil {
				s.opts.Logger.InfoContext(ctx, "redislimit: Redis did not receive the end of this instance; it counts as one for another minute", "error", err)
			}
			return nil
		}
	}
}

func (s *Store) beatKey() string { return s.opts.Prefix + ":{instances}" }

// beat says from time to time that this process lives, and learns how many do.
func (s *Store) beat() {
	now := int64(time.Since(s.base))
	last := s.beaten.Load()
	if now-last < int64(beatEvery) || !s.beaten.CompareAndSwap(last, now) {
		return
	}
	s.sending.Go(func() {
		key := s.beatKey()
		p, err := s.pipeOf(context.Background(), key)
		if err != nil || p.breaker.open() {
			return
		}
		q := &query{script: beatScript, keys: []string{key}, args: []any{s.id, beatLasts.Microseconds()}}
		p.exec(context.Background(), []*query{q}, true)
		if n, ok := q.value.(int64); ok && q.err == nil {
			s.seen.Store(n)
		}
	})
}

// instances is how many processes share the limits.
func (s *Store) instances() int { return max(s.opts.Instances, int(s.seen.Load()), 1) }

// pauseLeft is how long a call that failed by err should wait until it tries again.
func (s *Store) pauseLeft(err error) time.Duration {
	if down, ok := errors.AsType[errDown](err); ok {
		return down.wait
	}
	return s.opts.BreakerOpen
}

// share is this process's part of a limit while Redis is away.
func (s *Store) share(limit int) int {
	if limit < 1 { // blocked, or Unlimited
		return limit
	}
	return max(1, limit/s.instances())
}

// claim remembers the meaning of a policy's name. Two meanings would count apart in Redis and
// look like one.
func (s *Store) claim(name, meaning string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if other, ok := s.policies[name]; ok && other != meaning {
		return fmt.Errorf("redislimit: policy %s is used as %s already and cannot be %s as well; give it another Name", name, other, meaning)
	}
	s.policies[name] = meaning
	return nil
}

// redisKey is "rl:{user:42}:api:3600", with the caller in braces, so that all policies of
// one caller share a Cluster slot, and callers spread over all slots.
func (s *Store) redisKey(key, suffix string) string {
	return s.opts.Prefix + ":{" + plainKey(key) + "}:" + suffix
}

// listedKey is redisKey for a key that may come from a listing of hashed keys. It is for operators: units are never used
// under such a key, so a client that sends one cannot use units of another client.
func (s *Store) listedKey(key, suffix string) string {
	if hash, ok := strings.CutPrefix(key, "~"); ok && len(hash) == 43 && plainKey(hash) == hash {
		return s.opts.Prefix + ":{" + key + "}:" + suffix
	}
	return s.redisKey(key, suffix)
}

// plainKey keeps keys of ratelimit.Key. It hashes keys that could break out of the braces, reach
// into another key or fill Redis. No plain key begins with a tilde.
func plainKey(key string) string {
	plain := len(key) <= 128
	for i := 0; plain && i < len(key); i++ {
		c := key[i]
		plain = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
			c == '.' || c == '_' || c == '@' || c == '-' || c == ':'
	}
	if plain {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return "~" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// suffix is the end of a policy's Redis keys: its name, and the settings that processes must
// share to count together.
func suffix(p *ratelimit.Policy) string {
	s := p.Name + ":" + p.Window.String()
	switch p.Algorithm {
	case ratelimit.Buckets:
		s += ":b"
	case ratelimit.GCRA:
		s += ":g"
	}
	return s
}
