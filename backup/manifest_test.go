package backup

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// With a key every change of a manifest is noticed, also one that makes sense.
func TestManifestKey(t *testing.T) {
	t.Parallel()
	key := []byte("sixteen bytes at least")
	attic, err := NewFolder(filepath.Join(t.TempDir(), "attic"))
	require.NoError(t, err)
	j, folder := newTestJob(t, newFake(1), &Options{ManifestKey: key, Targets: []Target{{Name: "attic", Storage: attic}}})
	m := mustBackup(t, j)
	require.Len(t, m.HMAC, 64)
	path := filepath.Join(folder.Path(), m.ID+manifestSuffix)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	state := func(j *Job) State {
		t.Helper()
		entries, err := j.List(t.Context())
		require.NoError(t, err)
		require.Len(t, entries, 1)
		return entries[0].State
	}
	require.Equal(t, Good, state(j))
	copied, err := j.Target("attic")
	require.NoError(t, err)
	require.Equal(t, Good, state(copied))

	without := *m
	without.HMAC = ""
	bare, err := without.encode(nil)
	require.NoError(t, err)
	other, err := without.encode([]byte("another key, as long"))
	require.NoError(t, err)
	for name, changed := range map[string][]byte{
		"rows":        bytes.Replace(data, []byte(`"rows": 1`), []byte(`"rows": 0`), 1),
		"a field":     bytes.Replace(data, []byte("{\n"), []byte("{\n  \"suspect\": \"\",\n"), 1),
		"a blank":     append(data[:len(data):len(data)], ' '),
		"the code":    bytes.Replace(data, []byte(m.HMAC), []byte(strings.Repeat("0", 64)), 1),
		"no code":     bare,
		"another key": other,
	} {
		require.NotEqual(t, data, changed, name)
		require.NoError(t, os.WriteFile(path, changed, 0o600))
		assert.Equal(t, Unknown, state(j), name)
		_, err := j.Restore(t.Context(), m.ID, "", nil)
		require.ErrorContains(t, err, "cannot be restored", name)
	}
	require.NoError(t, os.WriteFile(path, data, 0o600))
	require.Equal(t, Good, state(j))
	j.opts.ManifestKey = nil // who has no key reads it all the same
	require.Equal(t, Good, state(j))
	assert.Contains(t, m.Runner, "mainstay ")

	for _, key := range []string{"", "short"} { // such as a variable that is not set
		_, err = New("pos", newFake(1), folder, &Options{ManifestKey: []byte(key)})
		require.ErrorContains(t, err, "guessed")
	}
}
