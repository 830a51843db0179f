package testserver

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// MariaDBServer is a private MariaDB server with an empty data folder.
type MariaDBServer struct {
	Process
	port   int
	client string
}

// databasePassword is the administrator's password on every test server. The servers listen on
// loopback, and only during a test.
const databasePassword = "mainstay-test"

// MariaDB starts a server with the given arguments after its own. The server does not sync its
// files, so they survive a crash of the process and may be lost in a crash of the machine.
func MariaDB(t testing.TB, args ...string) *MariaDBServer {
	t.Helper()
	server := first(t, "mariadb-server", "mariadbd", "mysqld")
	install := first(t, "mariadb-server", "mariadb-install-db", "mysql_install_db")
	client := first(t, "mariadb-client", "mariadb", "mysql")

	for range 5 {
		dir := newDataFolder(t, "mariadb")
		data := filepath.Join(dir, "data")
		asUser := "--user=" + userName()
		// A server deletes the temporary tables that it finds at its start. In a shared folder it
		// would delete those of other servers.
		temp := filepath.Join(dir, "tmp")
		if err := os.Mkdir(temp, 0o700); err != nil {
			t.Fatalf("testserver: %v", err)
		}
		settings := []string{
			asUser, "--auth-root-authentication-method=normal", "--skip-test-db", "--innodb-data-file-path=ibdata1:4M:autoextend", "--innodb-log-file-size=8M",
		}
		create := exec.Command(install, append([]string{"--no-defaults", "--datadir=" + data, "--tmpdir=" + temp}, settings...)...)
		fromTemplate(t, "mariadb", data, create, settings...)
		setup := filepath.Join(dir, "setup.sql")
		sql := "ALTER USER 'root'@'localhost' IDENTIFIED BY '" + databasePassword + "';\n" +
			"CREATE OR REPLACE USER 'root'@'127.0.0.1' IDENTIFIED BY '" + databasePassword + "';\n" +
			"GRANT ALL PRIVILEGES ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;\n"
		if err := os.WriteFile(setup, []byte(sql), 0o600); err != nil {
			t.Fatalf("testserver: %v", err)
		}
		port := FreePort(t)
		s := &MariaDBServer{port: port, client: client}
		s.Process = Process{
			t: t, name: "mariadbd " + strconv.Itoa(port), dir: dir, stopBy: syscall.SIGTERM,
			command: func() *exec.Cmd {
				all := []string{
					"--no-defaults", "--datadir=" + data, "--tmpdir=" + temp, asUser,
					"--port=" + strconv.Itoa(port), "--bind-address=127.0.0.1", "--socket=" + s.Socket(),
					"--pid-file=" + filepath.Join(dir, "pid"), "--init-file=" + setup, "--skip-name-resolve",
					"--character-set-server=utf8mb4", "--innodb-data-file-path=ibdata1:4M:autoextend",
					"--innodb-log-file-size=8M", "--innodb-buffer-pool-size=64M",
					"--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--innodb-flush-method=nosync",
				}
				return exec.Command(server, append(all, args...)...)
			},
			ready: func(ctx context.Context) error { return mariadbGreets(ctx, address(port)) },
		}
		if s.run() {
			return s
		}
	}
	t.Fatal("testserver: mariadbd does not start")
	return nil
}

// mariadbGreets returns nil after the server sends the greeting of a connection: a packet with
// a body that begins with protocol version 10.
func mariadbGreets(ctx context.Context, addr string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	head, err := bufio.NewReader(conn).Peek(5)
	if err != nil {
		return err
	}
	if head[4] != 10 {
		return fmt.Errorf("testserver: the greeting begins with %d", head[4])
	}
	return nil
}

// Addr returns the server's host:port.
func (s *MariaDBServer) Addr() string { return address(s.port) }

// Socket returns the path of the server's Unix socket.
func (s *MariaDBServer) Socket() string { return filepath.Join(s.dir, "socket") }

// User returns the administrator's name.
func (s *MariaDBServer) User() string { return "root" }

// Password returns the administrator's password.
func (s *MariaDBServer) Password() string { return databasePassword }

// DSN returns the data source name of a database, or of the server if database is "", in the
// form of go-sql-driver/mysql. Times are scanned into time.Time, in UTC.
func (s *MariaDBServer) DSN(database string) string {
	return s.User() + ":" + s.Password() + "@tcp(" + s.Addr() + ")/" + database + "?parseTime=true"
}

// CreateDatabase makes an empty database.
func (s *MariaDBServer) CreateDatabase(t testing.TB, name string) {
	t.Helper()
	s.Exec(t, "CREATE DATABASE `"+strings.ReplaceAll(name, "`", "``")+"`")
}

// Exec runs statements as the administrator with the server's own client. It returns the
// output: tab-separated rows without headings.
func (s *MariaDBServer) Exec(t testing.TB, sql string) string {
	t.Helper()
	cmd := exec.Command(s.client, "--no-defaults", "--protocol=tcp", "--host=127.0.0.1", "--port="+strconv.Itoa(s.port),
		"--user="+s.User(), "--batch", "--skip-column-names")
	cmd.Env = append(os.Environ(), "MYSQL_PWD="+s.Password())
	return feed(t, cmd, sql)
}

// feed runs a client that reads statements from its standard input.
func feed(t testing.TB, cmd *exec.Cmd, sql string) string {
	t.Helper()
	var problems strings.Builder
	cmd.Stdin, cmd.Stderr = strings.NewReader(sql), &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("testserver: %s: %v\n%s", filepath.Base(cmd.Path), err, problems.String())
	}
	return string(out)
}
