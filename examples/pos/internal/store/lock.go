package store

import (
	"os"
	"path/filepath"

	"github.com/gofrs/flock"

	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
)

// Lock creates the data folder and prevents a second server on its SQLite database. The lock
// ends when unlock is called or the process ends for any reason. Commands that run beside the
// server do not need it.
func Lock(s *settings.Settings) (unlock func(), err error) {
	if err := os.MkdirAll(s.Data, 0o700); err != nil {
		return nil, settings.Errorf("--data %s: cannot create the folder: %s", s.Data, reason(err))
	}
	if s.Database.Engine != settings.SQLite {
		return func() {}, nil
	}
	lock := flock.New(filepath.Join(s.Data, "pos.lock"))
	switch ok, err := lock.TryLock(); {
	case err != nil:
		return nil, settings.Errorf("--data %s: cannot lock the folder: %s", s.Data, reason(err))
	case !ok:
		return nil, settings.Errorf("--data %s: another server is running on this folder; stop it or choose another --data", s.Data)
	}
	return func() { _ = lock.Unlock() }, nil
}
