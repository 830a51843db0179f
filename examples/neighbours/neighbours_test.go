package neighbours

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var _ = []any{
	withChi, withGin, withEcho, withGRPC, withConnect, withPgx, withGorm, withOpenTelemetry, withPrometheus, withGRPCHealth,
	fromHTTPRate, fromGocache, fromGoRedisCache, readSale, fromHealthGo, fromDumpScript, fromDjango,
}

// documents are the pages whose Go this package holds. TestTutorial of rediscache runs that of
// docs/cache.md.
var documents = []string{
	"neighbours", "migrating", "ratelimit", "health", "alerting", "notify", "pagination", "backup", "backup-mariadb", "backup-postgres",
}

// TestDocumentsCompile finds each line of Go of the documents in this package.
func TestDocumentsCompile(t *testing.T) {
	compiled := map[string]bool{"": true, "...": true}
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range sources {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(source)) {
			compiled[strings.TrimSpace(line)] = true
		}
	}
	for _, name := range documents {
		document, err := os.ReadFile("../../docs/" + name + ".md")
		if err != nil {
			t.Fatal(err)
		}
		blocks := strings.Split(string(document), "```go")[1:]
		if len(blocks) == 0 {
			t.Errorf("%s has no block of Go", name)
		}
		for _, block := range blocks {
			code, _, _ := strings.Cut(block, "```")
			if strings.HasPrefix(code, "\npackage main\n") {
				continue // TestTutorials runs it
			}
			for line := range strings.Lines(code) {
				if line = strings.TrimSpace(line); !compiled[line] {
					t.Errorf("%s: %q is not in this package", name, line)
				}
			}
		}
	}
}
