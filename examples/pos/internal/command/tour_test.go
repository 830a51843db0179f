package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"testing"
)

// callOfTour is a request of the README with the first line of its response.
var callOfTour = regexp.MustCompile(`(?m)^\$ curl -s (?:-H "\$(\w)" )?"?\$B(/[^" \n]+)"?(?: -H '[^']+' \\\n +)?(?: ?-d '([^']*)')?(?: \| head -2)?\n(.+)$`)

// TestTour sends the requests of the README. Its responses have the names of the server.
func TestTour(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	s := openTestShop(t, unlimited...)
	calls := callOfTour.FindAllSubmatch(bytes.ReplaceAll(readme, []byte("\r\n"), []byte("\n")), -1)
	if len(calls) != 7 {
		t.Errorf("the tour has %d requests", len(calls))
	}
	for _, c := range calls {
		from, method := s, "GET"
		if string(c[1]) == "M" {
			from = s.asManager()
		}
		if path := string(c[2]); path == "/api/v1/login/" { // the passwords are others
			continue
		}
		if c[3] != nil {
			method = "POST"
		}
		_, body, _ := from.send(method, string(c[2]), string(c[3]))
		first, _, _ := bytes.Cut(body, []byte("\n"))
		if names(t, first) != names(t, c[4]) {
			t.Errorf("%s: the README has %s, and the server %s", c[2], c[4], first)
		}
	}
}

// names returns a line of CSV, or the names of a document without its values.
func names(t *testing.T, line []byte) string {
	t.Helper()
	var v any
	if len(line) == 0 || line[0] != '{' {
		return string(bytes.TrimSpace(line))
	}
	if err := json.Unmarshal(line, &v); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	var walk func(any) string
	walk = func(v any) string {
		switch v := v.(type) {
		case map[string]any:
			text := "{"
			for _, name := range slices.Sorted(maps.Keys(v)) {
				text += name + walk(v[name])
			}
			return text + "}"
		case []any:
			if len(v) > 0 {
				return fmt.Sprint("[", walk(v[0]), "]")
			}
		}
		return ";"
	}
	return walk(v)
}
