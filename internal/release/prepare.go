package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
)

const unreleased = "## [Unreleased]\n"

// prepare writes version into every require of our modules, and adds the version's heading to
// the change log. The replace directives stay. They are for work in the repository, and a
// user's go command ignores them.
func prepare(repo string, modules []module, version string) error {
	if !semver.IsValid(version) || semver.Canonical(version) != version {
		return fmt.Errorf("%q is no version of the form vX.Y.Z", version)
	}
	if semver.Major(version) != "v0" && semver.Major(version) != "v1" {
		return fmt.Errorf("%s needs module paths that end with /%s: change these first", version, semver.Major(version))
	}
	for _, m := range modules {
		changed := false
		for _, r := range m.file.Require {
			if r.Mod.Path == rootPath || strings.HasPrefix(r.Mod.Path, rootPath+"/") {
				if err := m.file.AddRequire(r.Mod.Path, version); err != nil {
					return err
				}
				changed = true
			}
		}
		if !changed {
			continue
		}
		m.file.Cleanup()
		if err := os.WriteFile(filepath.Join(repo, m.dir, "go.mod"), modfile.Format(m.file.Syntax), 0o644); err != nil {
			return err
		}
	}
	name := filepath.Join(repo, "CHANGELOG.md")
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	heading := fmt.Sprintf("## [%s] - %s\n", strings.TrimPrefix(version, "v"), time.Now().UTC().Format(time.DateOnly))
	text := string(data)
	if !strings.Contains(text, heading[:strings.Index(heading, "]")+1]) {
		if !strings.Contains(text, unreleased) {
			return fmt.Errorf("CHANGELOG.md has no line %q", strings.TrimSpace(unreleased))
		}
		text = strings.Replace(text, unreleased, unreleased+"\n"+heading, 1)
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	fmt.Printf("Every go.mod requires %s. Next:\n  .ci/release --check && git commit -am 'chore: release %s'\n", version, version)
	for _, m := range modules {
		if m.public() {
			fmt.Printf("  git tag -s %s -m %s\n", tag(m, version), version)
		}
	}
	return nil
}

// tag returns the tag of a version of the module for the go command.
func tag(m module, version string) string {
	if m.dir == "." {
		return version
	}
	return m.dir + "/" + version
}
