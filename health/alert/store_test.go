package alert

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// On a full disk the state is written into the room that the file has.
func TestFileOnFullDisk(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "alerts.json")
	s := File(path).(*file)
	put := func(text string) error {
		return s.Update(t.Context(), func([]byte) ([]byte, error) { return []byte(text), nil })
	}
	get := func() (text string) {
		if err := s.Update(t.Context(), func(b []byte) ([]byte, error) { text = string(b); return b, nil }); err != nil {
			t.Error(err)
		}
		return text
	}
	if err := put("one"); err != nil {
		t.Fatal(err)
	}
	s.replace = func([]byte) error { return syscall.ENOSPC }
	for _, text := range []string{strings.Repeat("x", 10000), "two"} {
		if err := put(text); err != nil || get() != text {
			t.Errorf("%v, %d bytes", err, len(get()))
		}
	}
	if err := put(strings.Repeat("x", fileBlock+1)); !errors.Is(err, syscall.ENOSPC) || get() != "two" {
		t.Errorf("more than there is room for: %v, %q", err, get())
	}
	if info, err := os.Stat(path); err != nil || info.Size() != fileBlock || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}
