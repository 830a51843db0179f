package mainstay_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDependenciesAreListed compares docs/dependencies.md with what the modules require themselves.
func TestDependenciesAreListed(t *testing.T) {
	document, err := os.ReadFile("docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	tables, _, _ := strings.Cut(string(document), "## Considered and refused")
	used := map[string]bool{} // the names in the first columns
	for line := range strings.Lines(tables) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			for i, name := range strings.Split(cells[1], "`") {
				if i%2 == 1 && strings.Contains(name, "/") {
					used[name] = false
				}
			}
		}
	}
	var files []string
	for _, pattern := range []string{"go.mod", "contrib/*/go.mod", "examples/go.mod", "internal/*/go.mod"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			words := strings.Fields(strings.TrimPrefix(line, "require "))
			if len(words) != 2 || !strings.HasPrefix(words[1], "v") || strings.HasPrefix(words[0], "github.com/mainstay-go/") {
				continue // no requirement, an indirect one, or our own
			}
			listed := false
			for name := range used {
				if strings.HasPrefix(strings.TrimPrefix(words[0], "github.com/")+"/", name+"/") {
					used[name], listed = true, true
				}
			}
			if !listed {
				t.Errorf("%s requires %s, which docs/dependencies.md does not list", file, words[0])
			}
		}
	}
	for name, is := range used {
		if !is {
			t.Errorf("docs/dependencies.md lists %s, which no module requires", name)
		}
	}
}

// TestHooksTakeAnEvent holds each hook to a context and one event, which can get further fields.
func TestHooksTakeAnEvent(t *testing.T) {
	files, err := filepath.Glob("api/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(len(files), err)
	}
	hook := regexp.MustCompile(`^type Trace struct, \w+ func\(context\.Context, \w+\)$`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); strings.HasPrefix(line, "type Trace struct, ") && !hook.MatchString(line) {
				t.Errorf("%s: %s", file, line)
			}
		}
	}
}

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

// TestGuaranteesHaveTests compares the tests that SECURITY.md names with those of the repository.
func TestGuaranteesHaveTests(t *testing.T) {
	document, err := os.ReadFile("SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	exists := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err = filepath.WalkDir(".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, "_test.go") {
			return err
		}
		text, err := os.ReadFile(name)
		for _, f := range function.FindAllStringSubmatch(string(text), -1) {
			exists[f[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`")
	rows := 0
	for line := range strings.Lines(string(document)) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| package") {
			continue
		}
		rows++
		tests := named.FindAllStringSubmatch(line, -1)
		if len(tests) == 0 {
			t.Errorf("no test holds %s", line)
		}
		for _, test := range tests {
			if !exists[test[1]] {
				t.Errorf("%s does not exist", test[1])
			}
		}
	}
	if rows == 0 {
		t.Error("SECURITY.md has no guarantees")
	}
}
