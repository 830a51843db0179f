package backupcli_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/backup/backupcli"
)

// TestSettle: check and list name an interrupted restore, and settle ends it, with or without
// what it left.
func TestSettle(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.want(backupcli.Good)
	out, _ := s.want(backupcli.Good, "settle")
	assert.Equal(t, "no restore was interrupted\n", out)
	host, err := os.Hostname()
	require.NoError(t, err)
	var original string
	require.NoError(t, s.db.QueryRowContext(t.Context(), "SELECT file FROM pragma_database_list WHERE name = 'main'").Scan(&original))
	incomplete := strings.TrimSuffix(original, ".db") + "_restore_20260101T000000Z.db"
	interrupt := func() {
		require.NoError(t, os.WriteFile(incomplete, []byte("half"), 0o600))
		left, err := json.Marshal(incomplete)
		require.NoError(t, err)
		marker := fmt.Sprintf(`{"time":%q,"seen":%[1]q,"id":"shop_20260101T000000Z_abcdef","database":%s,"left":[%[2]s],"host":%[3]q,"pid":1073741824}`, time.Now().UTC().Format(time.RFC3339), left, host)
		sum := sha256.Sum256([]byte("restoring.shop.x.json\n" + marker))
		sealed := fmt.Sprintf(`{"content":%s,"sha256":"%x"}`, marker, sum)
		require.NoError(t, os.WriteFile(filepath.Join(s.folder.Path(), "restoring.shop.x.json"), []byte(sealed), 0o600))
	}

	interrupt()
	_, problem := s.want(backupcli.Failed, "check")
	assert.Contains(t, problem, "a restore is unfinished: the restore of shop_20260101T000000Z_abcdef as "+incomplete)
	assert.Contains(t, problem, "settle it, and restore again")
	code, out, problem := s.run("list")
	assert.Equal(t, backupcli.Good, code)
	assert.Contains(t, out, "good")
	assert.Contains(t, problem, "warning: the restore of shop_20260101T000000Z_abcdef")
	out, _ = s.want(backupcli.Failed, "check", "--json")
	assert.Contains(t, out, `"unfinished_restores"`)
	out, _ = s.want(backupcli.Good, "settle")
	assert.Contains(t, out, "is incomplete")
	assert.Contains(t, out, "settle --drop")
	s.want(backupcli.Failed, "check")
	s.want(backupcli.Usage, "settle", "x")
	s.want(backupcli.Usage, "settle", "--drop", "--keep")

	out, _ = s.want(backupcli.Good, "settle", "--keep")
	assert.True(t, strings.HasSuffix(out, "settled\n"), out)
	assert.FileExists(t, incomplete)
	s.want(backupcli.Good, "check")

	interrupt()
	out, _ = s.want(backupcli.Good, "settle", "--drop")
	assert.Contains(t, out, "settled: "+incomplete+" removed")
	assert.NoFileExists(t, incomplete)
	out, _ = s.want(backupcli.Good, "settle", "--json")
	assert.Equal(t, "[]\n", out)
	s.want(backupcli.Good, "check")
}
