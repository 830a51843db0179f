package hostschedule

import (
	"fmt"
	"strings"
)

// Systemd returns the text of the units NAME.service and NAME.timer. If the host was off at the
// time of a run, systemd starts the run at boot. It never starts a run while another one is
// running.
func (j Job) Systemd() (service, timer string, err error) {
	j, err = j.normalized(absoluteUnix)
	if err != nil {
		return "", "", err
	}
	// These settings use the rest of the line literally. Blanks at its end are lost, and a
	// backslash joins the next line.
	for _, whole := range []string{j.Description, j.Dir, j.EnvironmentFile} {
		if strings.HasSuffix(whole, `\`) || strings.TrimSpace(whole) != whole {
			return "", "", fmt.Errorf("hostschedule: systemd cannot read %q: it ends in a backslash or begins or ends with a blank", whole)
		}
	}
	if strings.ContainsAny(j.Command[0], `"'\`) {
		return "", "", fmt.Errorf("hostschedule: systemd runs no program whose path holds quotes or backslashes, as %q does", j.Command[0])
	}

	var s strings.Builder
	fmt.Fprintf(&s, "[Unit]\nDescription=%s\nAfter=network-online.target\nWants=network-online.target\n", specifiers(j.Description))
	fmt.Fprintf(&s, "\n[Service]\nType=oneshot\nExecStart=%s\n", execStart(j.Command))
	if j.User != "" {
		fmt.Fprintf(&s, "User=%s\n", specifiers(j.User))
	}
	if j.Dir != "" {
		fmt.Fprintf(&s, "WorkingDirectory=%s\n", specifiers(j.Dir))
	}
	if j.EnvironmentFile != "" {
		fmt.Fprintf(&s, "EnvironmentFile=%s\n", specifiers(j.EnvironmentFile))
	}
	fmt.Fprintf(&s, "TimeoutStartSec=%d\n", int64(j.Timeout.Seconds()))
	return s.String(), j.timer(), nil
}

func (j Job) timer() string {
	when := fmt.Sprintf("*-*-* %02d:%02d:00", j.Cadence.hour, j.Cadence.minute)
	if j.Cadence.hourly {
		when = fmt.Sprintf("*-*-* *:%02d:00", j.Cadence.minute)
	}
	return fmt.Sprintf("[Unit]\nDescription=%s\n\n[Timer]\nOnCalendar=%s\nPersistent=true\n\n[Install]\nWantedBy=timers.target\n",
		specifiers(j.Description), when)
}

// specifiers doubles the percent sign, with which systemd inserts values such as the host name.
func specifiers(s string) string { return strings.ReplaceAll(s, "%", "%%") }

// execStart quotes by the rules of systemd.service(5), "Command lines". systemd expands
// variables in the arguments, but not in the path of the program.
func execStart(command []string) string {
	words := make([]string, len(command))
	for i, word := range command {
		quoted := specifiers(word)
		if i > 0 {
			quoted = strings.ReplaceAll(quoted, "$", "$$")
		}
		words[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(quoted) + `"`
	}
	return strings.Join(words, " ")
}
