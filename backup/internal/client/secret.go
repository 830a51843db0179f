package client

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// SecretFile holds a password for one client program, where only this user can read it.
// Its zero value is none.
type SecretFile struct{ Path string }

// leftoverAge is how old a file must be to be removed.
const leftoverAge = 24 * time.Hour

const secretFolder = "mainstay-secret-"

var secretFolderForm = regexp.MustCompile("^" + secretFolder + `\d+$`)

// NewSecretFile writes it into a folder of its own.
func NewSecretFile(name, content string) (SecretFile, error) {
	sweepSecretFiles(time.Now().Add(-leftoverAge))
	dir, err := os.MkdirTemp("", secretFolder) // mode 0700
	if err != nil {
		return SecretFile{}, fmt.Errorf("backup: create a folder for the password: %w", err)
	}
	f := SecretFile{filepath.Join(dir, name)}
	if err := os.WriteFile(f.Path, []byte(content), 0o600); err != nil {
		f.Remove()
		return SecretFile{}, fmt.Errorf("backup: write the password for the client program: %w", err)
	}
	return f, nil
}

// Remove deletes the file.
func (f SecretFile) Remove() {
	if f.Path != "" {
		_ = os.RemoveAll(filepath.Dir(f.Path)) // what is left can be read by this user alone
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
