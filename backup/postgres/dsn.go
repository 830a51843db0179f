package postgres

import (
	"errors"
	"net"
	"net/url"
	"strings"
)

// fromKeyValue converts a connection string of libpq, host=… user=… dbname=…, to a URL with
// the same meaning for every driver. Its errors never contain the string.
func fromKeyValue(text string) (*url.URL, error) {
	bad := errors.New("backup: the PostgreSQL address is neither a URL, postgres://user:password@host:5432/database, nor of the form host=… user=… password=… dbname=…")
	values := map[string]string{}
	for rest := strings.TrimLeft(text, " \t\n\r"); rest != ""; rest = strings.TrimLeft(rest, " \t\n\r") {
		key, after, found := strings.Cut(rest, "=")
		if key = strings.TrimSpace(key); !found || key == "" || strings.ContainsAny(key, " '\\:/") {
			return nil, bad
		}
		after = strings.TrimLeft(after, " \t\n\r")
		var value strings.Builder
		quoted := strings.HasPrefix(after, "'")
		i := 0
		if quoted {
			i = 1
		}
		ended := !quoted
		for ; i < len(after); i++ {
			c := after[i]
			if c == '\\' && i+1 < len(after) {
				i++
				value.WriteByte(after[i])
				continue
			}
			if quoted && c == '\'' {
				i++
				ended = true
				break
			}
			if !quoted && strings.IndexByte(" \t\n\r", c) >= 0 {
				break
			}
			value.WriteByte(c)
		}
		if !ended {
			return nil, bad
		}
		values[key], rest = value.String(), after[i:]
	}
	if len(values) == 0 {
		return nil, bad
	}
	u := &url.URL{Scheme: "postgres"}
	take := func(key string) string {
		value := values[key]
		delete(values, key)
		return value
	}
	user, password := take("user"), take("password")
	switch {
	case password != "":
		u.User = url.UserPassword(user, password)
	case user != "":
		u.User = url.User(user)
	}
	u.Path = "/" + take("dbname")
	host, port := take("host"), take("port")
	query := url.Values{}
	switch {
	case strings.HasPrefix(host, "/") || strings.Contains(host, ","): // the folder of a socket, or several hosts
		query.Set("host", host)
		if port != "" {
			query.Set("port", port)
		}
	case port != "":
		u.Host = net.JoinHostPort(host, port)
	default:
		u.Host = host
	}
	for key, value := range values {
		query.Set(key, value)
	}
	u.RawQuery = query.Encode()
	return u, nil
}
