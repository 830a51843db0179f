package s3store

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// TestFullServer: while the disk of the S3 server is full, a run keeps the backup here and says
// that the target has none. After there is space, the next run copies what is missing.
func TestFullServer(t *testing.T) {
	testserver.NeedsLong(t)
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=96m,mode=0777"); err != nil {
		t.Skipf("cannot mount a small disk, which takes root and the right to mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("TMPDIR", disk)
	server := testserver.S3(t)
	t.Setenv("TMPDIR", "/tmp")
	client, err := minio.New(server.Addr(), &minio.Options{Creds: credentials.NewStaticV4(server.AccessKey(), server.SecretKey(), ""), Region: "us-east-1", MaxRetries: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.MakeBucket(t.Context(), "shop", minio.MakeBucketOptions{Region: "us-east-1"}); err != nil {
		t.Fatal(err)
	}
	folder, err := backup.NewFolder(filepath.Join(t.TempDir(), "backups"))
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 12<<20)
	_, _ = rand.Read(data) // it never fails
	job, err := backup.New("pos", fixed{data}, folder, &backup.Options{
		Compression: backup.None, Targets: []backup.Target{{Name: "s3", Storage: open(t, client, "shop", &Options{PartSize: 5 << 20})}},
	})
	if err != nil {
		t.Fatal(err)
	}
	there, err := job.Target("s3")
	if err != nil {
		t.Fatal(err)
	}
	stored := func() int {
		t.Helper()
		entries, err := there.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if _, err := there.Verify(t.Context(), e.ID); err != nil {
				t.Error(err)
			}
		}
		return len(entries)
	}
	if _, err := job.Backup(t.Context()); err != nil || stored() != 1 {
		t.Fatalf("with space: %v", err)
	}
	var free syscall.Statfs_t
	if err := syscall.Statfs(disk, &free); err != nil {
		t.Fatal(err)
	}
	filler := filepath.Join(disk, "filler")
	if err := os.WriteFile(filler, bytes.Repeat([]byte{1}, int(free.Bavail)*int(free.Bsize)-4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	report, err := job.Backup(t.Context())
	if report.Manifest == nil {
		t.Fatalf("nothing is here: %v", err)
	}
	mustContain(t, err, "s3")
	if n := stored(); n != 1 {
		t.Errorf("the full server lists %d backups", n)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if _, err := job.Backup(t.Context()); err != nil || stored() != 3 {
		t.Fatalf("after there is space: %v", err)
	}
}
