package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Verification is the result of reading a backup back.
type Verification struct {
	ID      string    `json:"id"`
	Time    time.Time `json:"time"`
	OK      bool      `json:"ok"`
	Decoded bool      `json:"decoded"` // false: only the stored bytes were compared, for example of an encrypted backup
	Problem string    `json:"problem,omitempty"`
	TookMS  int64     `json:"took_ms"`
	// Drill is the outcome of the latest restore test. It is nil if there was none. It
	// stays if the backup is only read back later.
	Drill *Drill `json:"drill,omitempty"`
}

// ErrVerification means that a backup differs from its dump.
var ErrVerification = errors.New("backup: verification failed")

// Verify reads the backup with this id to its end. It compares the checksums of the stored
// bytes and of the decoded bytes. An id of "" means the newest good backup. The result is
// stored beside the backup. A failed verification makes the backup damaged.
func (j *Job) Verify(ctx context.Context, id string) (Verification, error) {
	e, err := j.Find(ctx, id)
	if err != nil {
		return Verification{}, err
	}
	start := j.now()
	v := Verification{ID: e.ID, Time: start.UTC(), OK: true, Drill: e.Drill}
	switch e.Manifest {
	case nil:
		return v, fmt.Errorf("%w: %s: %s", ErrVerification, e.ID, e.Problem)
	default:
		v.Decoded, err = j.readBack(ctx, e.Manifest, nil)
	}
	var broken brokenError
	if err != nil && !errors.As(err, &broken) {
		return v, fmt.Errorf("backup: %s could not be read: %w", e.ID, err)
	}
	v.TookMS = j.now().Sub(start).Milliseconds()
	if err != nil {
		v.OK, v.Problem = false, broken.Error()
	}
	if err := j.keep(ctx, v); err != nil {
		return v, err
	}
	if !v.OK {
		return v, fmt.Errorf("%w: %s: %s", ErrVerification, e.ID, v.Problem)
	}
	return v, nil
}

// brokenError means that an artefact was read and has the wrong content.
type brokenError struct{ why string }

func (e brokenError) Error() string { return e.why }

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

// sourceReader separates failures of the storage from errors in the stored data.
type sourceReader struct {
	from io.Reader
	ctx  context.Context
	err  error
}

func (r *sourceReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		r.err = err
		return 0, err
	}
	n, err := r.from.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// writeError marks a failure of the writer of the decoded bytes.
type writeError struct{ err error }

func (e writeError) Error() string { return e.err.Error() }
func (e writeError) Unwrap() error { return e.err }

func isWriteError(err error) bool { return errors.As(err, new(writeError)) }

// keep replaces the stored result of a verification.
func (j *Job) keep(ctx context.Context, v Verification) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return j.replaceFile(ctx, v.ID+verifySuffix, append(data, '\n'))
}

func (j *Job) replaceFile(ctx context.Context, name string, data []byte) error {
	return replaceIn(ctx, j.storage, name, data)
}

func (j *Job) readVerification(ctx context.Context, id string) (Verification, error) {
	var v Verification
	data, err := j.readFile(ctx, id+verifySuffix)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return v, fmt.Errorf("backup: %s: %w", id+verifySuffix, err)
	}
	return v, nil
}

func (j *Job) writeFile(ctx context.Context, name string, data []byte) error {
	return putIn(ctx, j.storage, name, data)
}
