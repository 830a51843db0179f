package hostcheck_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/hostcheck"
)

// The real host: whatever it is like, it can be measured, and a busy one does
// not make the whole fail.
func TestRealHost(t *testing.T) {
	reg, err := health.New([]health.Check{
		hostcheck.Disk("disk", t.TempDir(), nil),
		hostcheck.Memory("memory", nil),
		hostcheck.CPU("cpu", nil),
	}, nil)
	require.NoError(t, err)
	snap, err := reg.RunOnce(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, health.Fail, snap.Status)
	for _, c := range snap.Checks {
		t.Log(c.Name, c.Status, c.Output, c.Observed)
		require.Equal(t, health.KindReported, c.Kind, c.Name)
		require.NotEmpty(t, c.Observed, c.Name)
	}
}
