// Package keyfile keeps a random key in a file, for a service that has no settings of its own for it.
package keyfile

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/mainstay-go/mainstay/internal/atomicfile"
)

// Read returns the key in the file at path. If there is no file, Read creates it with 260 random bits in 52 printable
// bytes, mode 0600. Processes that create the file at the same time return the same key.
func Read(path string) ([]byte, error) {
	key, err := os.ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		if err == nil && len(key) == 0 {
			err = fmt.Errorf("the key file %s is empty: restore it, or remove it and lose what the old key signed", path)
		}
		return key, err
	}
	key = []byte(rand.Text() + rand.Text())
	err = atomicfile.Create(path, 0o600, func(w io.Writer) error {
		_, err := w.Write(key)
		return err
	})
	if errors.Is(err, fs.ErrExist) {
		return os.ReadFile(path)
	}
	return key, err
}
