package s3store

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

const (
	accessKey = "backup-key"
	secretKey = "s3cr3t-of-the-bucket"
)

// gateway is one real S3 server for all tests of the package.
var gateway struct {
	once    sync.Once
	addr    string
	process *os.Process
	leash   io.Closer
	dir     string
}

func TestMain(m *testing.M) {
	testserver.MostlyWaits(3)
	code := m.Run()
	if gateway.process != nil {
		_ = gateway.process.Kill()
		_ = os.RemoveAll(gateway.dir)
	}
	os.Exit(code)
}

// start returns the address of the server.
func start(t testing.TB) string {
	t.Helper()
	path := testserver.Lookup(t, "versitygw", "golang && go install github.com/versity/versitygw/cmd/versitygw@v1.8.0")
	gateway.once.Do(func() {
		dir, err := os.MkdirTemp("", "s3store-") //nolint:usetesting // the server outlives the first test
		if err != nil {
			t.Fatal(err)
		}
		gateway.dir = dir
		for _, folder := range []string{"data", "meta", "versions"} {
			if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(testserver.FreePort(t)))
		cmd := exec.Command(path, "--port", addr, "posix", "--sidecar", filepath.Join(dir, "meta"),
			"--versioning-dir", filepath.Join(dir, "versions"), filepath.Join(dir, "data"))
		cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+accessKey, "ROOT_SECRET_KEY="+secretKey)
		log, err := os.Create(filepath.Join(dir, "log"))
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		gateway.process = cmd.Process
		// A shell that waits for the end of its input ends the server also where this
		// process is killed and TestMain never returns.
		guard := exec.Command("/bin/sh", "-c", `trap '' INT TERM HUP QUIT; read -r _; kill -9 "$0" 2>/dev/null && rm -rf "$1"`,
			strconv.Itoa(cmd.Process.Pid), dir)
		if gateway.leash, err = guard.StdinPipe(); err == nil {
			err = guard.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			conn, err := net.DialTimeout("tcp", addr, time.Second)
			if err == nil {
				conn.Close()
				break
			}
			if time.Now().After(deadline) {
				output, _ := os.ReadFile(log.Name())
				t.Fatalf("versitygw does not answer: %v\n%s", err, output)
			}
		}
		gateway.addr = addr
	})
	if gateway.addr == "" {
		t.Fatal("versitygw did not start")
	}
	return gateway.addr
}

func clientOf(t testing.TB, addr, secret string) *minio.Client {
	t.Helper()
	client, err := minio.New(addr, &minio.Options{Creds: credentials.NewStaticV4(accessKey, secret, ""), Region: "us-east-1", MaxRetries: 1})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

var buckets atomic.Int64

// bucket makes an empty bucket.
func bucket(t testing.TB, client *minio.Client, locking bool) string {
	t.Helper()
	name := "bucket-" + strconv.FormatInt(buckets.Add(1), 10)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := client.MakeBucket(ctx, name, minio.MakeBucketOptions{Region: "us-east-1", ObjectLocking: locking}); err != nil {
		t.Fatal(err)
	}
	return name
}

func open(t testing.TB, client *minio.Client, bucket string, opts *Options) *Store {
	t.Helper()
	s, err := New(client, bucket, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustContain(t testing.TB, err error, part string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), part) {
		t.Errorf("the error is %v, without %q", err, part)
	}
	if err != nil && strings.Contains(err.Error(), secretKey) {
		t.Errorf("the error holds the secret: %v", err)
	}
}
