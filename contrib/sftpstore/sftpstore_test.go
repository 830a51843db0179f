package sftpstore

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/backuptest"
	"github.com/mainstay-go/mainstay/backup/driver"
)

// program finds a program of openssh-server or openssh-sftp-server.
func program(t testing.TB, paths ...string) string {
	t.Helper()
	for _, path := range paths {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	if os.Getenv("MAINSTAY_REQUIRE_SERVERS") != "" {
		t.Fatalf("%s is not installed: apt-get install openssh-server", paths[0])
	}
	t.Skipf("%s is not installed: apt-get install openssh-server", paths[0])
	return ""
}

func sftpServer(t testing.TB) string {
	return program(t, "/usr/lib/openssh/sftp-server", "/usr/libexec/sftp-server", "/usr/lib/ssh/sftp-server")
}

// piped speaks to OpenSSH's sftp-server without a connection between.
func piped(t testing.TB) Connect {
	server := sftpServer(t)
	return func(ctx context.Context) (*sftp.Client, error) {
		cmd := exec.Command(server)
		in, err := cmd.StdinPipe()
		if err != nil {
			return nil, err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		client, err := sftp.NewClientPipe(out, in, sftp.UseConcurrentWrites(true))
		go func() {
			if err == nil {
				_ = client.Wait()
			}
			_ = in.Close()
			_ = cmd.Wait()
		}()
		return client, err
	}
}

func storeIn(t testing.TB, connect Connect, folder string, opts *Options) *Store {
	t.Helper()
	s, err := New(connect, folder, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStorageSuite(t *testing.T) {
	connect := piped(t)
	backuptest.Run(t, func(t testing.TB) backup.Storage {
		return storeIn(t, connect, filepath.Join(t.TempDir(), "backups", "pos"), nil)
	})
}

// rows is a source that dumps the same bytes.
type rows struct{ data []byte }

func (rows) Describe() driver.Description {
	return driver.Description{Engine: "rows", Extension: ".bin"}
}
func (rows) Abilities() driver.Abilities { return driver.Abilities{} }
func (r rows) Dump(_ context.Context, w io.Writer) (driver.Contents, error) {
	_, err := w.Write(r.data)
	return driver.Contents{Tables: []driver.Table{{Name: "t", Rows: 1}}}, err
}

// A job through a real sshd: the backup, the history, what is read back, what is refused.
func TestJobThroughSSHD(t *testing.T) {
	daemon := program(t, "/usr/sbin/sshd", "/usr/bin/sshd")
	dir := t.TempDir()
	newKey := func(name string) ssh.Signer {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		block, err := ssh.MarshalPrivateKey(key, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		signer, err := ssh.NewSignerFromKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return signer
	}
	host, user := newKey("host_key"), newKey("user_key")
	authorized := filepath.Join(dir, "authorized_keys")
	if err := os.WriteFile(authorized, ssh.MarshalAuthorizedKey(user.PublicKey()), 0o600); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		_ = os.MkdirAll("/run/sshd", 0o755) // sshd insists on it
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	listener.Close()
	config := fmt.Sprintf("ListenAddress 127.0.0.1:%s\nHostKey %s\nAuthorizedKeysFile %s\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nPidFile none\nMaxStartups 100\nLogLevel VERBOSE\nSubsystem sftp internal-sftp\n",
		port, filepath.Join(dir, "host_key"), authorized)
	if err := os.WriteFile(filepath.Join(dir, "sshd_config"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(daemon, "-D", "-E", filepath.Join(dir, "log"), "-f", filepath.Join(dir, "sshd_config"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Logf("%s", log)
		}
	})

	name := os.Getenv("USER")
	if name == "" || os.Geteuid() == 0 {
		name = "root"
	}
	client := &ssh.ClientConfig{User: name, Auth: []ssh.AuthMethod{ssh.PublicKeys(user)}, HostKeyCallback: ssh.FixedHostKey(host.PublicKey())}
	store := storeIn(t, SSH(address, client), filepath.Join(dir, "backups"), nil)
	for deadline := time.Now().Add(15 * time.Second); ; {
		if _, err = store.List(t.Context()); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	data := make([]byte, 3<<20)
	_, _ = rand.Read(data)
	job, err := backup.New("pos", rows{data}, store, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		report, err := job.Backup(t.Context())
		if err != nil || !report.Verified {
			t.Fatalf("%+v, %v", report, err)
		}
	}
	runs, err := job.History(t.Context(), 0)
	if err != nil || len(runs) != 2 {
		t.Errorf("%d runs, %v", len(runs), err)
	}
	status, err := job.Check(t.Context(), time.Hour)
	if err != nil || status.Count != 2 || status.Free <= 0 {
		t.Errorf("%+v, %v", status, err)
	}
	infos, err := os.ReadDir(filepath.Join(dir, "backups"))
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range infos {
		if stat, err := info.Info(); err != nil || stat.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", info.Name(), stat.Mode(), err)
		}
	}
	// Another host with the same address is not written to.
	stranger := &ssh.ClientConfig{User: name, Auth: client.Auth, HostKeyCallback: ssh.FixedHostKey(user.PublicKey())}
	if _, err := storeIn(t, SSH(address, stranger), dir, nil).List(t.Context()); err == nil || !strings.Contains(err.Error(), "host key mismatch") {
		t.Errorf("a stranger's host key: %v", err)
	}
}

// A server that dies in the middle leaves nothing that is listed, and one that hangs ends
// the call.
func TestDeadAndHungServers(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "backups")
	good := storeIn(t, piped(t), folder, nil)
	var last *sftp.Client
	dying := storeIn(t, func(ctx context.Context) (*sftp.Client, error) {
		client, err := piped(t)(ctx)
		last = client
		return client, err
	}, folder, nil)
	_, err := dying.Put(t.Context(), "a", func(w io.Writer) error {
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			return err
		}
		last.Close()
		_, err := w.Write(make([]byte, 1<<20))
		return err
	})
	if err == nil {
		t.Error("a put through a closed connection succeeded")
	}
	if list, err := good.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	hung := storeIn(t, func(ctx context.Context) (*sftp.Client, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}, folder, &Options{Stall: 50 * time.Millisecond})
	if _, err := hung.List(t.Context()); !errors.Is(err, errStalled) {
		t.Errorf("a hung server: %v", err)
	}
	if err := os.Chmod(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := good.Put(t.Context(), "b", func(io.Writer) error { return nil }); err == nil || !strings.Contains(err.Error(), "chmod go-w") {
		t.Errorf("a folder that everybody may write to: %v", err)
	}
	if _, err := New(nil, "x", nil); err == nil {
		t.Error("New without a Connect")
	}
}
