package command

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// TestBackupToBucket copies backups to a real S3 server, continues while the server is down,
// and copies the missing ones later. It then restores from the server alone, with pos, and with
// curl and zstd.
func TestBackupToBucket(t *testing.T) {
	t.Parallel()
	s3 := testserver.S3(t)
	client, err := minio.New(s3.Addr(), &minio.Options{Creds: credentials.NewStaticV4(s3.AccessKey(), s3.SecretKey(), ""), Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.MakeBucket(t.Context(), "shop", minio.MakeBucketOptions{Region: "us-east-1"}); err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	bucket := "POS_BACKUP_TARGET=s3://" + s3.AccessKey() + ":" + url.QueryEscape(s3.SecretKey()) + "@" + s3.Addr() + "/shop/backups?tls=none"
	run := func(want int, args ...string) string {
		t.Helper()
		code, stdout, stderr := pos(t, bucket, append(args, "--data", data)...)
		if code != want || strings.Contains(stdout+stderr, s3.SecretKey()) {
			t.Fatalf("%v: exit %d\n%s%s", args, code, stdout, stderr)
		}
		return stdout + stderr
	}
	run(0, "seed", "--products", "20", "--customers", "5", "--sales", "50")
	if out := run(0, "backup"); !strings.Contains(out, "target s3: 1 copied") {
		t.Errorf("said %s", out)
	}
	s3.Kill()
	if out := run(3, "backup"); !strings.Contains(out, "target s3") {
		t.Errorf("said %s", out)
	}
	if out := run(0, "backup", "list", "--json"); strings.Count(out, `"state": "good"`) != 2 {
		t.Errorf("listed here: %s", out)
	}
	s3.Restart()
	if out := run(0, "backup"); !strings.Contains(out, "target s3: 2 copied") {
		t.Errorf("said %s", out)
	}
	if out := run(0, "backup", "list", "--target", "s3", "--json"); strings.Count(out, `"state": "good"`) != 3 {
		t.Errorf("listed there: %s", out)
	}
	if out := run(0, "backup", "verify", "--all", "--target", "s3"); strings.Count(out, "decodes to what was dumped") != 3 {
		t.Errorf("said %s", out)
	}

	// The shop's own disk is lost.
	if err := os.RemoveAll(data); err != nil {
		t.Fatal(err)
	}
	restored := filepath.Join(data, "pos.db")
	if out := run(0, "backup", "restore", "--target", "s3", "--to", restored); !strings.Contains(out, "restored as") {
		t.Errorf("said %s", out)
	}
	want, err := os.ReadFile(restored)
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range []string{"curl", "zstd"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Logf("without %s the restore by stock tools is left out", tool)
			return
		}
	}
	id, _, _ := strings.Cut(run(0, "backup", "list", "--target", "s3"), "ago")
	id = strings.Fields(id[strings.Index(id, "pos_"):])[0]
	got := filepath.Join(t.TempDir(), "restored.db")
	by := exec.Command("sh", "-c", `curl -sf --aws-sigv4 aws:amz:us-east-1:s3 -u "$KEY" -H "x-amz-content-sha256: UNSIGNED-PAYLOAD" "$URL" | zstd -qd -o "$TO"`)
	by.Env = append(os.Environ(), "KEY="+s3.AccessKey()+":"+s3.SecretKey(), "URL=http://"+s3.Addr()+"/shop/backups/"+id+".db.zst", "TO="+got)
	if out, err := by.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if plain, err := os.ReadFile(got); err != nil || string(plain) != string(want) {
		t.Errorf("stock tools restore %d bytes, pos %d, %v", len(plain), len(want), err)
	}
}
