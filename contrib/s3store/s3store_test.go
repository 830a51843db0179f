package s3store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/backuptest"
	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

func TestStorageSuite(t *testing.T) {
	t.Parallel()
	client := clientOf(t, start(t), secretKey)
	for name, locking := range map[string]bool{"plain bucket": false, "bucket with object lock": true} {
		t.Run(name, func(t *testing.T) {
			backuptest.Run(t, func(t testing.TB) backup.Storage {
				return open(t, client, bucket(t, client, locking), &Options{Prefix: "/some/job/", PartSize: 5 << 20})
			})
		})
	}
}

func put(t testing.TB, s *Store, name, text string) {
	t.Helper()
	size, err := s.Put(t.Context(), name, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
	if err != nil || size != int64(len(text)) {
		t.Fatalf("put %s: %d bytes, %v", name, size, err)
	}
}

func list(t testing.TB, s *Store) string {
	t.Helper()
	objects, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names := make([]string, len(objects))
	for i, o := range objects {
		names[i] = o.Name
	}
	sort.Strings(names)
	return strings.Join(names, " ")
}

func TestListPagesAndKeepsToItsPrefix(t *testing.T) {
	client := clientOf(t, start(t), secretKey)
	name := bucket(t, client, false)
	s := open(t, client, name, &Options{Prefix: "jobs/pos"})
	s.page = 3
	var expected []string
	for i := range 10 {
		file := fmt.Sprintf("file-%02d", i)
		put(t, s, file, file)
		expected = append(expected, file)
	}
	put(t, open(t, client, name, &Options{Prefix: "jobs/pos/deeper"}), "no-1", "x")
	put(t, open(t, client, name, &Options{Prefix: "jobs/pos-2"}), "no-2", "x")
	put(t, open(t, client, name, &Options{Prefix: "jobs"}), "no-3", "x")
	if got := list(t, s); got != strings.Join(expected, " ") {
		t.Errorf("listed %s", got)
	}
}

// What is locked stays, visible and readable, and a job may still replace its marks.
func TestRetention(t *testing.T) {
	client := clientOf(t, start(t), secretKey)
	s := open(t, client, bucket(t, client, true), &Options{RetainFor: time.Hour, PartSize: 5 << 20})
	large := strings.Repeat("dump ", 2<<20) // several parts
	put(t, s, "pos_1.dump", large)
	put(t, s, "pos_1.json", "manifest")
	for _, name := range []string{"pos_1.dump", "pos_1.json"} {
		if err := s.Remove(t.Context(), name); !errors.Is(err, backup.ErrRetained) {
			t.Errorf("removing %s: %v", name, err)
		}
	}
	for range 2 {
		for _, name := range []string{"status.json", "pos_1.verify.json", "pos_1.pin", "pos_1.accepted"} {
			for _, data := range []string{"mark", "another mark"} {
				if err := s.Abilities().Replace(t.Context(), name, []byte(data)); err != nil {
					t.Errorf("replacing %s: %v", name, err)
				}
			}
			if err := s.Remove(t.Context(), name); err != nil {
				t.Errorf("removing %s: %v", name, err)
			}
		}
	}
	if got := list(t, s); got != "pos_1.dump pos_1.json" {
		t.Errorf("listed %s", got)
	}
	r, err := s.Open(t.Context(), "pos_1.dump")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != large {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
}

// A locked bucket without the wish to lock: files go, and nothing of them remains.
func TestRemoveFreesTheVersion(t *testing.T) {
	client := clientOf(t, start(t), secretKey)
	name := bucket(t, client, true)
	s := open(t, client, name, nil)
	put(t, s, "pos_1.dump", "data")
	if err := s.Remove(t.Context(), "pos_1.dump"); err != nil {
		t.Fatal(err)
	}
	for info := range client.ListObjects(t.Context(), name, minio.ListObjectsOptions{WithVersions: true, Recursive: true}) {
		t.Errorf("left: %s %s %v %v", info.Key, info.VersionID, info.IsDeleteMarker, info.Err)
	}
}

func TestSweep(t *testing.T) {
	client := clientOf(t, start(t), secretKey)
	name := bucket(t, client, false)
	s := open(t, client, name, &Options{Prefix: "pos"})
	core := minio.Core{Client: client}
	for _, key := range []string{"pos/half.dump", "other/half.dump"} {
		if _, err := core.NewMultipartUpload(t.Context(), name, key, minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if swept, err := s.Sweep(t.Context(), time.Now().Add(-time.Hour)); err != nil || len(swept) > 0 {
		t.Errorf("swept what somebody may still write: %v, %v", swept, err)
	}
	if swept, err := s.Sweep(t.Context(), time.Now().Add(time.Hour)); err != nil || fmt.Sprint(swept) != "[half.dump]" {
		t.Errorf("swept %v, %v", swept, err)
	}
	left := 0
	for upload := range client.ListIncompleteUploads(t.Context(), name, "", true) {
		if left++; upload.Key != "other/half.dump" {
			t.Errorf("left: %s %v", upload.Key, upload.Err)
		}
	}
	if left != 1 {
		t.Errorf("%d uploads left", left)
	}
}

// An upload in parts that fails is aborted: parts that nobody lists would cost money.
func TestFailedUploadsLeaveNothing(t *testing.T) {
	client := clientOf(t, start(t), secretKey)
	name := bucket(t, client, false)
	s := open(t, client, name, &Options{Prefix: "pos", PartSize: 5 << 20})
	failure := errors.New("the dump was killed")
	cancelled, cancel := context.WithCancel(t.Context())
	defer cancel()
	uploads := func() (n int) {
		for upload := range client.ListIncompleteUploads(t.Context(), name, "", true) {
			if upload.Err != nil {
				t.Fatal(upload.Err)
			}
			n++
		}
		return n
	}
	for what, end := range map[string]func() error{
		"failed": func() error { return failure },
		"too-late": func() error {
			put(t, open(t, client, name, &Options{Prefix: "pos"}), "too-late", "another Store's")
			return nil
		},
		"cancelled": func() error { cancel(); return nil },
	} {
		ctx := t.Context()
		if what == "cancelled" {
			ctx = cancelled
		}
		_, err := s.Put(ctx, what, func(w io.Writer) error {
			if _, err := w.Write(make([]byte, 12<<20)); err != nil {
				return err
			}
			if n := uploads(); n != 1 {
				t.Errorf("%s: %d uploads are under way", what, n)
			}
			return end()
		})
		if err == nil {
			t.Errorf("%s: no error", what)
		}
		if n := uploads(); n != 0 {
			t.Errorf("%s: %d uploads are left", what, n)
		}
	}
	if got := list(t, s); got != "too-late" {
		t.Errorf("listed %s", got)
	}
}

func TestRefusals(t *testing.T) {
	addr := start(t)
	client := clientOf(t, addr, secretKey)
	_, err := open(t, client, "no-such-bucket", nil).List(t.Context())
	mustContain(t, err, "there is no bucket")
	_, err = open(t, clientOf(t, addr, "wrong-"+secretKey), bucket(t, client, false), nil).List(t.Context())
	mustContain(t, err, "s3store: ")
	for _, opts := range []*Options{{PartSize: 1}, {Stall: -1}, {RetainFor: -1}, {Timeout: -1}} {
		_, err := New(client, "bucket", opts)
		mustContain(t, err, "s3store: ")
	}
	_, err = New(nil, "bucket", nil)
	mustContain(t, err, "needs a client")
	_, err = New(client, "", nil)
	mustContain(t, err, "name of a bucket")
}

// silent accepts connections and never answers.
func silent(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
		}
	}()
	return listener.Addr().String()
}

func TestHungServer(t *testing.T) {
	t.Parallel()
	s := open(t, clientOf(t, silent(t), secretKey), "bucket", &Options{Timeout: 200 * time.Millisecond, Stall: 200 * time.Millisecond})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, err := s.Put(t.Context(), "a", func(io.Writer) error {
			t.Error("a dump was made for a server that does not answer")
			return nil
		})
		mustContain(t, err, "deadline")
		_, err = s.Open(t.Context(), "a")
		mustContain(t, err, "deadline")
		_, err = s.List(t.Context())
		mustContain(t, err, "stalled")
		mustContain(t, s.Remove(t.Context(), "a"), "deadline")
		_, err = s.Sweep(t.Context(), time.Now())
		mustContain(t, err, "deadline")
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("a hung server was waited for")
	}
}

// through returns a client whose requests pass a handler on their way.
func through(t testing.TB, addr string, handle func(w http.ResponseWriter, r *http.Request, next http.Handler)) *minio.Client {
	t.Helper()
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: addr})
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handle(w, r, proxy) }))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return clientOf(t, server.Listener.Addr().String(), secretKey)
}

