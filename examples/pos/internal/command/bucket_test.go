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
// the blocks of docs/backup.md.
func TestBackupToBucket(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	s3 := testserver.S3(t)
	client, err := minio.New(s3.Addr(), &minio.Options{Creds: credentials.NewStaticV4(s3.AccessKey(), s3.SecretKey(), ""), Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.MakeBucket(t.Context(), "backups", minio.MakeBucketOptions{Region: "us-east-1"}); err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	bucket := "POS_BACKUP_TARGET=s3://" + s3.AccessKey() + ":" + url.QueryEscape(s3.SecretKey()) + "@" + s3.Addr() + "/backups/pos?tls=none"
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
	id, _, _ := strings.Cut(run(0, "backup", "list", "--target", "s3"), "ago")
	id = strings.Fields(id[strings.Index(id, "pos_"):])[0]
	for _, with := range []string{"aws", "curl"} {
		folder := typedIn(t, s3, with, id)
		if plain, err := os.ReadFile(filepath.Join(folder, "restored.db")); err != nil || string(plain) != string(want) {
			t.Errorf("docs/backup.md with %s restores %d bytes, pos %d, %v", with, len(plain), len(want), err)
		}
	}
}

// typedIn types the blocks of docs/backup.md about S3 into a shell, in an empty folder. The
// name of the backup, the keys, the region and the address are those of this test.
func typedIn(t *testing.T, s3 *testserver.S3Server, with, id string) (folder string) {
	t.Helper()
	testserver.Lookup(t, with, map[string]string{"aws": "awscli", "curl": "curl"}[with])
	testserver.Lookup(t, "zstd", "zstd")
	testserver.Lookup(t, "sqlite3", "sqlite3")
	document, err := os.ReadFile("../../../../docs/backup.md")
	if err != nil {
		t.Fatal(err)
	}
	block := func(after string, n int) string {
		_, text, found := strings.Cut(string(document), after)
		parts := strings.Split(text, "```")
		if !found || len(parts) <= 2*n+1 || !strings.HasPrefix(parts[2*n+1], "sh\n") {
			t.Fatalf("docs/backup.md has no block %d after %q", n, after)
		}
		return strings.TrimPrefix(parts[2*n+1], "sh\n")
	}
	const s3Section = "### From S3, after the loss of the host\n"
	fetch := block(s3Section, 0)
	if with == "curl" {
		keys, _, _ := strings.Cut(fetch, "\n")
		fetch = keys + "\n" + block(s3Section, 1)
	}
	text := fetch
	for _, line := range strings.Split(block("### Without this program\n", 0), "\n") { // "go on as above"
		if strings.HasPrefix(line, "zstd") || strings.HasPrefix(line, "sqlite3") || with == "aws" && strings.HasPrefix(line, "grep") {
			text += line + "\n"
		}
	}
	for old, now := range map[string]string{
		"pos_20261123T020000Z_4f1c2a": id, "https://s3.example.org": "http://" + s3.Addr(), "eu-west-1": "us-east-1",
		"AWS_ACCESS_KEY_ID=…": "AWS_ACCESS_KEY_ID='" + s3.AccessKey() + "'", "AWS_SECRET_ACCESS_KEY=…": "AWS_SECRET_ACCESS_KEY='" + s3.SecretKey() + "'",
	} {
		text = strings.ReplaceAll(text, old, now)
	}
	folder = t.TempDir()
	shell := exec.CommandContext(t.Context(), "sh", "-e", "-c", text)
	shell.Dir, shell.Env = folder, append(os.Environ(), "AWS_ENDPOINT_URL=http://"+s3.Addr(), "AWS_EC2_METADATA_DISABLED=true", "HOME="+folder)
	out, err := shell.CombinedOutput()
	if err != nil || !strings.HasSuffix(string(out), "ok\n") || with == "aws" && !strings.Contains(string(out), id+".json") {
		t.Fatalf("%s\n%v\n%s", text, err, out)
	}
	return folder
}
