package backup

import (
	"cmp"
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/backup/driver"
)

const (
	// dumpTries is the maximum number of dumps that one run starts.
	dumpTries = 3
	// dumpPause is the time between them. A server may restart, or a migration may end.
	dumpPause = 10 * time.Second
)

func passes(err error) bool {
	return errors.Is(err, driver.ErrTransient) || errors.Is(err, sqldriver.ErrBadConn) || errors.As(err, new(*net.OpError))
}

// dump writes the artefact, and retries after a temporary failure.
func (r *run) dump(ctx context.Context) error {
	for try := 1; ; try++ {
		err := r.dumpOnce(ctx)
		if err == nil || try == dumpTries || ctx.Err() != nil || !passes(err) {
			return err
		}
		r.warn(ctx, "the dump was begun anew, after "+strings.TrimPrefix(oneLine(err), "backup: "))
		select {
		case <-ctx.Done():
			return err
		case <-time.After(r.pause):
		}
		r.progress.anew()
	}
}

// dumpOnce writes the artefact, which is invisible until its Put returns.
func (r *run) dumpOnce(ctx context.Context) error {
	d := r.source.Describe()
	m := &Manifest{
		Format: manifestFormat, ID: r.id, Job: r.name, Engine: d.Engine, Database: d.Database, Started: r.started.UTC(),
		Compression: r.opts.Compression, Recipients: fingerprints(r.opts.Recipients),
		File: r.id + d.Extension + r.opts.Compression.extension(),
	}
	if len(r.opts.Recipients) > 0 {
		m.Encryption = "age"
		m.File += ".age"
	}
	m.Host, _ = os.Hostname()
	m.Runner = runner()
	if last := newest(r.before, func(Entry) bool { return true }); last != nil {
		m.Previous = last.ID
	}
	size, err := r.storage.Put(ctx, m.File, func(w io.Writer) error {
		e, err := newEncoder(w, r.opts.Compression, r.opts.Recipients)
		if err != nil {
			return err
		}
		m.Contents, err = r.source.Dump(ctx, &dumpWriter{ctx, e, r.progress})
		// The encoder also closes its stream after an error, to free its memory.
		if err := cmp.Or(err, e.Close(), ctx.Err()); err != nil {
			return err
		}
		m.RawSize, m.RawSHA256, m.Size, m.SHA256 = e.raw.n, e.raw.hex(), e.stored.n, e.stored.hex()
		if m.RawSize == 0 {
			return errors.New("the dump is empty")
		}
		return nil
	})
	if err != nil {
		return err
	}
	if size != m.Size {
		return errors.Join(fmt.Errorf("the storage kept %d bytes of %d", size, m.Size), r.storage.Remove(ctx, m.File))
	}
	r.accounts(ctx, m)
	m.RowsTotal = m.Rows()
	m.Ended = r.now().UTC()
	m.DurationMS = m.Ended.Sub(m.Started).Milliseconds()
	m.Warnings = append(r.report.Warnings, m.Warnings...)
	m.Suspect = suspicion(m, r.before)
	r.report.Warnings = m.Warnings
	r.dumped = m
	return nil
}
