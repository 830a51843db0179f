package backup

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	sqldriver "database/sql/driver"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

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
		r.warn(ctx, "the dump was repeated after an error: "+strings.TrimPrefix(oneLine(err), "backup: "))
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
	if half := r.halfRestored(ctx); half != "" {
		m.Suspect = strings.TrimSuffix(half+"; "+m.Suspect, "; ")
	}
	r.report.Warnings = m.Warnings
	r.dumped = m
	return nil
}

// Compression is the compression of the artefacts.
type Compression string

// The compressions.
const (
	Zstd       Compression = "zstd"        // the default: fast, and about the size of gzip -6
	ZstdBetter Compression = "zstd-better" // an eighth smaller than gzip -6, at half the speed of Zstd
	Gzip       Compression = "gzip"
	None       Compression = "none"
)

// ParseCompression parses the name of a compression. "" is the default.
func ParseCompression(s string) (Compression, error) {
	switch c := Compression(s); c {
	case "":
		return Zstd, nil
	case Zstd, ZstdBetter, Gzip, None:
		return c, nil
	}
	return "", fmt.Errorf("backup: unknown compression %q: use zstd, zstd-better, gzip or none", s)
}

// extension returns the file name extension of the compression.
func (c Compression) extension() string {
	switch c {
	case Gzip:
		return ".gz"
	case None:
		return ""
	default:
		return ".zst"
	}
}

// encoder turns a dump into a stored file. It counts and hashes, compresses, encrypts, and
// counts and hashes again. Its memory does not grow with the dump.
type encoder struct {
	raw, stored measured
	top         io.Writer
	closers     []io.Closer // closed in reverse order
}

// measured counts and hashes the bytes that are written to it.
type measured struct {
	n   int64
	sum hash.Hash
}

func newMeasured() measured { return measured{sum: sha256.New()} }

func (m *measured) Write(p []byte) (int, error) {
	m.n += int64(len(p))
	return m.sum.Write(p)
}

func (m *measured) hex() string { return hex.EncodeToString(m.sum.Sum(nil)) }

func newEncoder(to io.Writer, c Compression, recipients []age.Recipient) (*encoder, error) {
	e := &encoder{raw: newMeasured(), stored: newMeasured()}
	w := io.MultiWriter(to, &e.stored)
	if len(recipients) > 0 {
		encrypted, err := age.Encrypt(w, recipients...)
		if err != nil {
			return nil, fmt.Errorf("backup: encrypt: %w", err)
		}
		w, e.closers = encrypted, append(e.closers, encrypted)
	}
	var compressed io.WriteCloser
	var err error
	switch c {
	case Gzip:
		compressed, err = gzip.NewWriterLevel(w, gzip.DefaultCompression)
	case Zstd:
		compressed, err = zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(2), zstd.WithWindowSize(4<<20))
	case ZstdBetter:
		// This window fits into the cache of one core. It is a quarter faster than 4 MiB,
		// and the output is one hundredth larger.
		compressed, err = zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithEncoderConcurrency(2), zstd.WithWindowSize(512<<10))
	}
	if err != nil {
		return nil, fmt.Errorf("backup: compress: %w", err)
	}
	if compressed != nil {
		w, e.closers = compressed, append(e.closers, compressed)
	}
	e.top = io.MultiWriter(&e.raw, w)
	return e, nil
}

func (e *encoder) Write(p []byte) (int, error) { return e.top.Write(p) }

// Close flushes the compressor and then the encryption.
func (e *encoder) Close() error {
	var errs []error
	for i := len(e.closers) - 1; i >= 0; i-- {
		errs = append(errs, e.closers[i].Close())
	}
	e.closers = nil
	return errors.Join(errs...)
}

// ErrNoIdentity means that a backup is encrypted and that no given identity opens it.
var ErrNoIdentity = errors.New("backup: the backup is encrypted: give the age identity that opens it")

// noIdentity says whether identities were given. After a change of keys, they may be the wrong
// ones.
func noIdentity(given []age.Identity) error {
	if len(given) == 0 {
		return ErrNoIdentity
	}
	return fmt.Errorf("%w. The given identity does not: a backup of before a change of keys needs the identity of that time, and several may be given", ErrNoIdentity)
}

// newDecoder returns the dump of a stored file. Close frees its memory.
func newDecoder(from io.Reader, m *Manifest, identities []age.Identity) (io.ReadCloser, error) {
	r := from
	if m.Encryption != "" {
		if len(identities) == 0 {
			return nil, ErrNoIdentity
		}
		decrypted, err := age.Decrypt(r, identities...)
		var none *age.NoIdentityMatchError
		if errors.As(err, &none) {
			return nil, noIdentity(identities)
		}
		if err != nil {
			return nil, fmt.Errorf("backup: decrypt: %w", err)
		}
		r = decrypted
	}
	switch m.Compression {
	case None:
		return io.NopCloser(r), nil
	case Gzip:
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("backup: decompress: %w", err)
		}
		return z, nil
	case Zstd, ZstdBetter:
		// This package never writes a larger window, so such a file is not from this
		// package.
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(64<<20), zstd.WithDecoderMaxWindow(32<<20))
		if err != nil {
			return nil, fmt.Errorf("backup: decompress: %w", err)
		}
		return z.IOReadCloser(), nil
	}
	return nil, fmt.Errorf("backup: unknown compression %q", m.Compression)
}

