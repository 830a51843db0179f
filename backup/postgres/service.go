package postgres

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// environmentNames are the variables of libpq whose values drivers also use. pg_dump gets
// them in its URL, because its environment is cleaned.
var environmentNames = map[string]string{
	"PGHOST": "host", "PGPORT": "port", "PGUSER": "user", "PGPASSWORD": "password", "PGDATABASE": "dbname", "PGSSLMODE": "sslmode",
	"PGSSLROOTCERT": "sslrootcert", "PGSSLCERT": "sslcert", "PGSSLKEY": "sslkey", "PGSSLCRL": "sslcrl", "PGSSLNEGOTIATION": "sslnegotiation",
	"PGSSLMINPROTOCOLVERSION": "ssl_min_protocol_version", "PGSSLMAXPROTOCOLVERSION": "ssl_max_protocol_version", "PGREQUIREAUTH": "require_auth",
	"PGCHANNELBINDING": "channel_binding", "PGTARGETSESSIONATTRS": "target_session_attrs", "PGPASSFILE": "passfile",
}

// complete adds the missing parameters of the URL: first from the service that it names,
// and then from the environment. The URL then has the same meaning for each driver and for
// the client programs.
func complete(u *url.URL) error {
	query := u.Query()
	service, file := query.Get("service"), query.Get("servicefile")
	if service == "" {
		service = os.Getenv("PGSERVICE")
	}
	query.Del("service")
	query.Del("servicefile")
	u.RawQuery = query.Encode()
	if service != "" {
		values, err := readService(service, file)
		if err != nil {
			return err
		}
		fill(u, values)
	}
	values := map[string]string{}
	for name, key := range environmentNames {
		if value := os.Getenv(name); value != "" {
			values[key] = value
		}
	}
	fill(u, values)
	return nil
}

// fill sets the missing parameters of a URL.
func fill(u *url.URL, values map[string]string) {
	query := u.Query()
	has := map[string]bool{"host": u.Host != "", "dbname": strings.Trim(u.Path, "/") != "", "port": u.Port() != ""}
	user := ""
	if u.User != nil {
		user = u.User.Username()
		_, has["password"] = u.User.Password()
	}
	has["user"] = user != ""
	missing := func(key string) string {
		if has[key] || query.Get(key) != "" {
			return ""
		}
		return values[key]
	}
	if name := missing("user"); name != "" {
		user = name
	}
	if password := missing("password"); password != "" {
		u.User = url.UserPassword(user, password)
	} else if u.User == nil && user != "" {
		u.User = url.User(user)
	} else if user != "" && u.User.Username() == "" {
		password, _ := u.User.Password()
		u.User = url.UserPassword(user, password)
	}
	if name := missing("dbname"); name != "" {
		u.Path, u.RawPath = "/"+name, "/"+url.PathEscape(name)
	}
	host, port := missing("host"), missing("port")
	switch {
	case host == "" && port == "":
	case host == "" && u.Host != "":
		u.Host = net.JoinHostPort(strings.Trim(u.Host, "[]"), port)
	case host == "" || strings.HasPrefix(host, "/") || strings.Contains(host, ","):
		setNonempty(query, "host", host)
		setNonempty(query, "port", port)
	case port != "":
		u.Host = net.JoinHostPort(host, port)
	default:
		u.Host = host
	}
	for key := range values {
		switch key {
		case "user", "password", "dbname", "host", "port":
		default:
			setNonempty(query, key, missing(key))
		}
	}
	u.RawQuery = query.Encode()
}

func setNonempty(query url.Values, key, value string) {
	if value != "" {
		query.Set(key, value)
	}
}

// readService reads one service of a connection service file. It uses the search order of
// libpq: PGSERVICEFILE, ~/.pg_service.conf, PGSYSCONFDIR and Debian's folder.
func readService(service, file string) (map[string]string, error) {
	files := []string{file}
	if file == "" {
		files = []string{os.Getenv("PGSERVICEFILE")}
		if files[0] == "" {
			if home, err := os.UserHomeDir(); err == nil {
				files[0] = filepath.Join(home, ".pg_service.conf")
			}
		}
		folder := os.Getenv("PGSYSCONFDIR")
		if folder == "" {
			folder = "/etc/postgresql-common"
		}
		files = append(files, filepath.Join(folder, "pg_service.conf"))
	}
	for _, name := range files {
		if name == "" {
			continue
		}
		values, err := serviceIn(name, service)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("backup: read the PostgreSQL service %q: %w", service, err)
		}
		if values != nil {
			return values, nil
		}
	}
	return nil, fmt.Errorf("backup: no service file defines the PostgreSQL service %q: looked in %s", service, strings.Join(files, ", "))
}

// serviceIn returns nil if the file does not define the service.
func serviceIn(file, service string) (map[string]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var values map[string]string
	in := bufio.NewScanner(f)
	for in.Scan() {
		line := strings.TrimSpace(in.Text())
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			if values != nil {
				return values, nil
			}
			if line == "["+service+"]" {
				values = map[string]string{}
			}
		case values != nil:
			key, value, found := strings.Cut(line, "=")
			if !found || strings.HasPrefix(key, "ldap") || key == "service" {
				return nil, errors.New("a line of it is not of the form keyword=value")
			}
			if _, twice := values[key]; !twice {
				values[strings.TrimSpace(key)] = strings.TrimSpace(value)
			}
		}
	}
	return values, in.Err()
}
