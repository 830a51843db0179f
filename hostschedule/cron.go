package hostschedule

import (
	"fmt"
	"strings"
)

// longestCommand is the longest command that Vixie cron and Debian's cron accept.
const longestCommand = 998

// Crontab returns a comment and a line for `crontab -e`, or for a file in /etc/cron.d if User
// is set. cron skips a run that was due while the host was off. It may start a run while the
// previous one still runs, so the command must take a lock itself.
func (j Job) Crontab() (string, error) {
	j, err := j.normalized(absoluteUnix)
	if err != nil {
		return "", err
	}
	words := make([]string, len(j.Command))
	for i, word := range j.Command {
		words[i] = shellQuote(word)
	}
	if strings.Contains(words[0], "=") && words[0] == j.Command[0] {
		words[0] = "'" + words[0] + "'" // otherwise the shell reads it as an assignment
	}
	line := strings.Join(words, " ")
	if j.EnvironmentFile != "" {
		line = "set -a && . " + shellQuote(j.EnvironmentFile) + " && set +a && " + line
	}
	if j.Dir != "" {
		line = "cd " + shellQuote(j.Dir) + " && " + line
	}
	line = cronEscape(line)
	if len(line) > longestCommand {
		return "", fmt.Errorf("hostschedule: cron cuts commands after %d bytes and this one has %d: call a script", longestCommand, len(line))
	}
	when := fmt.Sprintf("%d %d * * *", j.Cadence.minute, j.Cadence.hour)
	if j.Cadence.hourly {
		when = fmt.Sprintf("%d * * * *", j.Cadence.minute)
	}
	if j.User != "" {
		if strings.Contains(j.User, `\`) {
			return "", fmt.Errorf("hostschedule: %q is no name of a Unix user", j.User)
		}
		when += " " + j.User
	}
	return fmt.Sprintf("# %s\n%s %s\n", j.Description, when, line), nil
}

// shellQuote makes s one word for every POSIX shell.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-=:,@+", r)
	}
	if s != "" && strings.TrimFunc(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'"'"'`) + "'"
}

// cronEscape escapes percent signs, which cron turns into line ends. Implementations of cron
// disagree on two backslashes in a row, and on a backslash before an escaped percent sign. Both
// occur here only inside single quotes. The function separates them by closing and reopening
// the quotes.
func cronEscape(line string) string {
	var b strings.Builder
	for i := range len(line) {
		switch c := line[i]; c {
		case '%':
			b.WriteString(`\%`)
		case '\\':
			b.WriteByte(c)
			if i+1 < len(line) && (line[i+1] == '\\' || line[i+1] == '%') {
				b.WriteString("''")
			}
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
