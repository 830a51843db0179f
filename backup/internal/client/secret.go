package client

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// SecretFile holds a password for one client program. Only this user can read it. The zero
// value is no file.
type SecretFile struct{ Path string }

// leftoverAge is the age after which a file is removed.
const leftoverAge = 24 * time.Hour

const secretFolder = "mainstay-secret-"

var secretFolderForm = regexp.MustCompile("^" + secretFolder + `\d+$`)

// NewSecretFile writes the file into a new folder.
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
		_ = os.RemoveAll(filepath.Dir(f.Path)) // only this user can read a remaining file
	}
}

// sweepSecretFiles removes files of killed processes. A program that runs for so long has
// already read its file.
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
			_ = os.RemoveAll(filepath.Join(os.TempDir(), e.Name())) // files of other users stay
		}
	}
}
