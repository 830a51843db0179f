package mainstay_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestArchitectureListsPackages compares the list in docs/architecture.md with the packages
// that users can import.
func TestArchitectureListsPackages(t *testing.T) {
	document, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	block, _, _ := strings.Cut(strings.SplitN(strings.ReplaceAll(string(document), "\r\n", "\n"), "```\n", 2)[1], "```")
	var listed []string
	for line := range strings.Lines(block) {
		name, _, _ := strings.Cut(line, " ")
		listed = append(listed, strings.TrimSuffix(name, "/"))
	}
	var packages []string
	err = fs.WalkDir(os.DirFS("."), ".", func(name string, entry fs.DirEntry, err error) error {
		switch base := path.Base(name); {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && (strings.HasPrefix(base, ".") || slices.Contains([]string{"internal", "testdata", "contrib", "benchmarks", "examples", "docs"}, base)):
			return fs.SkipDir
		case !entry.IsDir() && filepath.Ext(name) == ".go" && !strings.HasSuffix(name, "_test.go") && !slices.Contains(packages, path.Dir(name)):
			packages = append(packages, path.Dir(name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range packages {
		if !slices.Contains(listed, name) {
			t.Errorf("docs/architecture.md does not list %s", name)
		}
	}
	for _, name := range listed {
		if parent := strings.TrimSuffix(name, "/<name>"); parent == name && !slices.Contains(packages, name) && !slices.Contains([]string{"internal", "benchmarks", "examples"}, name) {
			t.Errorf("docs/architecture.md lists %s, which is not a package", name)
		}
	}
}