// fingerprints returns a short hash of each recipient that has a text form.
func fingerprints(recipients []age.Recipient) []string {
	var list []string
	for _, r := range recipients {
		if s, ok := r.(fmt.Stringer); ok {
			sum := sha256.Sum256([]byte(s.String()))
			list = append(list, hex.EncodeToString(sum[:8]))
		}
	}
	return list
}

// maxAccounts is the size limit of the accounts, which are part of the manifest.
const maxAccounts = 4 << 20

// accounts adds the accounts to a manifest. They are compressed and encrypted like the
// artefact. If the source cannot read them, the report has a warning and the backup
// continues.
func (r *run) accounts(ctx context.Context, m *Manifest) {
	read := r.source.Abilities().Accounts
	if read == nil {
		return
	}
	var stored bytes.Buffer
	holds, err := func() (holds driver.Contents, err error) {
		e, err := newEncoder(&stored, m.Compression, r.opts.Recipients)
		if err != nil {
			return holds, err
		}
		holds, err = read(ctx, e)
		err = errors.Join(err, e.Close())
		if err == nil && e.stored.n > maxAccounts {
			err = fmt.Errorf("they take %d bytes, and %d are allowed", e.stored.n, maxAccounts)
		}
		return holds, err
	}()
	if err != nil {
		r.warn(ctx, "the accounts are not in the backup: "+strings.TrimPrefix(oneLine(err), "backup: "))
		return
	}
	r.report.Warnings = append(r.report.Warnings, holds.Warnings...)
	m.Accounts = base64.StdEncoding.EncodeToString(stored.Bytes())
}

// Accounts writes the accounts of the backup with this id. "" means the newest good backup.
// The accounts are the statements that create the roles or users of the database, with
// their privileges, on another server. They contain password hashes if the source could
// read them. The error is ErrNotFound if the backup has no accounts.
func (j *Job) Accounts(ctx context.Context, id string, w io.Writer) error {
	e, err := j.Find(ctx, id)
	if err != nil {
		return err
	}
	if e.Manifest == nil || e.Manifest.Accounts == "" {
		return fmt.Errorf("%w: %s holds no accounts", ErrNotFound, e.ID)
	}
	stored, err := base64.StdEncoding.DecodeString(e.Manifest.Accounts)
	if err != nil {
		return fmt.Errorf("backup: the accounts of %s: %w", e.ID, err)
	}
	decoder, err := newDecoder(bytes.NewReader(stored), e.Manifest, j.opts.Identities)
	if err != nil {
		return err
	}
	defer decoder.Close()
	if _, err := io.Copy(w, decoder); err != nil {
		return fmt.Errorf("backup: the accounts of %s: %w", e.ID, err)
	}
	return nil
}

func isWriteError(err error) bool { return errors.As(err, new(writeError)) }

// readBack compares an artefact with its manifest, and writes the decoded bytes to the
// writer to, unless it is nil. The bytes are verified only at the end. Do not rely on any
// of them before readBack has returned nil.
func (j *Job) readBack(ctx context.Context, m *Manifest, to io.Writer) (decoded bool, err error) {
	file, err := j.storage.Open(ctx, m.File)
	if err != nil {
		if errors.Is(err, ErrNotFound) {
			return false, brokenError{"the artefact is missing"}
		}
		return false, err
	}
	defer file.Close()
	stored, raw := newMeasured(), newMeasured()
	source := &sourceReader{from: file, ctx: ctx}
	in := io.TeeReader(source, &stored)

	decoder, err := newDecoder(in, m, j.opts.Identities)
	switch {
	case errors.Is(err, ErrNoIdentity) && to == nil:
		// This host cannot open the artefact, by design. Its stored bytes can be compared.
	case err != nil && source.err != nil:
		return false, source.err
	case errors.Is(err, ErrNoIdentity):
		return false, err
	case err != nil:
		return false, brokenError{err.Error()}
	default:
		defer decoder.Close()
		out := io.Writer(&raw)
		if to != nil {
			out = io.MultiWriter(&raw, to)
		}
		if _, err := io.Copy(out, decoder); err != nil {
			if source.err != nil {
				return false, source.err
			}
			if to != nil && raw.n < m.RawSize && ctx.Err() == nil && isWriteError(err) {
				return false, err
			}
			return false, brokenError{"it does not decode: " + err.Error()}
		}
		decoded = true
	}
	if _, err := io.Copy(io.Discard, in); err != nil { // bytes after the end of the stream
		return false, err
	}
	switch {
	case stored.n != m.Size || stored.hex() != m.SHA256:
		return false, brokenError{"its checksum is wrong: the file was changed or damaged"}
	case decoded && (raw.n != m.RawSize || raw.hex() != m.RawSHA256):
		return false, brokenError{"it decodes to something else than was dumped"}
	}
	return decoded, nil
}

// oneLine returns the text of an error in one line. The error may be a joined one.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// anew resets the progress when a dump is retried.
func (p *progress) anew() {
	if p != nil {
		p.now.Raw, p.now.Rows, p.now.Rate, p.raw = 0, 0, 0, 0
	}
}
