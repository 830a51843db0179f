package sftpstore

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pkg/sftp"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/backuptest"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

func sftpServer(t testing.TB) string {
	t.Helper()
	for _, path := range []string{"/usr/lib/openssh/sftp-server", "/usr/libexec/sftp-server", "/usr/lib/ssh/sftp-server"} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return testserver.Lookup(t, "sftp-server", "openssh-sftp-server")
}

// piped speaks to OpenSSH's sftp-server without a connection between.
func piped(t testing.TB) Connect {
	server := sftpServer(t)
	return func(ctx context.Context) (*sftp.Client, error) {
		cmd := exec.CommandContext(ctx, server)
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
	t.Parallel()
	connect := piped(t)
	backuptest.Run(t, func(t testing.TB) backup.Storage {
		return storeIn(t, connect, filepath.Join(t.TempDir(), "backups", "pos"), nil)
	})
}

// A server that dies in the middle leaves nothing that is listed, and one that hangs ends
// the call.
func TestDeadAndHungServers(t *testing.T) {
	t.Parallel()
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
