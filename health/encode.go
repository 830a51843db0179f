package health

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"
)

// document is application/health+json after draft-inadarei-api-health-check-06, with
// additional keys, which the draft allows.
type document struct {
	Status      Status          `json:"status"`
	Version     string          `json:"version,omitempty"`
	ReleaseID   string          `json:"releaseId,omitempty"`
	ServiceID   string          `json:"serviceId,omitempty"`
	Description string          `json:"description,omitempty"`
	Output      string          `json:"output,omitempty"`
	Notes       []string        `json:"notes,omitempty"`
	Time        string          `json:"time,omitempty"`
	Phase       Phase           `json:"phase,omitempty"`
	Checks      json.RawMessage `json:"checks,omitempty"`
	Alerts      []alertEntry    `json:"alerts,omitempty"`
}

// entry is one element of the lists under "checks".
type entry struct {
	ComponentID   string            `json:"componentId,omitempty"`
	ComponentType string            `json:"componentType,omitempty"`
	Status        Status            `json:"status"`
	Value         *float64          `json:"observedValue,omitempty"`
	Unit          string            `json:"observedUnit,omitempty"`
	Output        string            `json:"output,omitempty"`
	Time          string            `json:"time,omitempty"`
	Thresholds    *thresholds       `json:"thresholds,omitempty"`
	Kind          Kind              `json:"kind"`
	Confirmed     Status            `json:"confirmed"`
	Critical      bool              `json:"critical"`
	Since         string            `json:"since,omitempty"`
	LastSuccess   string            `json:"lastSuccess,omitempty"`
	StuckSince    string            `json:"stuckSince,omitempty"`
	DurationMs    float64           `json:"durationMs"`
	Failures      int               `json:"consecutiveFailures"`
	Flapping      bool              `json:"flapping"`
	Blocked       []string          `json:"blockedBy,omitempty"`
	Links         map[string]string `json:"links,omitempty"`
}

type thresholds struct {
	Warn  *float64 `json:"warn,omitempty"`
	Fail  *float64 `json:"fail,omitempty"`
	Below bool     `json:"below,omitempty"`
}

// appendJSON writes a snapshot as application/health+json.
func appendJSON(b []byte, s *Snapshot, status Status, note string, alerts []alertEntry) []byte {
	doc := document{
		Status: status, Version: "1", ReleaseID: s.Release, ServiceID: s.Service, Description: s.Description,
		Time: stamp(s.Time), Phase: s.Phase, Checks: encodeChecks(s.Checks), Alerts: alerts,
	}
	if status != Pass { // the draft asks to omit it for a pass
		doc.Output = headline(s)
	}
	if note != "" {
		doc.Notes = []string{note}
	}
	return append(b, marshal(doc)...)
}

func encodeChecks(checks []CheckState) json.RawMessage {
	entries := map[string][]entry{}
	var keys []string // in the order of the checks
	for _, c := range checks {
		for i := range max(1, len(c.Observed)) {
			key, e := c.entry(i)
			if entries[key] == nil {
				keys = append(keys, key)
			}
			entries[key] = append(entries[key], e)
		}
	}
	var b bytes.Buffer
	b.WriteByte('{')
	for i, key := range keys {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(marshal(key))
		b.WriteByte(':')
		b.Write(marshal(entries[key]))
	}
	b.WriteByte('}')
	return b.Bytes()
}

// entry returns the i-th measurement of the check in the form of the draft. If the
// check has no measurement, it returns the check alone.
func (c *CheckState) entry(i int) (key string, e entry) {
	e = entry{
		ComponentType: c.Type, Status: c.Status, Time: stamp(c.LastRun), Kind: c.Kind,
		Confirmed: c.Confirmed, Critical: c.Critical, Since: stamp(c.Since),
		LastSuccess: stamp(c.LastSuccess), StuckSince: stamp(c.StuckSince),
		DurationMs: math.Round(float64(c.Took)/float64(time.Millisecond)*1000) / 1000,
		Failures:   c.Failures, Flapping: c.Flapping, Blocked: c.Blocked,
	}
	if c.Status == Unknown { // the draft has only three words
		e.Status = c.weight(Unknown)
		e.Status = max(e.Status, Warn)
		e.Output = "not checked yet"
	}
	if c.Runbook != "" {
		e.Links = map[string]string{"runbook": c.Runbook}
	}
	if i == 0 && c.Status > Pass {
		e.Output = c.Output
	}
	if i >= len(c.Observed) {
		return c.Name, e
	}
	m := c.Observed[i]
	e.ComponentID, e.Unit = m.Component, m.Unit
	if !math.IsNaN(m.Value) && !math.IsInf(m.Value, 0) {
		e.Value = &m.Value
	}
	// A number has its own level. The problem of the check may be elsewhere.
	if m.Status != Unknown {
		e.Status = m.Status
	}
	if !m.Limits.None() {
		e.Thresholds = &thresholds{Below: m.Limits.Below}
		if m.Limits.Warn != 0 {
			e.Thresholds.Warn = &m.Limits.Warn
		}
		if m.Limits.Fail != 0 {
			e.Thresholds.Fail = &m.Limits.Fail
		}
	}
	return c.Name + ":" + m.Name, e
}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		// Every type above can be encoded, except a non-finite number. Such a number
		// must not look like health.
		return []byte("null")
	}
	return b
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

// headline is the state of the service in one sentence.
func headline(s *Snapshot) string {
	switch {
	case s.Phase == Draining:
		return "draining"
	case s.Phase == Starting && s.Status != Fail:
		return "starting"
	}
	var parts []string
	more := 0
	for _, c := range worstFirst(s.Checks) {
		if c.Status == Pass || c.Status == Unknown && !c.Critical {
			continue
		}
		if len(parts) == 3 {
			more++
			continue
		}
		parts = append(parts, c.Name+" "+c.line())
	}
	if more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	if len(parts) == 0 {
		return string(s.Phase)
	}
	return strings.Join(parts, "; ")
}

// line is the state of a check in a few words.
func (c *CheckState) line() string {
	switch {
	case c.Status == Unknown:
		return "not checked yet"
	case c.Output == "":
		return c.Status.String()
	}
	return c.Output
}

// appendText writes a snapshot in the form of the Kubernetes health endpoints: one line
// per check, then the result. Healthy checks are left out unless verbose is set.
func appendText(b []byte, s *Snapshot, status Status, note string, verbose bool) []byte {
	for _, c := range worstFirst(s.Checks) {
		if c.Status == Pass && !verbose {
			continue
		}
		mark := map[Status]string{Pass: "[+]", Warn: "[!]", Fail: "[-]", Unknown: "[?]"}[c.Status]
		b = append(b, mark+c.Name...)
		if c.Status == Pass && c.Output == "" {
			b = append(b, " ok\n"...)
			continue
		}
		b = append(b, " "+c.line()...)
		if c.Status > Pass && !c.Since.IsZero() {
			b = append(b, ", for "+lasting(s.Time.Sub(c.Since))...)
		}
		if len(c.Blocked) > 0 {
			b = append(b, ", follows from "+strings.Join(c.Blocked, ", ")...)
		}
		b = append(b, '\n')
	}
	if note != "" {
		b = append(b, note+"\n"...)
	}
	return append(b, status.String()+"\n"...)
}

// appendAlive writes the response of /alive/ for authorised callers.
func appendAlive(b []byte, f format, status Status, output string) []byte {
	if f == formatText {
		return append(b, "[-]"+output+"\n"+status.String()+"\n"...)
	}
	return append(b, marshal(document{Status: status, Output: output})...)
}