func TestStalledTransfers(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	addr := start(t)
	direct := clientOf(t, addr, secretKey)
	name := bucket(t, direct, false)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	hang := func(r *http.Request) {
		io.Copy(io.Discard, r.Body) // only then does the server see that the client has gone
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}

	t.Run("upload", func(t *testing.T) {
		client := through(t, addr, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method == http.MethodPut && r.URL.Query().Get("partNumber") == "2" {
				hang(r)
				return
			}
			next.ServeHTTP(w, r)
		})
		s := open(t, client, name, &Options{PartSize: 5 << 20, Stall: 500 * time.Millisecond})
		_, err := s.Put(t.Context(), "up", func(w io.Writer) error {
			block := make([]byte, 1<<20)
			for range 64 {
				if _, err := w.Write(block); err != nil {
					return err
				}
			}
			return nil
		})
		if !errors.Is(err, errStalled) {
			t.Errorf("the upload ended with %v", err)
		}
		if got := list(t, open(t, direct, name, nil)); got != "" {
			t.Errorf("half a file is visible: %s", got)
		}
	})
	t.Run("a slow dump is no stall", func(t *testing.T) {
		s := open(t, direct, name, &Options{PartSize: 5 << 20, Stall: 2 * time.Second})
		_, err := s.Put(t.Context(), "slow", func(w io.Writer) error {
			for _, pause := range []time.Duration{0, 3 * time.Second} {
				time.Sleep(pause)
				if _, err := w.Write(make([]byte, 700<<10)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	t.Run("download", func(t *testing.T) {
		whole := open(t, direct, name, nil)
		put(t, whole, "down", strings.Repeat("x", 4<<20))
		client := through(t, addr, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/down") {
				next.ServeHTTP(w, r)
				return
			}
			recorded := httptest.NewRecorder()
			next.ServeHTTP(recorded, r)
			for key, values := range recorded.Header() {
				w.Header()[key] = values
			}
			w.WriteHeader(recorded.Code)
			w.Write(recorded.Body.Bytes()[:recorded.Body.Len()/2])
			http.NewResponseController(w).Flush()
			hang(r)
		})
		r, err := open(t, client, name, &Options{Stall: 500 * time.Millisecond}).Open(t.Context(), "down")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if n, err := io.Copy(io.Discard, r); !errors.Is(err, errStalled) || n >= 4<<20 {
			t.Errorf("read %d bytes and %v", n, err)
		}
	})
}

// A server that keeps less than it was sent is found out, and its file removed.
func TestServerThatLosesBytes(t *testing.T) {
	addr := start(t)
	direct := clientOf(t, addr, secretKey)
	name := bucket(t, direct, false)
	stored := false
	client := through(t, addr, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		recorded := httptest.NewRecorder()
		next.ServeHTTP(recorded, r)
		for key, values := range recorded.Header() {
			w.Header()[key] = values
		}
		if r.Method == http.MethodHead && recorded.Code == http.StatusOK {
			w.Header().Set("Content-Length", "3")
			stored = true
		}
		w.WriteHeader(recorded.Code)
		w.Write(recorded.Body.Bytes())
	})
	_, err := open(t, client, name, nil).Put(t.Context(), "a", func(w io.Writer) error {
		_, err := io.WriteString(w, "four")
		return err
	})
	mustContain(t, err, "keeps 3 bytes of 4")
	if got := list(t, open(t, direct, name, nil)); got != "" || !stored {
		t.Errorf("left: %q", got)
	}
}

// fixed is a source that always holds the same.
type fixed struct{ data []byte }

func (f fixed) Describe() driver.Description {
	return driver.Description{Engine: "fixed", Extension: ".bin", Database: "shop"}
}

func (f fixed) Abilities() driver.Abilities { return driver.Abilities{} }

func (f fixed) Dump(_ context.Context, w io.Writer) (driver.Contents, error) {
	_, err := w.Write(f.data)
	return driver.Contents{Tables: []driver.Table{{Name: "t", Rows: 1}}}, err
}

func TestJob(t *testing.T) {
	client := clientOf(t, start(t), secretKey)
	s := open(t, client, bucket(t, client, true), &Options{Prefix: "pos", RetainFor: time.Hour})
	job, err := backup.New("pos", fixed{bytes.Repeat([]byte("row "), 1<<20)}, s, &backup.Options{Compression: backup.None})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		report, err := job.Backup(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !report.Verified {
			t.Error("not verified")
		}
	}
	entries, err := job.List(t.Context())
	if err != nil || len(entries) != 2 {
		t.Fatalf("%d backups, %v", len(entries), err)
	}
}
