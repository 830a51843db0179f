package command

import (
	"crypto/sha256"
	"database/sql"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// readers are the commands that only read, with their allowed exit codes on a shop.
var readers = []struct {
	args  []string
	codes string // with a shop
	none  int    // without a shop
}{
	{[]string{"analyze"}, "0", 2},
	{[]string{"analyze", "--json"}, "0", 2},
	{[]string{"queries"}, "0", 2},
	{[]string{"health"}, "012", 3},
	{[]string{"health", "--json"}, "012", 3},
	{[]string{"backup", "list"}, "012", 0},
	{[]string{"schedule", "print", "--target=systemd"}, "0", 0},
}

// TestCommandsThatReadMakeNothing runs them with a misspelt folder. They must not create it.
func TestCommandsThatReadMakeNothing(t *testing.T) {
	t.Parallel()
	for _, r := range readers {
		data := filepath.Join(t.TempDir(), "misspelt")
		code, stdout, stderr := pos(t, "", append(r.args, "--data", data)...)
		if _, err := os.Stat(data); !os.IsNotExist(err) {
			t.Errorf("%v made %s", r.args, data)
		}
		if code != r.none {
			t.Errorf("%v: exit code %d, %s %s", r.args, code, stdout, stderr)
		}
	}
}

// TestCommandsThatReadChangeNothing compares the data folder before and after.
func TestCommandsThatReadChangeNothing(t *testing.T) {
	t.Parallel()
	data := demoShop(t)
	before := files(t, data)
	for _, r := range readers {
		code, stdout, stderr := pos(t, "", append(r.args, "--data", data)...)
		if !strings.Contains(r.codes, fmt.Sprint(code)) {
			t.Errorf("%v: exit code %d, %s %s", r.args, code, stdout, stderr)
		}
		if now := files(t, data); now != before {
			t.Errorf("%v changed the folder:\n%s\n%s", r.args, before, now)
			before = now
		}
	}
}

// files lists a folder with the checksum of each file. It leaves out SQLite's shared memory,
// which is no data.
func files(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, "-shm") {
			return err
		}
		data, err := os.ReadFile(path)
		if err == nil && (len(data) > 0 || !strings.HasSuffix(path, "-wal")) {
			fmt.Fprintf(&b, "%s %x\n", strings.TrimPrefix(path, dir), sha256.Sum256(data))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestHealthSaysWhatItsCodeMeans runs pos health on a shop, on one without backups, and without
// a shop.
func TestHealthSaysWhatItsCodeMeans(t *testing.T) {
	t.Parallel()
	shop := demoShop(t)
	for _, test := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--data", shop, "--only=database"}, 0, "all is well"},
		{[]string{"--data", shop, "--only=backups", "--backup-at=off"}, 1, "needs a look"},
		{[]string{"--data", t.TempDir()}, 3, "could not be run"},
		{[]string{"--bogus"}, 3, "bogus"},
	} {
		code, _, stderr := pos(t, "", append([]string{"health"}, test.args...)...)
		if code != test.code || !strings.Contains(stderr, test.says) {
			t.Errorf("%v: exit code %d, %q", test.args, code, stderr)
		}
	}
}

// TestServeFillsItsOwnDatabaseOnly opens databases that another program has made.
func TestServeFillsItsOwnDatabaseOnly(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	foreign := t.TempDir()
	db, err := sql.Open("sqlite", filepath.Join(foreign, "pos.db"))
	if err == nil {
		_, err = db.ExecContext(t.Context(), "CREATE TABLE notes (text TEXT)")
	}
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	if code, _, stderr := pos(t, "", "--data", foreign, "--addr=127.0.0.1:0"); code == 0 || !strings.Contains(stderr, "something else") {
		t.Errorf("the server opened the database of another program: %d %s", code, stderr)
	}
	emptied := demoShop(t)
	if db, err = sql.Open("sqlite", filepath.Join(emptied, "pos.db")); err == nil {
		_, err = db.ExecContext(t.Context(), "PRAGMA foreign_keys = 0; DELETE FROM stock; DELETE FROM sale_items; DELETE FROM products")
	}
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	off := t.TempDir()
	for name, test := range map[string]struct {
		data  string
		flags []string
	}{
		"that was emptied":         {emptied, nil},
		"started with --demo=off":  {off, []string{"--demo=off"}},
		"and then without":         {off, nil},
		"that was emptied, and on": {emptied, []string{"--demo=on"}},
	} {
		if name == "and then without" {
			startOnce(t, off, "--demo=off") // independent of the order of the map
		}
		startOnce(t, test.data, test.flags...)
		s := settings.Default()
		s.Data = test.data
		st, err := store.OpenExisting(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if empty, err := st.Empty(t.Context()); err != nil || !empty {
			t.Errorf("a database %s: demo data (%v)", name, err)
		}
		st.Close()
	}
}

// startOnce starts and stops a server.
func startOnce(t *testing.T, data string, flags ...string) {
	t.Helper()
	p := startPos(t, data, append([]string{"--cashier-password", cashierPassword}, flags...)...)
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}
