// Package hostschedule generates the configuration for a host's own scheduler that starts a
// command every day or every hour: systemd units, a cron line, or a Windows task. It only
// returns text and changes no file. Commands that back up or check a service use it if the
// service does not run permanently.
package hostschedule

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// Job is a command for the host's scheduler. The generated text keeps every part of it exactly,
// with all blanks, quotes and percent signs. If a target cannot express a part, the result is
// an error and never an approximation. Never put a secret into Command, because every user of
// the host can read it. Use EnvironmentFile.
type Job struct {
	// Name is the name of units, files and tasks, such as "pos-backup": at most 63 lower-case
	// letters, digits and hyphens.
	Name string
	// Description is a line for readers. Default: Name.
	Description string
	// Command is the program, as an absolute path on the target system, and its arguments. No
	// shell reads it.
	Command []string
	// Cadence is [Daily] or [Hourly]. Default: daily at midnight.
	Cadence Cadence
	// User is the account that runs the command. Default: root, or LocalSystem on Windows.
	User string
	// Dir is the absolute path of the command's working folder. Default: the scheduler's own.
	Dir string
	// EnvironmentFile is the absolute path of a file of lines NAME=value, for settings and
	// secrets. Windows has no such file and refuses it. Default: none.
	EnvironmentFile string
	// Timeout ends a command that hangs. cron has no time limit and ignores it. Default: 6 h for a
	// daily job, 10 min for an hourly one.
	Timeout time.Duration
}

// Cadence is how often a job runs, at times of the host's own clock and zone.
type Cadence struct {
	hourly       bool
	hour, minute int
}

// Daily is once a day at the given time of the host's clock. A host that was off at that time
// runs the job after its start, except with cron.
//
// If the clock jumps over the given time on one day, systemd skips the job. Choose a time
// outside 00:00 to 03:59, or use a schedule inside the process.
func Daily(hour, minute int) Cadence { return Cadence{hour: hour, minute: minute} }

// Hourly is once an hour, at the given minute.
func Hourly(minute int) Cadence { return Cadence{hourly: true, minute: minute} }

var (
	namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
	// Names of Windows accounts may have a domain, a dot and a final dollar.
	userPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@\\-]{0,99}\$?$`)
)

// normalized checks the conditions of all targets and sets the defaults.
func (j Job) normalized(absolute func(string) bool) (Job, error) {
	if !namePattern.MatchString(j.Name) {
		return j, fmt.Errorf("hostschedule: the name %q must be 1 to 63 lower-case letters, digits and hyphens", j.Name)
	}
	if len(j.Command) == 0 {
		return j, errors.New("hostschedule: a job needs a command")
	}
	if program := j.Command[0]; !absolute(program) {
		if absoluteUnix(program) || absoluteWindows(program) {
			return j, fmt.Errorf("hostschedule: the program %q is a path of another system: write the schedule on the machine that will run it", program)
		}
		return j, fmt.Errorf("hostschedule: the program %q needs an absolute path: the scheduler has another PATH and folder", program)
	}
	if j.Description == "" {
		j.Description = j.Name
	}
	if j.User != "" && !userPattern.MatchString(j.User) {
		return j, fmt.Errorf("hostschedule: %q is no name of a user", j.User)
	}
	for _, path := range []string{j.Dir, j.EnvironmentFile} {
		if path != "" && !absolute(path) {
			return j, fmt.Errorf("hostschedule: the path %q must be absolute", path)
		}
	}
	for _, text := range append([]string{j.Description, j.Dir, j.EnvironmentFile}, j.Command...) {
		if !utf8.ValidString(text) || strings.ContainsFunc(text, isControl) {
			return j, fmt.Errorf("hostschedule: %q holds a line break, a control character or a byte that is no UTF-8: a scheduler's file cannot carry it", text)
		}
	}
	c := j.Cadence
	if c.minute < 0 || c.minute > 59 || c.hour < 0 || c.hour > 23 {
		return j, fmt.Errorf("hostschedule: %02d:%02d is no time of a day", c.hour, c.minute)
	}
	if j.Timeout < 0 || j.Timeout > 0 && j.Timeout < time.Second {
		return j, fmt.Errorf("hostschedule: a timeout of %v ends every run: give at least a second", j.Timeout)
	}
	if j.Timeout == 0 {
		j.Timeout = 6 * time.Hour
		if c.hourly {
			j.Timeout = 10 * time.Minute
		}
	}
	return j, nil
}

func isControl(r rune) bool {
	// Some editors and readers treat U+2028 and U+2029 as line breaks.
	return r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029
}

func absoluteUnix(path string) bool { return strings.HasPrefix(path, "/") }

func absoluteWindows(path string) bool {
	if strings.HasPrefix(path, `\\`) {
		return len(path) > 2
	}
	return len(path) > 3 && path[1] == ':' && (path[2] == '\\' || path[2] == '/') &&
		(path[0]|0x20) >= 'a' && (path[0]|0x20) <= 'z'
}
