package backup

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// manifestFormat is the version of the manifest's form. A newer one is reported and
// never deleted.
const manifestFormat = 1

// Manifest describes a backup. It is written once, after everything else, and never
// changed.
type Manifest struct {
	Format     int       `json:"format"`
	ID         string    `json:"id"`
	Job        string    `json:"job"`
	Engine     string    `json:"engine"`
	Database   string    `json:"database,omitempty"`
	Started    time.Time `json:"started"`
	Ended      time.Time `json:"ended"`
	DurationMS int64     `json:"duration_ms"`

	File      string `json:"file"`
	Size      int64  `json:"size"`       // of the stored file
	SHA256    string `json:"sha256"`     // of the stored file
	RawSize   int64  `json:"raw_size"`   // of the dump
	RawSHA256 string `json:"raw_sha256"` // of the dump

	Compression Compression `json:"compression"`
	Encryption  string      `json:"encryption,omitempty"` // "age", with the recipients below
	Recipients  []string    `json:"recipients,omitempty"` // fingerprints

	Contents
	RowsTotal int64  `json:"rows_total"`
	Previous  string `json:"previous,omitempty"` // the newest backup before this one
	// Suspect says why this backup looks unlike those before it; "" if it does not. A
	// suspect one is kept, but nothing is deleted because of it.
	Suspect string `json:"suspect,omitempty"`
	Host    string `json:"host,omitempty"`
}

func (m *Manifest) encode() ([]byte, error) {
	data, err := json.MarshalIndent(m, "", "  ")
	return append(data, '\n'), err
}

// errNewerFormat marks a manifest that a newer version of this package wrote.
var errNewerFormat = errors.New("backup: a newer version of this program wrote it")

// parseManifest reads a manifest and refuses one that does not make sense for its id:
// names from it become part of paths.
func parseManifest(job, id string, data []byte) (*Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("backup: the manifest cannot be read: %w", err)
	}
	switch {
	case m.Format > manifestFormat:
		return nil, errNewerFormat
	case m.Format != manifestFormat:
		return nil, fmt.Errorf("backup: the manifest has no known format (%d)", m.Format)
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
