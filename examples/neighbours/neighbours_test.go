package neighbours

import (
	"os"
	"strings"
	"testing"
)

var _ = []any{
	withChi, withGin, withEcho, withGRPC, withConnect, withPgx, withGorm, withOpenTelemetry, withPrometheus, withGRPCHealth,
	fromHTTPRate, fromGocache, fromGoRedisCache, readSale, fromHealthGo, fromDumpScript, fromDjango,
}

// TestDocumentsCompile finds each line of Go of the two documents in this package.
func TestDocumentsCompile(t *testing.T) {
	compiled := map[string]bool{}
	for _, name := range []string{"limits.go", "data.go", "operations.go"} {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(source)) {
			compiled[strings.TrimSpace(line)] = true
		}
	}
	for _, name := range []string{"../../docs/neighbours.md", "../../docs/migrating.md"} {
		document, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		blocks := strings.Split(strings.ReplaceAll(string(document), "\r\n", "\n"), "```go\n")[1:]
		if len(blocks) < 5 {
			t.Errorf("%s has %d blocks", name, len(blocks))
		}
		for _, block := range blocks {
			code, _, _ := strings.Cut(block, "```")
			for line := range strings.Lines(code) {
				if line = strings.TrimSpace(line); !compiled[line] {
					t.Errorf("%s: %q is not in this package", name, line)
				}
			}
		}
	}
}
