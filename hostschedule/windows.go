package hostschedule

import (
	"encoding/xml"
	"fmt"
	"strings"
)

// WindowsTask returns the XML of a task for `schtasks /Create /TN NAME /XML FILE`. If the host
// was off at the time of a run, Windows starts the run later. It never starts a run while
// another one is running.
func (j Job) WindowsTask() (string, error) {
	j, err := j.normalized(absoluteWindows)
	if err != nil {
		return "", err
	}
	if j.EnvironmentFile != "" {
		return "", fmt.Errorf("hostschedule: a task of Windows reads no environment file: set the variables for the account that runs it")
	}
	arguments := windowsArguments(j.Command[1:])
	for _, text := range []string{j.Command[0], arguments, j.Dir} {
		// The text between two percent signs is a variable, and percent signs cannot be escaped.
		if strings.Count(text, "%") > 1 || strings.Contains(text, "$(") {
			return "", fmt.Errorf("hostschedule: the Task Scheduler would expand variables in %q: put the command into a script", text)
		}
	}
	program := j.Command[0]
	if strings.Contains(program, `"`) {
		return "", fmt.Errorf("hostschedule: %q cannot be the name of a Windows program", program)
	}

	task := windowsTask{
		Version: "1.2", Namespace: "http://schemas.microsoft.com/windows/2004/02/mit/task",
		Description: j.Description,
		Principal:   windowsPrincipal{ID: "Author", User: "S-1-5-18", RunLevel: "LeastPrivilege"},
		Settings: windowsSettings{
			MultipleInstances: "IgnoreNew", AllowHardTerminate: true, StartWhenAvailable: true, Enabled: true,
			TimeLimit: fmt.Sprintf("PT%dS", int64(j.Timeout.Seconds())),
		},
		Action: windowsAction{Context: "Author", Exec: windowsExec{Command: program, Arguments: arguments, Dir: j.Dir}},
	}
	if seconds := int64(j.Timeout.Seconds()); seconds%3600 == 0 {
		task.Settings.TimeLimit = fmt.Sprintf("PT%dH", seconds/3600)
	}
	if j.User != "" {
		// S4U gives the account's rights on this host without its password.
		task.Principal.User, task.Principal.LogonType = j.User, "S4U"
	}
	task.Trigger.Enabled = true
	task.Trigger.Days = 1
	// A past start without a zone means this time of day on the host's clock.
	task.Trigger.Start = fmt.Sprintf("2026-01-01T%02d:%02d:00", j.Cadence.hour, j.Cadence.minute)
	if j.Cadence.hourly {
		task.Trigger.Start = fmt.Sprintf("2026-01-01T00:%02d:00", j.Cadence.minute)
		task.Trigger.Repetition = &windowsRepetition{Interval: "PT1H", Duration: "P1D"}
	}
	text, err := xml.MarshalIndent(task, "", "  ")
	if err != nil {
		return "", fmt.Errorf("hostschedule: %w", err)
	}
	return ascii(string(text)) + "\n", nil
}

// PowerShell returns a script that registers the task of [Job.WindowsTask].
func (j Job) PowerShell() (string, error) {
	text, err := j.WindowsTask()
	if err != nil {
		return "", err
	}
	// A here-string is literal text that ends at a line which begins with a quote. No line of the
	// XML does.
	return "$xml = @'\n" + text + "'@\nRegister-ScheduledTask -TaskName '" + j.Name + "' -Xml $xml -Force\n", nil
}

type windowsTask struct {
	XMLName     xml.Name         `xml:"Task"`
	Version     string           `xml:"version,attr"`
	Namespace   string           `xml:"xmlns,attr"`
	Description string           `xml:"RegistrationInfo>Description"`
	Trigger     windowsTrigger   `xml:"Triggers>CalendarTrigger"`
	Principal   windowsPrincipal `xml:"Principals>Principal"`
	Settings    windowsSettings  `xml:"Settings"`
	Action      windowsAction    `xml:"Actions"`
}

type windowsTrigger struct {
	Repetition *windowsRepetition `xml:"Repetition,omitempty"`
	Start      string             `xml:"StartBoundary"`
	Enabled    bool               `xml:"Enabled"`
	Days       int                `xml:"ScheduleByDay>DaysInterval"`
}

type windowsRepetition struct {
	Interval string `xml:"Interval"`
	Duration string `xml:"Duration"`
}

type windowsPrincipal struct {
	ID        string `xml:"id,attr"`
	User      string `xml:"UserId"`
	LogonType string `xml:"LogonType,omitempty"`
	RunLevel  string `xml:"RunLevel"`
}

type windowsSettings struct {
	MultipleInstances  string `xml:"MultipleInstancesPolicy"`
	NotOnBatteries     bool   `xml:"DisallowStartIfOnBatteries"`
	StopOnBatteries    bool   `xml:"StopIfGoingOnBatteries"`
	AllowHardTerminate bool   `xml:"AllowHardTerminate"`
	StartWhenAvailable bool   `xml:"StartWhenAvailable"`
	Enabled            bool   `xml:"Enabled"`
	TimeLimit          string `xml:"ExecutionTimeLimit"`
}

type windowsAction struct {
	Context string      `xml:"Context,attr"`
	Exec    windowsExec `xml:"Exec"`
}

type windowsExec struct {
	Command   string `xml:"Command"`
	Arguments string `xml:"Arguments,omitempty"`
	Dir       string `xml:"WorkingDirectory,omitempty"`
}

// windowsArguments joins arguments so that CommandLineToArgvW and the C runtime split them
// correctly. It doubles backslashes only before a quote.
func windowsArguments(args []string) string {
	var b strings.Builder
	for i, arg := range args {
		if i > 0 {
			b.WriteByte(' ')
		}
		if arg != "" && !strings.ContainsAny(arg, ` "`) {
			b.WriteString(arg)
			continue
		}
		b.WriteByte('"')
		slashes := 0
		for _, c := range []byte(arg) {
			switch c {
			case '\\':
				slashes++
			case '"':
				b.WriteString(strings.Repeat(`\`, slashes+1))
				slashes = 0
			default:
				slashes = 0
			}
			b.WriteByte(c)
		}
		b.WriteString(strings.Repeat(`\`, slashes) + `"`)
	}
	return b.String()
}

// ascii writes other characters as references, because readers of files without a byte order
// mark guess the encoding.
func ascii(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r < 0x80 {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "&#x%X;", r)
		}
	}
	return b.String()
}
