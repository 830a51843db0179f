package health

// Drain makes /ready/ answer 503 at once and for good, so that load balancers
// send nothing new while requests in flight are finished. Call it on SIGTERM,
// wait until the balancer has noticed (5 s suits most), then shut the server
// down. /health/ and /alive/ are not changed by it.
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
