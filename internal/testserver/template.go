package testserver

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// fromTemplate makes the data folder of a database server. The command create makes it, which
// takes seconds. So a copy stays in the cache folder of the user, and later calls copy that.
// Another program or other settings have another copy.
func fromTemplate(t testing.TB, kind, data string, create *exec.Cmd, settings ...string) {
	t.Helper()
	template := templateOf(kind, create.Path, settings)
	if template != "" && exec.Command("cp", "-Rp", template, data).Run() == nil {
		return
	}
	os.RemoveAll(data) // a part of a copy
	if out, err := create.CombinedOutput(); err != nil {
		t.Fatalf("testserver: %s: %v\n%s", filepath.Base(create.Path), err, out)
	}
	if template == "" {
		return
	}
	// Without the copy, the next server takes longer to start.
	part, err := os.MkdirTemp(filepath.Dir(template), "part-")
	if err != nil {
		return
	}
	defer os.RemoveAll(part)
	if exec.Command("cp", "-Rp", data, filepath.Join(part, "data")).Run() == nil {
		os.Rename(filepath.Join(part, "data"), template) // another process may have been faster
	}
}

// templateOf returns the place of the copy, or "" if this user has no cache folder.
func templateOf(kind, program string, settings []string) string {
	cache, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	about, err := os.Stat(program)
	if err != nil {
		return ""
	}
	folder := filepath.Join(cache, "mainstay-testserver")
	if os.MkdirAll(folder, 0o700) != nil {
		return ""
	}
	key := sha256.Sum256(fmt.Append(nil, program, about.Size(), about.ModTime(), settings))
	return filepath.Join(folder, fmt.Sprintf("%s-%x", kind, key[:8]))
}
