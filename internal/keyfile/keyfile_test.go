package keyfile_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/mainstay-go/mainstay/internal/keyfile"
)

func TestReadCreatesOneKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	keys := make([]string, 20)
	var started sync.WaitGroup
	for i := range keys {
		started.Go(func() {
			key, err := keyfile.Read(path)
			if err != nil {
				t.Error(err)
			}
			keys[i] = string(key)
		})
	}
	started.Wait()
	for i, key := range keys {
		if len(key) != 52 || key != keys[0] {
			t.Fatalf("reader %d has the key %q, reader 0 has %q", i, key, keys[0])
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
}

func TestReadRefusesAnEmptyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if key, err := keyfile.Read(path); err == nil {
		t.Fatalf("an empty key file has the key %q", key)
	}
}

func TestReadNeedsAFolder(t *testing.T) {
	if _, err := keyfile.Read(filepath.Join(t.TempDir(), "missing", "key")); err == nil {
		t.Fatal("a key in a folder that does not exist")
	}
}
