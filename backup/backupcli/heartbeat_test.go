package backupcli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/driver"
)

// flaky is a source that can fail.
type flaky struct{ err error }

func (flaky) Describe() driver.Description {
	return driver.Description{Engine: "flaky", Extension: ".bin"}
}
func (flaky) Abilities() driver.Abilities { return driver.Abilities{} }
func (f flaky) Dump(_ context.Context, w io.Writer) (driver.Contents, error) {
	_, err := w.Write(make([]byte, 1000))
	return driver.Contents{Tables: []driver.Table{{Name: "t", Rows: 1}}}, errors.Join(err, f.err)
}

func TestHeartbeat(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for seconds; run it without -short")
	}
	t.Parallel()
	var pings []string
	var refuse atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if refuse.Add(-1) >= 0 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		body, _ := io.ReadAll(r.Body)
		pings = append(pings, r.URL.Path+" "+string(body))
	}))
	defer server.Close()
	folder, err := backup.NewFolder(filepath.Join(t.TempDir(), "backups"))
	if err != nil {
		t.Fatal(err)
	}
	var source flaky
	run := func(url string, args ...string) (int, string) {
		var out, problems bytes.Buffer
		code := Run(t.Context(), args, func(_ context.Context, o backup.Options) (*backup.Job, func(), error) {
			o.Logger = slog.New(slog.DiscardHandler)
			j, err := backup.New("shop", source, folder, &o)
			return j, nil, err
		}, &Options{Stdout: &out, Stderr: &problems, Heartbeat: url})
		return code, problems.String()
	}
	if code, text := run(server.URL + "/secret-token/"); code != Good || text != "" {
		t.Errorf("%d %s", code, text)
	}
	source.err = errors.New("the server is down")
	refuse.Store(1) // and it is tried again
	if code, _ := run(server.URL + "/secret-token"); code != Failed {
		t.Error(code)
	}
	got := strings.Join(pings, "; ")
	if len(pings) != 4 || pings[0] != "/secret-token/start " || pings[1] != "/secret-token " || !strings.HasPrefix(pings[3], "/secret-token/fail backup: dump failed") || !strings.Contains(got, "the server is down") {
		t.Errorf("%s", got)
	}
	// A switch that is away costs no backup, and its address stays secret.
	source.err = nil
	if folder, err = backup.NewFolder(filepath.Join(t.TempDir(), "backups")); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) { // in its own folder, because its clock is another one
		code, text := run("http://127.0.0.1:1/secret-token") // no address of just now: another test's server may have it
		if code != Good || !strings.Contains(text, "the heartbeat was not taken") || strings.Contains(text, "secret-token") {
			t.Errorf("%d %s", code, text)
		}
	})
	if code, _ := run("ftp://x"); code != Usage {
		t.Error(code)
	}
	if code, _ := run(server.URL, "--check-config"); code != Good {
		t.Error(code)
	}
}
