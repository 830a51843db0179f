package mysql

import (
	"errors"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/mainstay-go/mainstay/backup/internal/client"
)

// mysqlTarget is an address of a MariaDB or MySQL database taken apart.
type mysqlTarget struct {
	user, password string
	host, port     string
	socket         string // instead of host and port
	database       string
	tls            string // as in go-sql-driver/mysql: "", "true", "skip-verify", …
}

var errMySQLAddress = errors.New("backup: the address of a MariaDB or MySQL database must be a URL, mysql://user:password@host:3306/database with special characters percent-encoded, or a DSN, user:password@tcp(host:3306)/database")

// parseMySQLAddress never repeats the address in an error: it holds the password.
func parseMySQLAddress(text string) (mysqlTarget, error) {
	parse := parseMySQLDSN
	if strings.HasPrefix(text, "mysql://") || strings.HasPrefix(text, "mariadb://") {
		parse = parseMySQLURL
	}
	t, err := parse(text)
	switch {
	case err != nil:
		return t, err
	case t.user == "":
		return t, errors.New("backup: the address of the MariaDB or MySQL database names no user")
	case t.database == "":
		return t, errors.New("backup: the address of the MariaDB or MySQL server names no database: add /database")
	}
	for _, part := range []string{t.user, t.password, t.host, t.port, t.socket, t.database} {
		// The client programs read lines of four kilobytes.
		if len(part) > 1000 || strings.ContainsRune(part, 0) {
			return t, errors.New("backup: the address of the MariaDB or MySQL database has a part that is too long, or a zero byte")
		}
	}
	if t.socket == "" && t.host == "" {
		t.host = "127.0.0.1"
	}
	if t.socket == "" && t.port == "" {
		t.port = "3306"
	}
	return t, nil
}

func parseMySQLURL(text string) (mysqlTarget, error) {
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" {
		return mysqlTarget{}, errMySQLAddress
	}
	t := mysqlTarget{
		user: u.User.Username(), host: u.Hostname(), port: u.Port(),
		database: strings.TrimPrefix(u.Path, "/"),
		socket:   u.Query().Get("socket"), tls: u.Query().Get("tls"),
	}
	t.password, _ = u.User.Password()
	return t, nil
}

// parseMySQLDSN follows the rules of go-sql-driver/mysql: the last slash and the last @
// before it count, so that a password may have both.
func parseMySQLDSN(text string) (mysqlTarget, error) {
	slash := strings.LastIndexByte(text, '/')
	if slash < 0 {
		return mysqlTarget{}, errMySQLAddress
	}
	var t mysqlTarget
	account, where := "", text[:slash]
	if at := strings.LastIndexByte(where, '@'); at >= 0 {
		account, where = where[:at], where[at+1:]
	}
	t.user, t.password, _ = strings.Cut(account, ":")

	network, address, found := strings.Cut(where, "(")
	if found && !strings.HasSuffix(address, ")") || !found && strings.Contains(network, ":") {
		return t, errMySQLAddress
	}
	address = strings.TrimSuffix(address, ")")
	switch {
	case network == "unix":
		t.socket = address
	case network != "" && network != "tcp" && network != "tcp6":
		return t, errors.New("backup: the address is no URL, and its DSN is neither of tcp(host:port) nor unix(path), by which the dump programs reach a server")
	case address != "":
		var err error
		if t.host, t.port, err = net.SplitHostPort(address); err != nil {
			t.host, t.port = strings.Trim(address, "[]"), ""
		}
	}
	name, query, _ := strings.Cut(text[slash+1:], "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		return t, errMySQLAddress
	}
	t.tls = values.Get("tls")
	if t.database, err = url.PathUnescape(name); err != nil {
		return t, errMySQLAddress
	}
	return t, nil
}

// optionFile is the one file of options that a client program reads; it holds the
// address and the password.
type optionFile struct{ client.SecretFile }

// newOptionFile writes the file. Its lines beyond the address are given.
func newOptionFile(t mysqlTarget, lines []string) (optionFile, error) {
	all := []string{"[client]", "user=" + quoteOption(t.user), "password=" + quoteOption(t.password)}
	if t.socket != "" {
		all = append(all, "protocol=socket", "socket="+quoteOption(t.socket))
	} else {
		all = append(all, "protocol=tcp", "host="+quoteOption(t.host), "port="+quoteOption(t.port))
	}
	all = append(all, lines...)
	f, err := client.NewSecretFile("client.cnf", strings.Join(all, "\n")+"\n")
	return optionFile{f}, err
}

// first is the argument that must come before all others. With it no other file of
// options is read: one could name another account, or leave out the dump's last line.
func (f optionFile) first() string { return "--defaults-file=" + f.Path }

var optionEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "\b", `\b`)

func quoteOption(value string) string { return `"` + optionEscapes.Replace(value) + `"` }

// mysqlEnvironment is this process's own without anything that could change what a
// client program does, or that holds a password.
func mysqlEnvironment() []string {
	kept := slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		name = strings.ToUpper(name)
		return strings.HasPrefix(name, "MYSQL") || strings.HasPrefix(name, "MARIADB") || strings.HasPrefix(name, "LIBMYSQL") ||
			name == "LC_ALL" || name == "LANGUAGE"
	})
	// MySQL's programs read saved logins beside the file that they are given.
	return append(kept, "LC_ALL=C", "MYSQL_TEST_LOGIN_FILE="+os.DevNull)
}
