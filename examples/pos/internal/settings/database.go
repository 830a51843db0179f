package settings

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
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

// Database describes the database. The zero value is SQLite in the data folder.
type Database struct {
	Engine Engine
	URL    *url.URL // holds the password
}

var errDatabase = errors.New("want mysql://user:pw@host/db or postgres://user:pw@host/db; leave it out for SQLite")

// Set reads mysql://user:pw@host/db?tls=…&tls-ca=… or postgres://user:pw@host/db. A postgres
// URL takes the parameters of PostgreSQL. Errors never contain the URL, because it holds a
// password.
func (d *Database) Set(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || strings.Trim(u.Path, "/") == "" {
		return errDatabase
	}
	switch u.Scheme {
	case "mysql", "mariadb":
		set := Database{Engine: MySQL, URL: u}
		if err := set.checkTLS(); err != nil {
			return err
		}
		*d = set
	case "postgres", "postgresql":
		*d = Database{Engine: Postgres, URL: u}
	default:
		return errDatabase
	}
	return nil
}

// The values of tls in the URL of a MariaDB or MySQL database.
const (
	TLSOff        = "false" // also without the parameter
	TLSVerified   = "true"
	TLSUnverified = "skip-verify"
)

func (d Database) checkTLS() error {
	query, err := url.ParseQuery(d.URL.RawQuery)
	if err != nil {
		return errDatabase
	}
	for name := range query {
		if name != "tls" && name != "tls-ca" {
			return fmt.Errorf("unknown parameter %q; known are tls and tls-ca", name)
		}
	}
	switch d.TLS() {
	case TLSOff, TLSUnverified:
		if d.TLSCA() != "" {
			return errors.New("tls-ca needs tls=true")
		}
		return nil
	case TLSVerified:
		_, err := d.TLSRoots()
		return err
	}
	return fmt.Errorf("tls=%q: want true, skip-verify or false", d.TLS())
}

// TLS is one of the values above, for a MariaDB or MySQL database.
func (d Database) TLS() string { return cmp.Or(d.URL.Query().Get("tls"), TLSOff) }

// TLSCA is the file of the certificates that verify the server. "" means the host's
// certificates.
func (d Database) TLSCA() string { return d.URL.Query().Get("tls-ca") }

// TLSRoots reads that file. Without a file it returns nil, which means the host's certificates.
func (d Database) TLSRoots() (*x509.CertPool, error) {
	if d.TLSCA() == "" {
		return nil, nil
	}
	return certificates(d.TLSCA())
}

// certificates reads the file in a parameter tls-ca.
func certificates(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("tls-ca: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("tls-ca: there is no certificate (PEM) in %s", file)
	}
	return roots, nil
}

// Name is the name of the database on its server.
func (d Database) Name() string { return strings.Trim(d.URL.Path, "/") }

// Password is the password in the URL, or "".
func (d Database) Password() string {
	password, _ := d.URL.User.Password()
	return password
}

// Port is the port in the URL, or the default port of the engine.
func (d Database) Port() string {
	if p := d.URL.Port(); p != "" {
		return p
	}
	if d.Engine == Postgres {
		return "5432"
	}
	return "3306"
}
