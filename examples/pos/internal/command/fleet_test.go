package command

import (
	"path/filepath"
	"testing"

	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
)

// TestBackupElsewhere keeps a backup as one of two servers that have the same host and port. The
// other one must not take it for its own, and report that there is no backup.
func TestBackupElsewhere(t *testing.T) {
	one, two := settings.Default(), settings.Default()
	one.Data, two.Data = t.TempDir(), t.TempDir()
	st, err := store.Open(t.Context(), one)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if err := keepLastBackup(t.Context(), one, st, 4000); err != nil {
		t.Fatal(err)
	}
	if last, err := backupElsewhere(t.Context(), one, st); err != nil || !last.Time.IsZero() {
		t.Errorf("the server that made it: %+v, %v", last, err)
	}
	if last, err := backupElsewhere(t.Context(), two, st); err != nil || last.Size != 4000 || filepath.Base(last.Folder) != "backups" {
		t.Errorf("the other server: %+v, %v", last, err)
	}
}
