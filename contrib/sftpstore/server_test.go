package sftpstore

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

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

// key makes a pair of keys, and the private one in PEM.
func key(t testing.TB) (ssh.Signer, []byte) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer, pem.EncodeToMemory(block)
}

// daemon starts an sshd, and returns how to log in.
func daemon(t testing.TB) (*testserver.SSHServer, *ssh.ClientConfig) {
	t.Helper()
	host, hostPEM := key(t)
	user, _ := key(t)
	server := testserver.SSH(t, hostPEM, ssh.MarshalAuthorizedKey(user.PublicKey()))
	return server, &ssh.ClientConfig{User: server.User(), Auth: []ssh.AuthMethod{ssh.PublicKeys(user)}, HostKeyCallback: ssh.FixedHostKey(host.PublicKey())}
}

// TestSSHD shares one sshd among tests that each have a folder of their own.
func TestSSHD(t *testing.T) {
	t.Parallel()
	server, login := daemon(t)
	t.Run("job", func(t *testing.T) { jobThroughSSHD(t, server, login) })
	t.Run("wrong host key", func(t *testing.T) {
		stranger, _ := key(t)
		wrong := *login
		wrong.HostKeyCallback = ssh.FixedHostKey(stranger.PublicKey())
		folder := filepath.Join(t.TempDir(), "backups")
		store := storeIn(t, SSH(server.Addr(), &wrong), folder, nil)
		_, err := store.List(t.Context())
		_, put := store.Put(t.Context(), "a", func(io.Writer) error { t.Error("a byte was written"); return nil })
		if err == nil || put == nil || !strings.Contains(err.Error(), "host key mismatch") {
			t.Errorf("a stranger's host key: %v, %v", err, put)
		}
		if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the folder exists: %v", err)
		}
		wrong.HostKeyCallback = nil
		if _, err := storeIn(t, SSH(server.Addr(), &wrong), folder, nil).List(t.Context()); err == nil {
			t.Error("a host was not asked for its key")
		}
	})
	t.Run("full disk", func(t *testing.T) { testserver.NeedsLong(t); fullDisk(t, server, login) })
	// The last two pause and kill the server.
	t.Run("hung", func(t *testing.T) { testserver.NeedsLong(t); hungServer(t, server, login) })
	t.Run("cut", func(t *testing.T) { testserver.NeedsLong(t); cutUpload(t, server, login) })
}

// jobThroughSSHD: the backup, the history, the backup read again, the modes of the files.
func jobThroughSSHD(t *testing.T, server *testserver.SSHServer, login *ssh.ClientConfig) {
	folder := filepath.Join(t.TempDir(), "backups")
	data := make([]byte, 3<<20)
	_, _ = rand.Read(data)
	job, err := backup.New("pos", rows{data}, storeIn(t, SSH(server.Addr(), login), folder, nil), nil)
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
	infos, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range infos {
		if stat, err := info.Info(); err != nil || stat.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", info.Name(), stat.Mode(), err)
		}
	}
}

// hungServer: a server that keeps its connections and sends no byte ends each call.
func hungServer(t *testing.T, server *testserver.SSHServer, login *ssh.ClientConfig) {
	folder := filepath.Join(t.TempDir(), "backups")
	patient := storeIn(t, SSH(server.Addr(), login), folder, nil)
	if _, err := patient.Put(t.Context(), "whole", func(w io.Writer) error { _, err := w.Write(make([]byte, 8<<20)); return err }); err != nil {
		t.Fatal(err)
	}
	store := storeIn(t, SSH(server.Addr(), login), folder, &Options{Stall: 3 * time.Second})
	var r io.ReadCloser
	var err error
	for range 10 { // three seconds may be too short on a busy machine
		if r, err = store.Open(t.Context(), "whole"); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var calls sync.WaitGroup
	defer calls.Wait()
	expect := func(what string, want error, call func() error) {
		calls.Go(func() {
			if err := call(); !errors.Is(err, want) {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
	_, err = patient.Put(t.Context(), "b", func(w io.Writer) error {
		server.Pause()
		defer server.Continue()
		expect("put", errStalled, func() error {
			_, err := store.Put(t.Context(), "a", func(w io.Writer) error { _, err := w.Write(make([]byte, 64<<20)); return err })
			return err
		})
		expect("read", errStalled, func() error { _, err := io.Copy(io.Discard, r); return err })
		expect("list", errStalled, func() error { _, err := store.List(t.Context()); return err })
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		expect("list, with a deadline", context.DeadlineExceeded, func() error { _, err := store.List(ctx); return err })
		calls.Wait()
		_, err := io.WriteString(w, "a pause of the source is no stall")
		return err
	})
	if err != nil {
		t.Errorf("the upload of a server that went on: %v", err)
	}
	if list, err := patient.List(t.Context()); err != nil || len(list) != 2 {
		t.Errorf("afterwards: %v, %v", list, err)
	}
}

// cutUpload: the server dies in the middle of an upload. No file is listed, the next
// upload under the name succeeds, and the partial file is swept.
func cutUpload(t *testing.T, server *testserver.SSHServer, login *ssh.ClientConfig) {
	folder := filepath.Join(t.TempDir(), "backups")
	store := storeIn(t, SSH(server.Addr(), login), folder, nil)
	_, err := store.Put(t.Context(), "a", func(w io.Writer) error {
		if _, err := w.Write(make([]byte, 4<<20)); err != nil {
			t.Fatal(err)
		}
		server.Kill()
		_, err := w.Write(make([]byte, 4<<20))
		return err
	})
	if err == nil {
		t.Error("an upload to a dead server succeeded")
	}
	server.Restart()
	if list, err := store.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := store.Put(t.Context(), "a", func(w io.Writer) error { _, err := io.WriteString(w, "whole"); return err }); err != nil {
		t.Error(err)
	}
	swept, err := store.sweep(t.Context(), time.Now().Add(time.Hour))
	if err != nil || len(swept) != 1 {
		t.Errorf("swept %v, %v", swept, err)
	}
	infos, err := os.ReadDir(folder)
	if err != nil || len(infos) != 1 {
		t.Errorf("%v, %v", infos, err)
	}
}
