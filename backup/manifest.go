package backup

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// manifestFormat is the version of the manifest format. A newer version is reported and
// never deleted.
const manifestFormat = 1

// Manifest describes a backup. It is written once, after all other files, and never
// changed.
type Manifest struct {
	Format     int       `json:"format"`             // version of the manifest format: 1
	ID         string    `json:"id"`                 // JOB_TIME_DIGITS, the beginning of the names of its files
	Job        string    `json:"job"`                // name of the job
	Engine     string    `json:"engine"`             // "sqlite", "mariadb", "postgresql", "files", "bundle", "command", …
	Database   string    `json:"database,omitempty"` // readable name of the source; "" without one
	Started    time.Time `json:"started"`            // start of the run, in UTC
	Ended      time.Time `json:"ended"`              // end of the dump, in UTC
	DurationMS int64     `json:"duration_ms"`        // from Started to Ended, in milliseconds

	File      string `json:"file"`       // name of the stored file in the storage
	Size      int64  `json:"size"`       // of the stored file
	SHA256    string `json:"sha256"`     // of the stored file
	RawSize   int64  `json:"raw_size"`   // of the dump
	RawSHA256 string `json:"raw_sha256"` // of the dump

	Compression Compression `json:"compression"`          // of the stored file
	Encryption  string      `json:"encryption,omitempty"` // "age", with the recipients below
	Recipients  []string    `json:"recipients,omitempty"` // fingerprints

	driver.Contents
	// Accounts are the roles or users that the database needs, as statements. They are
	// compressed and encrypted like the artefact, and stored in base64. [Job.Accounts]
	// decodes them. "" if the source has none.
	Accounts  string `json:"accounts,omitempty"`
	RowsTotal int64  `json:"rows_total"`         // in all tables
	Previous  string `json:"previous,omitempty"` // the newest backup before this one
	// Suspect says in which way this backup is unlike earlier ones. "" if it is not. A
	// suspect backup is kept, and suspends retention.
	Suspect string `json:"suspect,omitempty"`
	Host    string `json:"host,omitempty"`   // name of the host that made the backup; "" if unknown
	Runner  string `json:"runner,omitempty"` // the versions of this module and of Go
	// Checksum is the SHA-256 of the manifest with zeros in the place of Checksum and HMAC.
	Checksum string `json:"checksum"`
	// HMAC authenticates all other fields, if Options.ManifestKey is set.
	HMAC string `json:"hmac,omitempty"`
}

// maxManifest is the size limit of a manifest, which names every table and is read into
// memory.
const maxManifest = 64 << 20

// encode writes a manifest with its checksum. A key authenticates it. Both codes are computed
// over the text with zeros in their places.
func (m *Manifest) encode(key []byte) ([]byte, error) {
	m.Checksum, m.HMAC = noCode, ""
	if len(key) > 0 {
		m.HMAC = noCode
	}
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, err
	}
	data = append(data, '\n')
	m.Checksum = hashOf(data)
	if len(key) > 0 {
		m.HMAC = hmacOf(key, data)
	}
	return replaceCodes(data, noCode, m.Checksum, noCode, m.HMAC), nil
}

var noCode = strings.Repeat("0", 2*sha256.Size)

// replaceCodes replaces the two codes in the text of a manifest, where they are last.
func replaceCodes(data []byte, checksum, newChecksum, code, newCode string) []byte {
	at := max(0, bytes.LastIndex(data, []byte(`"checksum": "`)))
	end := bytes.Replace(data[at:], []byte(`"checksum": "`+checksum+`"`), []byte(`"checksum": "`+newChecksum+`"`), 1)
	end = bytes.Replace(end, []byte(`"hmac": "`+code+`"`), []byte(`"hmac": "`+newCode+`"`), 1)
	return append(bytes.Clone(data[:at]), end...)
}

// runner returns the version of the program that writes manifests.
var runner = sync.OnceValue(func() string {
	const module = "github.com/mainstay-go/mainstay"
	version := "(unknown)"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range append(info.Deps, &info.Main) {
			if m.Path == module {
				version = m.Version
			}
		}
	}
	return "mainstay " + version + ", " + runtime.Version()
})

// errNewerFormat marks a manifest that a newer version of this package wrote.
var errNewerFormat = errors.New("backup: a newer version of this program wrote it")

// parseManifest reads a manifest and rejects a damaged one. It also rejects one that does not
// fit its id, because names from it become part of paths. If there is a key, the manifest
// must be authentic. All formats have the same codes.
func parseManifest(job, id string, data, key []byte) (*Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("backup: the manifest cannot be read: %w", err)
	}
	text := replaceCodes(data, m.Checksum, noCode, m.HMAC, noCode)
	switch {
	case m.Checksum != hashOf(text):
		return nil, errors.New("backup: the manifest was changed or damaged")
	case m.Format > manifestFormat:
		return nil, errNewerFormat
	case m.Format != manifestFormat:
		return nil, fmt.Errorf("backup: the manifest has no known format (%d)", m.Format)
	case len(key) > 0 && !hmac.Equal([]byte(m.HMAC), []byte(hmacOf(key, text))):
		return nil, errors.New("backup: the manifest was changed, or written without the key that this job has")
	case m.ID != id || m.Job != job:
		return nil, fmt.Errorf("backup: the manifest is of another backup (%q)", m.ID)
	case !ValidName(m.File) || stem(job, m.File) != id:
		return nil, fmt.Errorf("backup: the manifest names a file that is not its own (%q)", m.File)
	case m.Size < 0 || m.RawSize < 0 || len(m.SHA256) != 64 || len(m.RawSHA256) != 64:
		return nil, errors.New("backup: the manifest has no checksums")
	case m.Started.IsZero():
		return nil, errors.New("backup: the manifest has no time")
	}
	return &m, nil
}

// publish writes the manifest, which makes the artefact a backup.
func (r *run) publish(ctx context.Context) error {
	data, err := r.dumped.encode(r.opts.ManifestKey)
	if err == nil && len(data) > maxManifest {
		err = fmt.Errorf("the manifest has %d bytes, and %d can be read back: back up fewer tables in one job", len(data), maxManifest)
	}
	if err != nil {
		return errors.Join(err, r.storage.Remove(context.WithoutCancel(ctx), r.dumped.File))
	}
	if _, err := r.storage.Put(ctx, r.id+manifestSuffix, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}); err != nil {
		// The manifest may be there although the storage did not say so. The artefact goes only
		// if it is not.
		late := context.WithoutCancel(ctx)
		there, open := r.storage.Open(late, r.id+manifestSuffix)
		if open == nil {
			_ = there.Close() // nothing was read
		}
		if errors.Is(open, ErrNotFound) {
			err = errors.Join(err, r.storage.Remove(late, r.dumped.File))
		}
		return err
	}
	r.report.Manifest = r.dumped
	return nil
}

// ValidName reports whether name is valid. A storage must accept every valid name.
func ValidName(name string) bool {
	if name == "" || len(name) > 200 || name[0] == '.' {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-')
	})
}
