package testserver

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// S3Server is a private versitygw, an S3 server over a folder.
type S3Server struct {
	Process
	port int
}

// S3 starts a versitygw without buckets.
func S3(t testing.TB) *S3Server {
	t.Helper()
	binary := Lookup(t, "versitygw", "golang && go install github.com/versity/versitygw/cmd/versitygw@v1.8.0")
	for range 5 {
		port := FreePort(t)
		dir := newFolder(t, "s3")
		for _, folder := range []string{"data", "meta"} {
			if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		server := &S3Server{port: port}
		server.Process = Process{
			t: t, name: "versitygw " + strconv.Itoa(port), dir: dir, stopBy: syscall.SIGTERM,
			command: func() *exec.Cmd {
				cmd := exec.Command(binary, "--port", address(port), "posix", "--sidecar", filepath.Join(dir, "meta"), filepath.Join(dir, "data"))
				cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+server.AccessKey(), "ROOT_SECRET_KEY="+server.SecretKey())
				return cmd
			},
			ready: func(ctx context.Context) error {
				conn, err := new(net.Dialer).DialContext(ctx, "tcp", address(port))
				if err == nil {
					err = conn.Close()
				}
				return err
			},
		}
		if server.run() {
			return server
		}
	}
	t.Fatal("testserver: versitygw does not start")
	return nil
}

// Addr returns the server's host:port.
func (s *S3Server) Addr() string { return address(s.port) }

// AccessKey returns the key of the server's owner.
func (s *S3Server) AccessKey() string { return "mainstay-key" }

// SecretKey returns the secret of that key, which must be escaped in a URL.
func (s *S3Server) SecretKey() string { return "s3/cr3t+of@it" }
