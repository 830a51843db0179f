package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"

	"golang.org/x/mod/modfile"
)

const rootPath = "github.com/mainstay-go/mainstay"

// module is one go.mod of the repository.
type module struct {
	dir  string // relative to the repository, "." for the root
	path string
	file *modfile.File
}

// public reports whether users import the module.
func (m module) public() bool {
	return m.dir == "." || strings.HasPrefix(m.dir, "contrib/")
}

// findModules reads every go.mod that git tracks or would track.
func findModules(repo string) ([]module, error) {
	out, err := output(repo, nil, "git", "ls-files", "--cached", "--others", "--exclude-standard", "go.mod", "*/go.mod")
	if err != nil {
		return nil, err
	}
	var modules []module
	for name := range strings.FieldsSeq(out) {
		data, err := os.ReadFile(filepath.Join(repo, name))
		if os.IsNotExist(err) {
			continue // removed, and not yet committed
		}
		if err != nil {
			return nil, err
		}
		file, err := modfile.Parse(name, data, nil)
		if err != nil {
			return nil, err
		}
		modules = append(modules, module{dir: filepath.ToSlash(filepath.Dir(name)), path: file.Module.Mod.Path, file: file})
	}
	sort.Slice(modules, func(i, j int) bool { return modules[i].dir < modules[j].dir })
	return modules, nil
}

// requiredVersion returns the version of the root that the nested modules require, and an error if they disagree.
func requiredVersion(modules []module) (string, error) {
	version, from := "", ""
	for _, m := range modules {
		for _, r := range m.file.Require {
			if r.Mod.Path != rootPath && !strings.HasPrefix(r.Mod.Path, rootPath+"/") {
				continue
			}
			if version == "" {
				version, from = r.Mod.Version, m.dir
			}
			if r.Mod.Version != version {
				return "", fmt.Errorf("%s requires %s %s, but %s requires version %s: run .ci/release --prepare with one version",
					m.dir, r.Mod.Path, r.Mod.Version, from, version)
			}
		}
	}
	if version == "" {
		return "", fmt.Errorf("no module requires %s", rootPath)
	}
	return version, nil
}

// output runs a command in dir and returns its standard output. An error contains the standard
// error.
func output(dir string, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(context.Background(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}
