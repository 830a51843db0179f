package notify

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/mainstay-go/mainstay/internal/atomicfile"
)

// spooled is one file of a spool.
type spooled struct {
	Message  Message   `json:"message"`
	Attempts int       `json:"attempts"`
	Due      time.Time `json:"due"`
}

// spoolDir is a folder with one file per message. The order of the names is the order
// of arrival. Files appear and change by rename, so that no file is incomplete.
type spoolDir struct{ path string }

const (
	spoolSuffix = ".message.json"
	spoolDigits = 20
)

// maxSpooled is larger than any message after prepared.
const maxSpooled = 4 << 20

func (d spoolDir) add(entry spooled, limit int) (name string, err error) {
	names := d.list()
	if len(names) >= limit {
		return "", ErrSpoolFull
	}
	number := time.Now().UnixNano()
	if len(names) > 0 { // the clock may have been ahead when the last message was stored
		if last, err := strconv.ParseInt(names[len(names)-1][:spoolDigits], 10, 64); err == nil && last < math.MaxInt64 {
			number = max(number, last+1)
		}
	}
	name = fmt.Sprintf("%0*d-%s%s", spoolDigits, number, entry.Message.id(), spoolSuffix)
	return name, d.write(name, entry)
}

func (d spoolDir) write(name string, entry spooled) error {
	return atomicfile.Write(filepath.Join(d.path, name), 0o600, func(w io.Writer) error {
		return json.NewEncoder(w).Encode(entry)
	})
}

func (d spoolDir) list() []string {
	entries, err := os.ReadDir(d.path) // sorted by name
	if err != nil {
		return nil // if it cannot be listed, it cannot be read either; write and read report the error
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), spoolSuffix) && len(e.Name()) > spoolDigits && e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names
}

// sweep removes the temporary files of writes that a crash has interrupted. A normal
// write takes milliseconds.
func (d spoolDir) sweep(now time.Time) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), atomicfile.TempPrefix) || !e.Type().IsRegular() {
			continue
		}
		if info, err := e.Info(); err == nil && now.Sub(info.ModTime()) > time.Hour {
			_ = os.Remove(filepath.Join(d.path, e.Name())) // otherwise the next sweep tries again
		}
	}
}

func (d spoolDir) read(name string) (entry spooled, err error) {
	f, err := os.Open(filepath.Join(d.path, name))
	if err != nil {
		return entry, err
	}
	defer f.Close()
	return entry, json.NewDecoder(io.LimitReader(f, maxSpooled)).Decode(&entry)
}

func (d spoolDir) remove(name string) error { return os.Remove(filepath.Join(d.path, name)) }

// setAside keeps a damaged file for a person and removes it from the queue.
func (d spoolDir) setAside(name string) {
	path := filepath.Join(d.path, name)
	_ = os.Rename(path, strings.TrimSuffix(path, spoolSuffix)+".damaged") // otherwise it is found and logged again
}

// lock prevents other processes from delivering at the same time. The system releases
// it when this process dies.
func (d spoolDir) lock() (unlock func(), ok bool) {
	l := flock.New(filepath.Join(d.path, "lock"), flock.SetPermissions(0o600))
	if ok, err := l.TryLock(); err != nil || !ok {
		return nil, false
	}
	return func() { _ = l.Unlock() }, true
}
