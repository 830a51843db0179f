package postgres

import (
	"errors"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/mainstay-go/mainstay/backup/internal/client"
)

// postgresTarget is a connection URL, with its password separate. Every user of the host
// can see the arguments of a client program.
type postgresTarget struct {
	full     *url.URL // with the password, for the driver
	password string
	database string
}

// libpqParameters are the URL parameters that client programs know. A client program would
// fail on additional parameters of drivers.
var libpqParameters = []string{
	"host", "hostaddr", "port", "user", "dbname", "sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslnegotiation",
	"ssl_min_protocol_version", "ssl_max_protocol_version", "gssencmode", "krbsrvname", "channel_binding",
	"target_session_attrs", "connect_timeout", "options", "keepalives", "keepalives_idle", "keepalives_interval",
	"keepalives_count", "tcp_user_timeout", "passfile", "require_auth", "sslcertmode", "load_balance_hosts",
}

// parsePostgresURL parses a URL. Its errors never contain the URL, because the URL contains
// the password.
func parsePostgresURL(text string) (postgresTarget, error) {
	u, err := url.Parse(text)
	switch {
	case err == nil && (u.Scheme == "postgres" || u.Scheme == "postgresql"):
	case strings.Contains(text, "://"):
		return postgresTarget{}, errors.New("backup: the address of a PostgreSQL database must be a URL, postgres://user:password@host:5432/database, with special characters percent-encoded, or of the form host=… user=… password=… dbname=…")
	default:
		if u, err = fromKeyValue(text); err != nil {
			return postgresTarget{}, err
		}
	}
	if err := complete(u); err != nil {
		return postgresTarget{}, err
	}
	t := postgresTarget{full: u, database: strings.TrimPrefix(u.Path, "/")}
	query := u.Query()
	if name := query.Get("dbname"); name != "" {
		t.database = name
	}
	if t.database == "" {
		return postgresTarget{}, errors.New("backup: the PostgreSQL URL names no database: add /database")
	}
	t.password, _ = u.User.Password()
	if password := query.Get("password"); password != "" {
		t.password = password
	}
	if strings.ContainsAny(t.password, "\r\n\x00") {
		return postgresTarget{}, errors.New("backup: a PostgreSQL password with a line break fits into no password file: choose another")
	}
	if query.Has("sslpassword") {
		return postgresTarget{}, errors.New("backup: the PostgreSQL URL holds sslpassword, which would be visible to every user of the host: use a key without a password")
	}
	return t, nil
}

// public returns the URL of a database for the command line of a client program. It has no
// password, and only the parameters that such programs know. The options are added to those of
// the URL.
func (t postgresTarget) public(database, application string, options ...string) string {
	u := t.to(database)
	if u.User != nil {
		u.User = url.User(u.User.Username())
	}
	query := u.Query()
	for name := range query {
		if !slices.Contains(libpqParameters, name) || name == "passfile" && t.password != "" {
			query.Del(name)
		}
	}
	query.Set("application_name", application)
	if len(options) > 0 {
		query.Set("options", strings.TrimSpace(query.Get("options")+" "+strings.Join(options, " ")))
	}
	if !query.Has("connect_timeout") {
		query.Set("connect_timeout", "15")
	}
	// libpq reads a plus sign literally and not as a space.
	u.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20")
	return u.String()
}

// to returns the URL of another database of the same server.
func (t postgresTarget) to(database string) *url.URL {
	u := *t.full
	u.Path, u.RawPath = "/"+database, "/"+url.PathEscape(database)
	query := u.Query()
	if query.Has("dbname") {
		query.Del("dbname")
		u.RawQuery = query.Encode()
	}
	return &u
}

// passfile is a password file for one client program. Its path is empty if there is no
// password.
type passfile struct{ client.SecretFile }

// newPassfile writes the file. Client programs require a regular file with mode 0600 and
// ignore any other file.
func newPassfile(password string) (passfile, error) {
	if password == "" {
		return passfile{}, nil
	}
	f, err := client.NewSecretFile("pgpass", "*:*:*:*:"+strings.NewReplacer(`\`, `\\`, `:`, `\:`).Replace(password)+"\n")
	return passfile{f}, err
}

// environment returns the environment of this process without variables that configure
// client programs or hold a password.
func (p passfile) environment() []string {
	kept := slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		name = strings.ToUpper(name)
		if name == "PGPASSFILE" && p.Path == "" {
			return false // no password in the URL, so the user's file is needed
		}
		// PG_CLUSTER and similar variables control the wrapper in Debian's packages.
		return strings.HasPrefix(name, "PG") || name == "LC_ALL" || name == "LANGUAGE"
	})
	if p.Path != "" {
		kept = append(kept, "PGPASSFILE="+p.Path)
	}
	// English messages are easier to search for. The times of a dump, and of the digests that are
	// compared with it, are in one time zone, whatever the setting of a server, database or role.
	return append(kept, "LC_ALL=C", "PGTZ=UTC")
}
