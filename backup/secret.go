package backup

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// secretFile holds a password for one client program, where only this user can read it.
// Its zero value is none.
type secretFile struct{ path string }

const secretFolder = "mainstay-secret-"

var secretFolderForm = regexp.MustCompile("^" + secretFolder + `\d+$`)

// newSecretFile writes it into a folder of its own.
func newSecretFile(name, content string) (secretFile, error) {
	sweepSecretFiles(time.Now().Add(-leftoverAge))
	dir, err := os.MkdirTemp("", secretFolder) // mode 0700
	if err != nil {
		return secretFile{}, fmt.Errorf("backup: create a folder for the password: %w", err)
	}
	f := secretFile{filepath.Join(dir, name)}
	if err := os.WriteFile(f.path, []byte(content), 0o600); err != nil {
		f.remove()
		return secretFile{}, fmt.Errorf("backup: write the password for the client program: %w", err)
	}
	return f, nil
}

func (f secretFile) remove() {
	if f.path != "" {
		_ = os.RemoveAll(filepath.Dir(f.path)) // what is left can be read by this user alone
	}
}

// sweepSecretFiles removes what processes left that were killed. A program that has run
// for so long has read its file.
func sweepSecretFiles(before time.Time) {
	entries, err := os.ReadDir(os.TempDir())
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.IsDir() || !secretFolderForm.MatchString(e.Name()) {
			continue
		}
		if info, err := e.Info(); err == nil && info.ModTime().Before(before) {
			_ = os.RemoveAll(filepath.Join(os.TempDir(), e.Name())) // another user's stays
		}
	}
}
