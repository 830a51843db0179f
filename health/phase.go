package health

// Drain makes /ready/ respond with 503 at once and permanently. Load balancers then
// send no new requests while the requests in flight finish. Call it on SIGTERM, wait
// until the balancer has noticed (usually 5 s), then shut the server down. /health/ and
// /alive/ do not change.
func (r *Registry) Drain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.draining = true
	r.publish()
}

// Started ends the hold of Options.HoldReady.
func (r *Registry) Started() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.started = true
	r.publish()
}
