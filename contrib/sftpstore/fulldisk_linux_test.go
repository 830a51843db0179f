package sftpstore

import (
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// fullDisk: a disk that fills up in the middle of an upload is an error. The partial file
// gives its room back, and the files that were there stay.
func fullDisk(t *testing.T, server *testserver.SSHServer, login *ssh.ClientConfig) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m,mode=0700"); err != nil {
		t.Skipf("cannot mount a small disk, which takes root and the right to mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	store := storeIn(t, SSH(server.Addr(), login), filepath.Join(dir, "backups"), nil)
	put := func(name string, size int) error {
		_, err := store.Put(t.Context(), name, func(w io.Writer) error { _, err := w.Write(make([]byte, size)); return err })
		return err
	}
	if err := put("first", 1<<20); err != nil {
		t.Fatal(err)
	}
	if free, err := store.free(t.Context()); err != nil || free > 4<<20 {
		t.Errorf("%d bytes are free, %v", free, err)
	}
	if err := put("second", 8<<20); err == nil {
		t.Error("8 MiB fit into 4")
	}
	if list, err := store.List(t.Context()); err != nil || len(list) != 1 || list[0].Name != "first" || list[0].Size != 1<<20 {
		t.Errorf("%v, %v", list, err)
	}
	if infos, err := os.ReadDir(filepath.Join(dir, "backups")); err != nil || len(infos) != 1 {
		t.Errorf("%v, %v", infos, err)
	}
	if err := put("second", 2<<20); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
