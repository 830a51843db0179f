package health

// AddNotices adds lines under the headline of the status page, such as an announcement,
// the state of an outage or a silence. The function is called for each page, outside
// all locks. Its lines pass the scrubber.
func (r *Registry) AddNotices(lines func() []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notices = append(r.notices[:len(r.notices):len(r.notices)], lines)
}

func (r *Registry) noticeLines() []string {
	r.mu.Lock()
	sources := r.notices
	r.mu.Unlock()
	var all []string
	for _, lines := range sources {
		for _, line := range lines() {
			all = append(all, r.scrub.text(line))
		}
	}
	return all
}
