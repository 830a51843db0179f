package ratelimit

// takeExact is shards.take, into an o that is zero, for the algorithm that most policies
// have. A generic method reaches its algorithm through a table and must pass outcomes by
// value, which together takes a quarter of a decision; here the compiler knows both.
func takeExact(s *shards[stampLog, exact], key string, now int64, limit, cost int, peek bool, o *outcome) {
	h := hashKey(s.seed, s.mask, key)
	sh := &s.shards[h.shard]
	single := cost == 1 && !peek
	if d := sh.denial.Load(); d != nil && single && d.answer(o, h, key, now, limit) {
		sh.spared.Add(1)
		return
	}
	sh.mu.Lock()
	now = sh.notBefore(now)
	e := s.find(sh, h, key, now)
	if e == nil {
		e = sh.lend()
	}
	s.algo.decide(o, e, now, limit, cost)
	switch {
	case peek:
	case o.allowed && e != sh.unused:
		sh.allowed++
		sh.withdraw(h)
		s.algo.book(o, e, now, cost)
	case !o.allowed && s.penalise == nil:
		sh.denied++
		if single {
			sh.remember(h, key, now, o)
		}
	default:
		*o = s.settle(sh, h, key, e, now, cost, *o)
	}
	sh.mu.Unlock()
}
