package mysql

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/backup/internal/client"
)

// mysqlClient is a program of the MariaDB or MySQL client.
type mysqlClient struct {
	path    string
	version string // as it says itself, in one line
	help    []byte // names its options
}

// findMySQLClient returns the given program, or the first of names on the PATH, and
// asks it for the options that it knows.
func findMySQLClient(ctx context.Context, given string, names ...string) (mysqlClient, error) {
	path := given
	for _, name := range names {
		if path == "" {
			path, _ = exec.LookPath(name)
		}
	}
	if path == "" {
		return mysqlClient{}, fmt.Errorf("backup: %s is not installed: apt-get install mariadb-client (or mysql-client), or set its path", strings.Join(names, " or "))
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--no-defaults", "--help")
	cmd.Env = mysqlEnvironment()
	cmd.WaitDelay = time.Second
	help, err := cmd.Output()
	if err != nil {
		return mysqlClient{}, fmt.Errorf("backup: %s --help: %w", filepath.Base(path), err)
	}
	line, _, _ := bytes.Cut(help, []byte("\n"))
	c := mysqlClient{path: path, version: strings.Join(strings.Fields(string(line)), " "), help: help}
	if !c.knows("defaults-file") || !c.knows("default-character-set") {
		return mysqlClient{}, fmt.Errorf("backup: %s is no program of MariaDB or MySQL", filepath.Base(path))
	}
	return c, nil
}

// knows reports whether the program has an option.
func (c mysqlClient) knows(option string) bool {
	for rest := c.help; ; {
		i := bytes.Index(rest, []byte("--"+option))
		if i < 0 {
			return false
		}
		rest = rest[i+2+len(option):]
		if len(rest) == 0 || rest[0] != '-' && rest[0] != '_' && !isNameByte(rest[0]) {
			return true
		}
	}
}

// encryption returns the lines of the option file for what an address asks for.
func (c mysqlClient) encryption(tls string, opts Options) []string {
	var lines []string
	for _, file := range []struct{ option, path string }{{"ssl-ca", opts.CA}, {"ssl-cert", opts.Cert}, {"ssl-key", opts.Key}} {
		if file.path != "" {
			lines = append(lines, file.option+"="+quoteOption(file.path))
		}
	}
	verify, must := tlsWanted(tls, opts)
	switch {
	case c.knows("ssl-mode"): // MySQL's
		mode := "PREFERRED"
		if must {
			mode = "REQUIRED"
		}
		if verify {
			mode = "VERIFY_IDENTITY"
		}
		lines = append(lines, "ssl-mode="+mode)
		if c.knows("get-server-public-key") && !must {
			lines = append(lines, "get-server-public-key")
		}
	case verify:
		lines = append(lines, "ssl", "ssl-verify-server-cert")
	case must:
		lines = append(lines, "ssl", "skip-ssl-verify-server-cert")
	default:
		// Newer ones insist on what a server on the same host does not have.
		lines = append(lines, "skip-ssl-verify-server-cert")
	}
	return lines
}

// tlsWanted reads the tls parameter of an address.
func tlsWanted(tls string, opts Options) (verify, must bool) {
	switch strings.ToLower(tls) {
	case "", "false", "0", "preferred":
		return opts.CA != "", opts.CA != ""
	case "skip-verify":
		return opts.CA != "", true
	}
	return true, true
}

// run runs the program to its end and fails unless it ended well.
func (c mysqlClient) run(ctx context.Context, p client.Program, options optionFile, args ...string) error {
	p.Path, p.Env, p.Said, p.Passing = c.path, mysqlEnvironment(), mysqlMessages, mysqlPassing
	return p.Run(ctx, append([]string{options.first()}, args...)...)
}

var mysqlCode = regexp.MustCompile(`^ERROR (\d{4}) |[Ee]rror:? (\d{4}): |\((\d{4})\)$`)

// mysqlPassing are errors of a table that was altered or dropped meanwhile, and of a
// connection that was lost or not made.
var mysqlPassing = regexp.MustCompile(`(?m)[Ee]rror:? (1053|1146|1412|1927|2002|2003|2006|2013)\b|\((1146|1412|2006|2013)\)$`)

// mysqlMessages returns a program's own messages in one line, with what to do about
// them. The failed statement, which follows, is data of the database and stays out, and
// so does what a message quotes of it.
func mysqlMessages(name string, tail []byte) string {
	var said []string
	for line := range bytes.Lines(tail) {
		text := string(bytes.TrimSpace(line))
		var code string
		for i, part := range mysqlCode.FindStringSubmatch(text) {
			if i > 0 && part != "" {
				code = part
			}
		}
		own, ours := strings.CutPrefix(text, name+": ")
		switch {
		case ours && strings.HasPrefix(own, "Deprecated program name"):
			continue
		case ours:
			text = own
		case !strings.HasPrefix(text, "ERROR "):
			continue
		case !quotesNames[code]:
			if before, _, quotes := strings.Cut(text, "'"); quotes {
				text = before + "'…"
			}
		}
		if text = client.Shorten(text); mysqlAdvice[code] != "" {
			text += " (" + mysqlAdvice[code] + ")"
		}
		said = append(said, text)
	}
	return strings.Join(said, "; ")
}

// quotesNames are the errors whose messages quote names and not values or statements.
var quotesNames = map[string]bool{
	"1005": true, "1007": true, "1044": true, "1045": true, "1049": true, "1050": true, "1103": true, "1142": true,
	"1143": true, "1146": true, "1227": true, "1304": true, "1356": true, "1359": true, "1370": true, "1449": true,
}

// mysqlAdvice says what to do about errors whose messages do not.
var mysqlAdvice = map[string]string{
	"1045": "the user or the password is wrong, or the account may not connect from this host",
	"1153": "a row is larger than the server takes: SET GLOBAL max_allowed_packet = 1073741824, and restore again",
	"1227": "views, triggers, routines and events belong to their DEFINER, and this account may not create them for others: restore as an administrator, or GRANT SET USER ON *.* (MySQL: SET_ANY_DEFINER) to it",
	"1356": "a view does not work, usually because what it reads was dropped: DROP VIEW or repair it",
	"1359": "the trigger was created with the name of its database, and is restored only under that: create it anew without",
	"1412": "the definition of a table was changed while the dump was running: run it again after the change",
	"1418": "SET GLOBAL log_bin_trust_function_creators = 1, or restore as an administrator",
	"1419": "SET GLOBAL log_bin_trust_function_creators = 1, or restore as an administrator",
	"1435": "the trigger was created with the name of its database, and is restored only under that: create it anew without",
	"1449": "its DEFINER is an account that does not exist: create the account, or the object anew",
	"2006": "the server has gone, or a row is larger than its max_allowed_packet",
	"2013": "the server ended the connection: look into its error log",
}
