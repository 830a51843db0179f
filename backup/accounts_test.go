package backup

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// roleSource has accounts.
type roleSource struct {
	*fakeSource
	failure error
}

func (s roleSource) Abilities() driver.Abilities {
	able := s.fakeSource.Abilities()
	able.Accounts = func(_ context.Context, w io.Writer) (driver.Contents, error) {
		_, err := io.WriteString(w, "CREATE ROLE web PASSWORD 'SCRAM-SHA-256$hash';\n")
		return driver.Contents{Warnings: []string{"one has no password"}}, errors.Join(err, s.failure)
	}
	return able
}

func TestAccounts(t *testing.T) {
	t.Parallel()
	identity, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	j, _ := newTestJob(t, roleSource{fakeSource: newFake(1)}, &Options{Recipients: []age.Recipient{identity.Recipient()}})
	m := mustBackup(t, j)
	assert.Contains(t, m.Warnings, "one has no password")
	require.ErrorIs(t, j.Accounts(t.Context(), m.ID, io.Discard), ErrNoIdentity)
	j.opts.Identities = []age.Identity{identity}
	var out bytes.Buffer
	require.NoError(t, j.Accounts(t.Context(), "", &out))
	assert.Equal(t, "CREATE ROLE web PASSWORD 'SCRAM-SHA-256$hash';\n", out.String())

	without, _ := newTestJob(t, newFake(1), nil)
	mustBackup(t, without)
	require.ErrorIs(t, without.Accounts(t.Context(), "", io.Discard), ErrNotFound)

	failing, _ := newTestJob(t, roleSource{newFake(1), errors.New("permission denied")}, nil)
	m = mustBackup(t, failing)
	assert.Contains(t, strings.Join(m.Warnings, ";"), "the accounts are not in the backup: permission denied")
	assert.Empty(t, m.Accounts)
}
