package hostschedule

import (
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// hostile are arguments that a careless quoting loses, splits or expands.
var hostile = []string{
	"", " ", "a b", "  two  blanks ", `"`, `'`, `it's "quoted"`, `\`, `\\`, `\\\`, `C:\dir with blank\`, `a\"b`, `\%`, `\\%`,
	"%", "100%", "%n", "%%", "$HOME", "${HOME}", "$$", "$(id)", "`id`", ";", "&& rm", "|", "#no comment", "*", "~", "-x",
	"a=b", "NAME=va lue", "é ü 日本 😀", "‘curly’", "!", "^", "<>", "&amp;", `\x41`, "trailing ",
}

func TestRefuses(t *testing.T) {
	good := Job{Name: "pos-backup", Command: []string{"/usr/bin/pos", "backup"}, Cadence: Daily(2, 0)}
	_, _, err := good.Systemd()
	require.NoError(t, err)
	for what, spoil := range map[string]func(*Job){
		"an empty name":         func(j *Job) { j.Name = "" },
		"a path in the name":    func(j *Job) { j.Name = "../../etc/passwd" },
		"a dot in the name":     func(j *Job) { j.Name = "pos.backup" }, // cron.d ignores such files
		"a long name":           func(j *Job) { j.Name = strings.Repeat("a", 64) },
		"no command":            func(j *Job) { j.Command = nil },
		"a relative program":    func(j *Job) { j.Command = []string{"pos"} },
		"a new line":            func(j *Job) { j.Command = append(j.Command, "a\nExecStart=/bin/sh") },
		"a carriage return":     func(j *Job) { j.Command = append(j.Command, "a\rb") },
		"a zero byte":           func(j *Job) { j.Command = append(j.Command, "a\x00b") },
		"broken UTF-8":          func(j *Job) { j.Command = append(j.Command, "a\xffb") },
		"a line in the comment": func(j *Job) { j.Description = "x\n* * * * * root sh" },
		"a relative folder":     func(j *Job) { j.Dir = "data" },
		"a relative file":       func(j *Job) { j.EnvironmentFile = "env" },
		"a user with a blank":   func(j *Job) { j.User = "root sh" },
		"hour 24":               func(j *Job) { j.Cadence = Daily(24, 0) },
		"minute 60":             func(j *Job) { j.Cadence = Hourly(60) },
		"a negative timeout":    func(j *Job) { j.Timeout = -time.Second },
	} {
		j := good
		j.Command = slices.Clone(good.Command)
		spoil(&j)
		_, _, err := j.Systemd()
		assert.ErrorContains(t, err, "hostschedule: ", what)
		_, err = j.Crontab()
		assert.ErrorContains(t, err, "hostschedule: ", what)
		if len(j.Command) > 0 && j.Command[0][0] == '/' {
			j.Command[0] = `C:\pos.exe`
		}
		_, err = j.WindowsTask()
		assert.ErrorContains(t, err, "hostschedule: ", what)
	}
}

func TestSystemdText(t *testing.T) {
	job := Job{
		Name: "pos-backup", Description: "Backup of 100% of it", Command: []string{"/opt/my pos/pos", "backup", "--name=50% $x"},
		Cadence: Daily(2, 0), User: "pos", Dir: "/srv/pos data", EnvironmentFile: "/etc/pos.env",
	}
	service, timer, err := job.Systemd()
	require.NoError(t, err)
	assert.Equal(t, `[Unit]
Description=Backup of 100%% of it
After=network-online.target
Wants=network-online.target

[Service]
Type=oneshot
ExecStart="/opt/my pos/pos" "backup" "--name=50%% $$x"
User=pos
WorkingDirectory=/srv/pos data
EnvironmentFile=/etc/pos.env
TimeoutStartSec=21600
`, service)
	assert.Contains(t, timer, "\nOnCalendar=*-*-* 02:00:00\nPersistent=true\n")
	job.Cadence = Hourly(7)
	service, timer, err = job.Systemd()
	require.NoError(t, err)
	assert.Contains(t, timer, "\nOnCalendar=*-*-* *:07:00\n")
	assert.Contains(t, service, "TimeoutStartSec=600\n")

	job.Dir = "/srv/ends in "
	_, _, err = job.Systemd()
	assert.ErrorContains(t, err, "cannot read")
	job.Dir, job.Command[0] = "", `/opt/"my"/pos`
	_, _, err = job.Systemd()
	assert.ErrorContains(t, err, "runs no program")
}

// systemd itself reads what we write, for a program with a hostile path.
func TestSystemdVerifies(t *testing.T) {
	verifier, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed: apt-get install systemd")
	}
	program := filepath.Join(t.TempDir(), "p o s 100% $HOME ${X}; é")
	require.NoError(t, os.WriteFile(program, []byte("#!/bin/sh\n"), 0o700))
	for name, cadence := range map[string]Cadence{"daily": Daily(2, 30), "hourly": Hourly(5)} {
		job := Job{Name: name, Command: append([]string{program}, hostile...), Cadence: cadence, User: "root", Dir: "/"}
		service, timer, err := job.Systemd()
		require.NoError(t, err)
		dir := t.TempDir()
		unit := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(unit+".service", []byte(service), 0o600))
		require.NoError(t, os.WriteFile(unit+".timer", []byte(timer), 0o600))
		verify := exec.CommandContext(t.Context(), verifier, "--man=no", "verify", unit+".service", unit+".timer")
		verify.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":")
		out, err := verify.CombinedOutput()
		for line := range strings.Lines(string(out)) {
			// It reads the host's own units too, which are not ours to judge.
			if strings.Contains(line, unit) || strings.Contains(line, name+".service") || strings.Contains(line, name+".timer") {
				t.Errorf("systemd-analyze verify: %s", line)
			}
		}
		if err != nil && strings.Contains(string(out), name) {
			t.Errorf("systemd-analyze verify: %v", err)
		}
		assert.Equal(t, job.Command, readExecStart(t, service))
	}
}

