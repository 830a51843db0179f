package s3store

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mainstay-go/mainstay/backup"
)

// A key that may not delete, nor list unfinished uploads, still brings every copy. Its warnings
// name what it could not remove.
func TestKeyThatMayOnlyWrite(t *testing.T) {
	addr := start(t)
	direct := clientOf(t, addr, secretKey)
	for _, versioned := range []bool{false, true} {
		client := through(t, addr, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method == http.MethodDelete || r.Method == http.MethodGet && r.URL.Query().Has("uploads") {
				w.Header().Set("Content-Type", "application/xml")
				w.WriteHeader(http.StatusForbidden)
				fmt.Fprint(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>`)
				return
			}
			next.ServeHTTP(w, r)
		})
		bucket := bucket(t, direct, versioned)
		source := fixed{bytes.Repeat([]byte("row "), 1<<18)}
		folder, err := backup.NewFolder(filepath.Join(t.TempDir(), "backups"))
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		job, err := backup.New("pos", source, folder, &backup.Options{
			Compression: backup.None, Logger: slog.New(slog.NewTextHandler(&log, nil)),
			Targets: []backup.Target{{Name: "s3", Storage: open(t, client, bucket, &Options{Prefix: "copies"}), NoRetention: true}},
		})
		if err != nil {
			t.Fatal(err)
		}
		own, err := backup.New("pos", source, open(t, client, bucket, &Options{Prefix: "own"}), &backup.Options{
			Compression: backup.None, Logger: slog.New(slog.DiscardHandler), NoRetention: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			r, err := job.Backup(t.Context())
			if err != nil || len(r.Targets) != 1 || !r.Targets[0].OK || len(r.Targets[0].Copied) != 1 {
				t.Errorf("versioned %v: %v, %+v", versioned, err, r.Targets)
			}
			r, err = own.Backup(t.Context())
			if err != nil || !strings.Contains(strings.Join(r.Warnings, ";"), "leftovers of interrupted runs could not be removed") {
				t.Errorf("versioned %v: %v, %v", versioned, err, r.Warnings)
			}
		}
		if !strings.Contains(log.String(), "leftovers of interrupted copies could not be removed") {
			t.Errorf("the log is %s", log.String())
		}
		target, err := job.Target("s3")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := target.Verify(t.Context(), ""); err != nil { // replaces its mark
			t.Errorf("versioned %v: %v", versioned, err)
		}
		if _, err := own.Preflight(t.Context()); err != nil {
			t.Errorf("versioned %v: %v", versioned, err)
		}
	}
}
