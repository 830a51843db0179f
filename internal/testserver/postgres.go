package testserver

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// PostgresServer is a private PostgreSQL server with a new cluster.
type PostgresServer struct {
	Process
	port int
	psql string
}

// Postgres starts a server with the given arguments after its own, such as "-c",
// "max_connections=10". It requires passwords (SCRAM) and does not sync its files. PostgreSQL
// refuses to run as root, so root runs it as the user postgres.
func Postgres(t testing.TB, args ...string) *PostgresServer {
	t.Helper()
	server := first(t, "postgresql", "postgres")
	if real, err := filepath.EvalSymlinks(server); err == nil {
		server = real // initdb is beside the server, not beside a link to it
	}
	initdb := filepath.Join(filepath.Dir(server), "initdb")
	// The client beside the server starts faster than Debian's wrapper on PATH.
	psql := filepath.Join(filepath.Dir(server), "psql")
	if _, err := os.Stat(psql); err != nil {
		psql = first(t, "postgresql-client", "psql")
	}

	for range 5 {
		dir := newDataFolder(t, "postgres")
		data := filepath.Join(dir, "data")
		secret := filepath.Join(dir, "password")
		if err := os.WriteFile(secret, []byte(databasePassword+"\n"), 0o600); err != nil {
			t.Fatalf("testserver: %v", err)
		}
		giveAway(t, dir, secret)
		settings := []string{"--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"}
		create := exec.Command(initdb, append([]string{"--pgdata=" + data, "--pwfile=" + secret}, settings...)...)
		create.Dir = dir
		dropRoot(create)
		fromTemplate(t, "postgres", data, create, append(settings, databasePassword)...)
		port := FreePort(t)
		s := &PostgresServer{port: port, psql: psql}
		s.Process = Process{
			// SIGINT is PostgreSQL's fast shutdown. SIGTERM would wait for its clients.
			t: t, name: "postgres " + strconv.Itoa(port), dir: dir, stopBy: syscall.SIGINT,
			command: func() *exec.Cmd {
				all := []string{
					"-D", data, "-p", strconv.Itoa(port),
					"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=" + dir,
					"-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off",
					"-c", "shared_buffers=64MB",
				}
				cmd := exec.Command(server, append(all, args...)...)
				cmd.Dir = dir
				dropRoot(cmd)
				return cmd
			},
			ready: func(ctx context.Context) error { return s.answers(ctx) },
		}
		if s.run() {
			return s
		}
	}
	t.Fatal("testserver: postgres does not start")
	return nil
}

// PostgresPrograms returns the folder of the server's version that has the server and its client
// programs, or "" if there is none.
func PostgresPrograms() string {
	server := find("postgres")
	if server == "" {
		return ""
	}
	if real, err := filepath.EvalSymlinks(server); err == nil {
		server = real
	}
	return filepath.Dir(server)
}

func (s *PostgresServer) answers(ctx context.Context) error {
	cmd := s.client(ctx, "postgres")
	cmd.Stdin = strings.NewReader("SELECT 1")
	return cmd.Run()
}

// client is psql. It stops at the first error and reads no file of the user.
func (s *PostgresServer) client(ctx context.Context, database string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.psql, "--no-psqlrc", "--no-password", "--quiet", "--no-align", "--tuples-only",
		"--field-separator=\t", "--set=ON_ERROR_STOP=1", "--host=127.0.0.1", "--port="+strconv.Itoa(s.port),
		"--username="+s.User())
	cmd.Env = append(os.Environ(), "PGDATABASE="+database, "PGPASSWORD="+s.Password(), "PGCONNECT_TIMEOUT=30")
	return cmd
}

// Own makes the user that the server runs as the owner of files.
func (s *PostgresServer) Own(t testing.TB, paths ...string) {
	t.Helper()
	giveAway(t, paths...)
}

// Addr returns the server's host:port.
func (s *PostgresServer) Addr() string { return address(s.port) }

// User returns the superuser's name.
func (s *PostgresServer) User() string { return "postgres" }

// Password returns the superuser's password.
func (s *PostgresServer) Password() string { return databasePassword }

// DSN returns the URL of a database, or of the superuser's own if database is "".
func (s *PostgresServer) DSN(database string) string {
	if database == "" {
		database = "postgres"
	}
	return "postgres://" + s.User() + ":" + s.Password() + "@" + s.Addr() + "/" + database + "?sslmode=disable"
}

// CreateDatabase makes an empty database.
func (s *PostgresServer) CreateDatabase(t testing.TB, name string) {
	t.Helper()
	s.Exec(t, "", `CREATE DATABASE "`+strings.ReplaceAll(name, `"`, `""`)+`"`)
}

// Exec runs statements in a database as the superuser, with psql. It returns the output:
// tab-separated rows without headings.
func (s *PostgresServer) Exec(t testing.TB, database, sql string) string {
	t.Helper()
	if database == "" {
		database = "postgres"
	}
	return feed(t, s.client(t.Context(), database), sql)
}