// readExecStart takes a command line apart by the rules of systemd.service(5).
func readExecStart(t *testing.T, service string) []string {
	t.Helper()
	_, line, _ := strings.Cut(service, "ExecStart=")
	line, _, _ = strings.Cut(line, "\n")
	var words []string
	for line != "" {
		line = strings.TrimPrefix(line, " ")
		require.Equal(t, byte('"'), line[0])
		var word strings.Builder
		i := 1
		for ; line[i] != '"'; i++ {
			if line[i] == '\\' {
				i++
				require.Contains(t, `\"`, string(line[i]), "an escape this reader does not know")
			}
			word.WriteByte(line[i])
		}
		line = line[i+1:]
		text := strings.ReplaceAll(word.String(), "%%", "%")
		if len(words) > 0 {
			text = strings.ReplaceAll(text, "$$", "$")
		}
		words = append(words, text)
	}
	return words
}

// Two crons that disagree on backslashes, and a real shell.
func TestCronHandsOverEveryArgument(t *testing.T) {
	shell := testserver.Lookup(t, "sh", "dash")
	folder := t.TempDir()
	program := filepath.Join(folder, `pr int % "f'`)
	require.NoError(t, os.WriteFile(program, []byte("#!/bin/sh\nfor a; do printf '%s\\n' \"[$a]\"; done\n[ -z \"$SECRET\" ] || printf '%s' \"$SECRET\"\n"), 0o700))
	environment := filepath.Join(folder, "e n%v")
	require.NoError(t, os.WriteFile(environment, []byte("SECRET='top secret'\n"), 0o600))
	for _, arg := range hostile {
		job := Job{
			Name: "x", Command: []string{program, arg, "a" + arg + arg}, Cadence: Daily(2, 5),
			Dir: "/", EnvironmentFile: environment,
		}
		text, err := job.Crontab()
		require.NoError(t, err)
		_, line, _ := strings.Cut(text, "\n")
		line, found := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "5 2 * * * ")
		require.True(t, found, line)
		for name, eatsDouble := range map[string]bool{"one": true, "other": false} {
			out, err := exec.CommandContext(t.Context(), shell, "-c", asCron(t, line, eatsDouble)).CombinedOutput()
			require.NoError(t, err, "%s", out)
			assert.Equal(t, "["+arg+"]\n[a"+arg+arg+"]\ntop secret", string(out), "%s: %s", name, line)
		}
	}
}

