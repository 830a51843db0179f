package health

import "time"

// Incident is an open incident, as the JSON for authorised callers shows it.
type Incident struct {
	ID    string
	Since time.Time
	// Checks are the names of what people were told is bad now.
	Checks []string
	// Delivered counts its messages, the last of them at LastNotified.
	Delivered    int
	LastNotified time.Time
	// NextReminder is zero if none is planned.
	NextReminder time.Time
}

// SetIncident has /health/ and /ready/ name the open incident, if there is one,
// to authorised callers of the JSON. The function is called for each of their
// requests, outside all locks; Incident of package alert's Alerter is meant.
func (r *Registry) SetIncident(open func() (Incident, bool)) {
	r.incident.Store(&open)
}

func (r *Registry) openIncident() *incidentEntry {
	open := r.incident.Load()
	if open == nil || *open == nil {
		return nil
	}
	inc, ok := (*open)()
	if !ok {
		return nil
	}
	return &incidentEntry{
		Open: true, ID: inc.ID, Since: stamp(inc.Since), Checks: inc.Checks, Delivered: inc.Delivered,
		LastNotified: stamp(inc.LastNotified), NextReminder: stamp(inc.NextReminder),
	}
}

// incidentEntry is an Incident in JSON.
type incidentEntry struct {
	Open         bool     `json:"open"`
	ID           string   `json:"id,omitempty"`
	Since        string   `json:"since"`
	Checks       []string `json:"checks,omitempty"`
	Delivered    int      `json:"delivered"`
	LastNotified string   `json:"lastNotified,omitempty"`
	NextReminder string   `json:"nextReminder,omitempty"`
}
