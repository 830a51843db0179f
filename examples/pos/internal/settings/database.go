package settings

import (
	"errors"
	"net/url"
	"strings"
)

// Engine is a kind of database.
type Engine string

// The engines.
const (
	SQLite   Engine = ""
	MySQL    Engine = "mysql"
	Postgres Engine = "postgres"
)

// Database says which database is used. The zero value is SQLite in the data folder.
type Database struct {
	Engine Engine
	URL    *url.URL // holds the password
}

var errDatabase = errors.New("want mysql://user:pw@host/db or postgres://user:pw@host/db; leave it out for SQLite")

// Set reads mysql://user:pw@host/db or postgres://user:pw@host/db. No error repeats the
// URL, which holds a password.
func (d *Database) Set(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || strings.Trim(u.Path, "/") == "" {
		return errDatabase
	}
	switch u.Scheme {
	case "mysql", "mariadb":
		*d = Database{Engine: MySQL, URL: u}
	case "postgres", "postgresql":
		*d = Database{Engine: Postgres, URL: u}
	default:
		return errDatabase
	}
	return nil
}

// Name is the name of the database on its server.
func (d Database) Name() string { return strings.Trim(d.URL.Path, "/") }

// Password is that of the URL, "" if it has none.
func (d Database) Password() string {
	password, _ := d.URL.User.Password()
	return password
}

// Port is the port of the URL, or the engine's own.
func (d Database) Port() string {
	if p := d.URL.Port(); p != "" {
		return p
	}
	if d.Engine == Postgres {
		return "5432"
	}
	return "3306"
}