// asCron reads a command as cron does: a percent sign ends it, an escaped one
// loses its backslash, and some crons take one of two backslashes too.
func asCron(t *testing.T, line string, eatsDouble bool) string {
	t.Helper()
	var b strings.Builder
	for i := 0; i < len(line); i++ {
		c := line[i]
		require.NotEqual(t, byte('%'), c, "an unescaped percent sign in %s", line)
		if c == '\\' && i+1 < len(line) {
			next := line[i+1]
			if next != '%' && (next != '\\' || !eatsDouble) {
				b.WriteByte(c)
			}
			b.WriteByte(next)
			i++
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

func TestCrontabText(t *testing.T) {
	job := Job{Name: "pos-health", Command: []string{"/usr/bin/pos", "health", "--notify"}, Cadence: Hourly(7)}
	text, err := job.Crontab()
	require.NoError(t, err)
	assert.Equal(t, "# pos-health\n7 * * * * /usr/bin/pos health --notify\n", text)
	job.User = "pos"
	text, err = job.Crontab()
	require.NoError(t, err)
	assert.Equal(t, "# pos-health\n7 * * * * pos /usr/bin/pos health --notify\n", text)
	job.Command = append(job.Command, strings.Repeat("x", 1000))
	_, err = job.Crontab()
	assert.ErrorContains(t, err, "call a script")
	// The shell would take the first word for an assignment.
	job.Command = []string{"/A=b/pos"}
	text, err = job.Crontab()
	require.NoError(t, err)
	assert.Contains(t, text, "'/A=b/pos'")
}

func TestWindowsTask(t *testing.T) {
	for _, arg := range hostile {
		job := Job{
			Name: "pos-backup", Description: "‘Café’ <100%>", Command: []string{`C:\Program Files\pos & co\pos.exe`, arg, "last"},
			Cadence: Daily(2, 0), Dir: `C:\pos data`,
		}
		text, err := job.WindowsTask()
		if strings.Count(arg, "%") > 1 || strings.Contains(arg, "$(") {
			assert.ErrorContains(t, err, "expand variables", arg)
			continue
		}
		require.NoError(t, err, arg)
		task := readTask(t, text)
		assert.Equal(t, []string{arg, "last"}, readWindowsArguments(task.Action.Exec.Arguments))
		assert.Equal(t, job.Command[0], task.Action.Exec.Command)
		assert.Equal(t, job.Dir, task.Action.Exec.Dir)
		assert.Equal(t, job.Description, task.Description)
		assert.Equal(t, "IgnoreNew", task.Settings.MultipleInstances)
		assert.True(t, task.Settings.StartWhenAvailable)
		assert.Equal(t, "PT6H", task.Settings.TimeLimit)
		assert.Equal(t, "2026-01-01T02:00:00", task.Trigger.Start)
		assert.Nil(t, task.Trigger.Repetition)
		assert.Equal(t, "S-1-5-18", task.Principal.User)

		script, err := job.PowerShell()
		require.NoError(t, err)
		assert.Contains(t, script, text)
		assert.Equal(t, 1, strings.Count(script, "\n'@\n"), "the here-string ends once")
	}
	hourly, err := Job{Name: "h", Command: []string{`\\server\share\pos.exe`}, Cadence: Hourly(9), User: `SHOP\pos$`}.WindowsTask()
	require.NoError(t, err)
	task := readTask(t, hourly)
	assert.Equal(t, &windowsRepetition{Interval: "PT1H", Duration: "P1D"}, task.Trigger.Repetition)
	assert.Equal(t, "2026-01-01T00:09:00", task.Trigger.Start)
	assert.Equal(t, "PT600S", task.Settings.TimeLimit)
	assert.Equal(t, windowsPrincipal{ID: "Author", User: `SHOP\pos$`, LogonType: "S4U", RunLevel: "LeastPrivilege"}, task.Principal)

	_, err = Job{Name: "h", Command: []string{`C:\pos.exe`}, EnvironmentFile: `C:\env`}.WindowsTask()
	assert.ErrorContains(t, err, "reads no environment file")
	_, err = Job{Name: "h", Command: []string{`/usr/bin/pos`}}.WindowsTask()
	assert.ErrorContains(t, err, "on the machine that will run it")
	_, err = Job{Name: "h", Command: []string{`pos.exe`}}.WindowsTask()
	assert.ErrorContains(t, err, "absolute")
}

func readTask(t *testing.T, text string) windowsTask {
	t.Helper()
	for _, c := range []byte(text) {
		require.Less(t, c, byte(0x80))
	}
	var task windowsTask
	require.NoError(t, xml.Unmarshal([]byte(text), &task))
	return task
}

// readWindowsArguments follows the documented rules of CommandLineToArgvW.
func readWindowsArguments(line string) []string {
	var args []string
	for i := 0; i < len(line); i++ {
		var b strings.Builder
		for quoted := false; i < len(line) && (quoted || line[i] != ' '); i++ {
			slashes := 0
			for i+slashes < len(line) && line[i+slashes] == '\\' {
				slashes++
			}
			if slashes > 0 && i+slashes < len(line) && line[i+slashes] == '"' {
				b.WriteString(strings.Repeat(`\`, slashes/2))
				i += slashes
				if slashes%2 == 1 {
					b.WriteByte('"')
				} else {
					quoted = !quoted
				}
				continue
			}
			if line[i] == '"' {
				quoted = !quoted
				continue
			}
			b.WriteByte(line[i])
		}
		args = append(args, b.String())
	}
	return args
}

func TestPlan(t *testing.T) {
	job := Job{Name: "pos-backup", Command: []string{"/usr/bin/pos", "backup"}, Cadence: Daily(2, 0)}
	plan, err := job.Plan(Systemd)
	require.NoError(t, err)
	require.Len(t, plan.Files, 2)
	assert.Equal(t, "/etc/systemd/system/pos-backup.service", plan.Files[0].Path)
	assert.Equal(t, "/etc/systemd/system/pos-backup.timer", plan.Files[1].Path)
	assert.Equal(t, []string{"systemctl", "enable", "--now", "pos-backup.timer"}, plan.Commands[1])

	plan, err = job.Plan(Cron)
	require.NoError(t, err)
	assert.Equal(t, []File{{"/etc/cron.d/pos-backup", "# pos-backup\n0 2 * * * root /usr/bin/pos backup\n"}}, plan.Files)
	assert.Empty(t, plan.Commands)

	job.Command[0] = `C:\pos.exe`
	plan, err = job.Plan(Windows)
	require.NoError(t, err)
	assert.Equal(t, "pos-backup.xml", plan.Files[0].Path)

	_, err = job.Plan("launchd")
	assert.ErrorContains(t, err, "choose systemd, cron or windows")
}
