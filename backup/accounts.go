package backup

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/mainstay-go/mainstay/backup/driver"
)

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
