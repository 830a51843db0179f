package healthcli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/health"
)

// printText writes a line per bad check, worst first. With verbose it also writes one
// per good check. If all is well and verbose is not set, it writes no output.
func printText(w io.Writer, s *health.Snapshot, verbose bool) error {
	var b strings.Builder
	for _, level := range []health.Status{health.Fail, health.Warn, health.Unknown, health.Pass} {
		for _, c := range s.Checks {
			if c.Status != level || level == health.Pass && !verbose {
				continue
			}
			fmt.Fprintf(&b, "%-7s %s", strings.ToUpper(c.Status.String()), c.Name)
			if c.Critical && c.Status != health.Pass {
				b.WriteString(" (critical)")
			}
			if c.Output != "" {
				b.WriteString(": " + c.Output)
			}
			if len(c.Blocked) > 0 {
				b.WriteString(" [needs " + strings.Join(c.Blocked, ", ") + "]")
			}
			if verbose {
				fmt.Fprintf(&b, " (%s)", c.Took.Round(time.Millisecond/10))
				for _, m := range c.Observed {
					fmt.Fprintf(&b, "\n        %s %.4g %s", strings.TrimSpace(m.Name+" "+m.Component), m.Value, m.Unit)
				}
			}
			b.WriteByte('\n')
		}
	}
	if verbose {
		fmt.Fprintf(&b, "%s: %d checks\n", strings.ToUpper(s.Status.String()), len(s.Checks))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// result is the document of --json.
type result struct {
	Status  health.Status `json:"status"`
	Service string        `json:"serviceId,omitempty"`
	Release string        `json:"releaseId,omitempty"`
	Time    time.Time     `json:"time"`
	Checks  []check       `json:"checks"`
}

type check struct {
	Name     string        `json:"name"`
	Status   health.Status `json:"status"`
	Kind     health.Kind   `json:"kind"`
	Critical bool          `json:"critical"`
	Output   string        `json:"output,omitempty"`
	Needs    []string      `json:"blockedBy,omitempty"`
	Took     float64       `json:"durationMs"`
	Observed []observed    `json:"observed,omitempty"`
	Runbook  string        `json:"runbook,omitempty"`
}

type observed struct {
	Name      string  `json:"name"`
	Component string  `json:"component,omitempty"`
	Value     any     `json:"value"` // a text if JSON has no number for the value
	Unit      string  `json:"unit,omitempty"`
	Warn      float64 `json:"warn,omitempty"`
	Fail      float64 `json:"fail,omitempty"`
}

// printJSON writes all checks in their order, with or without verbose, because programs
// read it.
func printJSON(w io.Writer, s *health.Snapshot, _ bool) error {
	r := result{Status: s.Status, Service: s.Service, Release: s.Release, Time: s.Time.UTC(), Checks: []check{}}
	for _, c := range s.Checks {
		entry := check{
			Name: c.Name, Status: c.Status, Kind: c.Kind, Critical: c.Critical, Output: c.Output, Needs: c.Blocked,
			Took: float64(c.Took) / float64(time.Millisecond), Runbook: c.Runbook,
		}
		for _, m := range c.Observed {
			var value any = m.Value
			if _, err := json.Marshal(m.Value); err != nil {
				value = fmt.Sprint(m.Value)
			}
			entry.Observed = append(entry.Observed, observed{m.Name, m.Component, value, m.Unit, m.Limits.Warn, m.Limits.Fail})
		}
		r.Checks = append(r.Checks, entry)
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}
