package backup

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// sealed is a small file beside the backups. The checksum proves that its content is
// complete. With Options.ManifestKey, the HMAC proves that a holder of the key wrote it. Both
// include the name of the file, so that the file cannot serve as another one.
type sealed struct {
	Content json.RawMessage `json:"content"`
	SHA256  string          `json:"sha256"`
	HMAC    string          `json:"hmac,omitempty"`
}

// errSeal means that a small file was changed, damaged, or written without the key.
var errSeal = errors.New("it was changed or damaged, or written without the key that this job has")

func (s *sealed) text(name string) []byte { return append([]byte(name+"\n"), s.Content...) }

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func hmacOf(key, data []byte) string {
	code := hmac.New(sha256.New, key)
	code.Write(data)
	return hex.EncodeToString(code.Sum(nil))
}

// seal returns the text of a small file.
func seal(name string, content any, key []byte) ([]byte, error) {
	var s sealed
	var err error
	if s.Content, err = json.Marshal(content); err != nil {
		return nil, err
	}
	s.SHA256 = hashOf(s.text(name))
	if len(key) > 0 {
		s.HMAC = hmacOf(key, s.text(name))
	}
	data, err := json.Marshal(s)
	return append(data, '\n'), err
}

// unseal decodes the text of a small file, and rejects another content than was written.
func unseal(name string, data []byte, content any, key []byte) error {
	var s sealed
	if err := json.Unmarshal(data, &s); err != nil {
		return errSeal
	}
	if s.SHA256 != hashOf(s.text(name)) || len(key) > 0 && !hmac.Equal([]byte(s.HMAC), []byte(hmacOf(key, s.text(name)))) {
		return errSeal
	}
	if json.Unmarshal(s.Content, content) != nil {
		return errSeal
	}
	return nil
}

// writeSealed stores a small file, and replaces an older one.
func (j *Job) writeSealed(ctx context.Context, name string, content any) error {
	data, err := seal(name, content, j.opts.ManifestKey)
	if err != nil {
		return err
	}
	return j.replaceFile(ctx, name, data)
}

// readSealed reads a small file.
func (j *Job) readSealed(ctx context.Context, name string, content any) error {
	data, err := j.readFile(ctx, name)
	if err != nil {
		return err
	}
	if err := unseal(name, data, content, j.opts.ManifestKey); err != nil {
		return fmt.Errorf("backup: %s: %w", name, err)
	}
	return nil
}
