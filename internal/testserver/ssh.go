package testserver

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// SSHServer is a private sshd with SFTP.
type SSHServer struct {
	Process
	port int
}

// SSH starts an sshd with a host key in PEM. It accepts the user of this process with the keys
// in authorized, which has the form of authorized_keys.
func SSH(t testing.TB, hostKey, authorized []byte) *SSHServer {
	t.Helper()
	binary := Lookup(t, "sshd", "openssh-server")
	if os.Geteuid() == 0 {
		_ = os.MkdirAll("/run/sshd", 0o755) // sshd requires it
	}
	for range 5 {
		port := FreePort(t)
		dir := newFolder(t, "ssh")
		config := fmt.Sprintf("ListenAddress 127.0.0.1:%d\nHostKey %s/host_key\nAuthorizedKeysFile %s/authorized_keys\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nPidFile none\nMaxStartups 100\nSubsystem sftp internal-sftp\n", port, dir, dir)
		for name, data := range map[string][]byte{"host_key": hostKey, "authorized_keys": authorized, "config": []byte(config)} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatalf("testserver: %v", err)
			}
		}
		server := &SSHServer{port: port}
		server.Process = Process{
			t: t, name: "sshd " + strconv.Itoa(port), dir: dir, stopBy: syscall.SIGTERM,
			command: func() *exec.Cmd { return exec.Command(binary, "-D", "-e", "-f", filepath.Join(dir, "config")) },
			ready: func(ctx context.Context) error {
				conn, err := new(net.Dialer).DialContext(ctx, "tcp", address(port))
				if err != nil {
					return err
				}
				defer conn.Close()
				if deadline, ok := ctx.Deadline(); ok {
					_ = conn.SetReadDeadline(deadline) // a connection of this process
				}
				_, err = io.ReadFull(conn, make([]byte, len("SSH-2.0")))
				return err
			},
		}
		if server.run() {
			return server
		}
	}
	t.Fatal("testserver: sshd does not start")
	return nil
}

// Addr returns the server's host:port.
func (s *SSHServer) Addr() string { return address(s.port) }

// User returns the name of the user to log in as.
func (s *SSHServer) User() string { return userName() }
