package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Verification is what reading a backup back has shown.
type Verification struct {
	ID      string    `json:"id"`
	Time    time.Time `json:"time"`
	OK      bool      `json:"ok"`
	Decoded bool      `json:"decoded"` // false: only the stored bytes were compared, such as those of an encrypted one
	Problem string    `json:"problem,omitempty"`
	TookMS  int64     `json:"took_ms"`
	// Drill is the outcome of the latest restore into a scratch database; nil if there
	// was none. It stays when the backup is only read back later.
	Drill *Drill `json:"drill,omitempty"`
}

// ErrVerification means that a backup is not what was dumped.
var ErrVerification = errors.New("backup: verification failed")

// Verify reads a backup back, "" the newest good one: the checksum of the stored bytes,
// then of what they decode to, to the end. The result is kept beside the backup; one
// that failed makes it damaged.
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

// brokenError says that an artefact was read, and is wrong.
type brokenError struct{ why string }

func (e brokenError) Error() string { return e.why }

// readBack compares an artefact with its manifest and hands what it decodes to, if that
// is wanted. The bytes are checked only at their end: until readBack has returned nil,
// none of them can be relied on.
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
		// This host cannot open it, which is the point of it; its bytes can be compared.
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
	if _, err := io.Copy(io.Discard, in); err != nil { // what is behind the end of the stream
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

// sourceReader tells failures of the storage from those of what it holds.
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

// writeError marks a failure of where decoded bytes go to.
type writeError struct{ err error }

func (e writeError) Error() string { return e.err.Error() }
func (e writeError) Unwrap() error { return e.err }

func isWriteError(err error) bool { return errors.As(err, new(writeError)) }

// keep writes the result of a verification in the place of an older one.
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
