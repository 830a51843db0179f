package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	modulepkg "golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// pinned are versions that a service may already use, with a flag that allows pagination to
// change them. The library links no database driver. It links go-redis, whose version changes
// only if the service's is older than the root requires.
var pinned = map[string]struct {
	version string
	mayMove bool
}{
	"github.com/jackc/pgx/v5":        {"v5.6.0", false},
	"github.com/go-sql-driver/mysql": {"v1.8.1", false},
	"github.com/redis/go-redis/v9":   {"v9.7.3", true},
}

// check serves every public module from a file proxy under the version that the nested modules
// require. It fetches and builds each module from an empty module. It then adds pagination to a
// service with pinned drivers and compares versions.
func check(repo string, modules []module) error {
	version, err := requiredVersion(modules)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "mainstay-release-")
	if err != nil {
		return err
	}
	env, done, err := proxyEnv(work)
	if err != nil {
		return err
	}
	defer done()

	source := filepath.Join(work, "source")
	if err := export(repo, source); err != nil {
		return err
	}
	for _, m := range modules {
		if m.public() {
			if err := publish(filepath.Join(work, "proxy"), filepath.Join(source, m.dir), m, version); err != nil {
				return err
			}
		}
	}
	for _, m := range modules {
		if !m.public() {
			continue
		}
		if err := fetch(work, env, source, m, version); err != nil {
			return err
		}
		fmt.Printf("ok  %s@%s\n", m.path, version)
	}
	if err := tutorials(work, env, source); err != nil {
		return err
	}
	return compareVersions(work, env, version)
}

// tutorials builds the program that a guide opens with, by the commands of the guide, in an
// empty folder. The flag -mod=mod would hide that go.sum lacks a module.
func tutorials(work string, env []string, source string) error {
	guides, err := filepath.Glob(filepath.Join(source, "docs", "*.md"))
	if err != nil {
		return err
	}
	env = append(slices.Clone(env), "GOFLAGS=-modcacherw")
	for _, guide := range guides {
		text, err := os.ReadFile(guide)
		if err != nil {
			return err
		}
		_, rest, found := strings.Cut(string(text), "```go\npackage main\n")
		if !found {
			continue
		}
		program, _, _ := strings.Cut(rest, "```")
		dir, err := os.MkdirTemp(work, "shop-")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\n"+program), 0o644); err != nil {
			return err
		}
		for _, command := range [][]string{{"mod", "init", "shop"}, {"mod", "tidy"}, {"build", "-o", os.DevNull, "."}} {
			if _, err := output(dir, env, "go", command...); err != nil {
				return fmt.Errorf("a reader cannot build the program of %s: %w", filepath.Base(guide), err)
			}
		}
		fmt.Printf("ok  the program of %s builds in an empty folder\n", filepath.Base(guide))
	}
	return nil
}

// proxyEnv returns the environment of a user's go command: our proxy first, then the modules
// that this machine has downloaded already, then the proxies of its own settings.
func proxyEnv(work string) (env []string, done func(), err error) {
	out, err := output(work, nil, "go", "env", "-json", "GOMODCACHE", "GOPROXY")
	if err != nil {
		return nil, nil, err
	}
	var settings struct{ GOMODCACHE, GOPROXY string }
	if err := json.Unmarshal([]byte(out), &settings); err != nil {
		return nil, nil, err
	}
	proxies := []string{
		"file://" + filepath.ToSlash(filepath.Join(work, "proxy")),
		"file://" + filepath.ToSlash(filepath.Join(settings.GOMODCACHE, "cache", "download")),
		settings.GOPROXY,
	}
	env = []string{
		"GOWORK=off", "GOFLAGS=-mod=mod -modcacherw",
		"GOPROXY=" + strings.Join(proxies, ","),
		"GONOSUMDB=" + rootPath + "," + rootPath + "/*",
		// A separate cache, because the files of a version may have changed since the last check.
		"GOMODCACHE=" + filepath.Join(work, "cache"),
	}
	return env, func() { _ = os.RemoveAll(work) }, nil
}

// export copies the files of the work tree that git tracks or would track, without links.
func export(repo, to string) error {
	out, err := output(repo, nil, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if err != nil {
		return err
	}
	for name := range strings.SplitSeq(strings.TrimRight(out, "\x00"), "\x00") {
		data, err := os.ReadFile(filepath.Join(repo, name))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return err
		}
		target := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(target, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// publish writes the four files that the go command needs for a version.
func publish(proxy, dir string, m module, version string) error {
	escaped, err := modulepkg.EscapePath(m.path)
	if err != nil {
		return err
	}
	at := filepath.Join(proxy, filepath.FromSlash(escaped), "@v")
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	var archive bytes.Buffer
	if err := zip.CreateFromDir(&archive, modulepkg.Version{Path: m.path, Version: version}, dir); err != nil {
		return fmt.Errorf("%s: %w", m.path, err)
	}
	gomod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{
		"list":            []byte(version + "\n"),
		version + ".info": fmt.Appendf(nil, `{"Version":%q,"Time":"2026-01-01T00:00:00Z"}`, version),
		version + ".mod":  gomod,
		version + ".zip":  archive.Bytes(),
	} {
		if err := os.WriteFile(filepath.Join(at, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// fetch adds one module to an empty one and builds all packages that users may import.
func fetch(work string, env []string, source string, m module, version string) error {
	packages, err := publicPackages(filepath.Join(source, m.dir), m.path)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(work, "user-")
	if err != nil {
		return err
	}
	if _, err := output(dir, env, "go", "mod", "init", "example.com/user"); err != nil {
		return err
	}
	if _, err := output(dir, env, "go", "get", m.path+"@"+version); err != nil {
		return fmt.Errorf("a user cannot fetch %s: %w", m.path, err)
	}
	var program strings.Builder
	program.WriteString("package main\n\nimport (\n")
	for _, p := range packages {
		fmt.Fprintf(&program, "\t_ %q\n", p)
	}
	program.WriteString(")\n\nfunc main() {}\n")
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(program.String()), 0o644); err != nil {
		return err
	}
	if _, err := output(dir, env, "go", "build", "-o", os.DevNull, "."); err != nil {
		return fmt.Errorf("a user cannot build the packages of %s: %w", m.path, err)
	}
	return nil
}

// compareVersions adds pagination to a service that has pinned drivers.
func compareVersions(work string, env []string, version string) error {
	dir, err := os.MkdirTemp(work, "service-")
	if err != nil {
		return err
	}
	if _, err := output(dir, env, "go", "mod", "init", "example.com/service"); err != nil {
		return err
	}
	get := []string{"get"}
	for path, v := range pinned {
		get = append(get, path+"@"+v.version)
	}
	slices.Sort(get[1:])
	if _, err := output(dir, env, "go", get...); err != nil {
		return err
	}
	if _, err := output(dir, env, "go", "get", rootPath+"/pagination@"+version); err != nil {
		return err
	}
	moved := 0
	for path, v := range pinned {
		now, err := output(dir, env, "go", "list", "-m", "-f", "{{.Version}}", path)
		if err != nil {
			return err
		}
		if now = strings.TrimSpace(now); now != v.version {
			fmt.Printf("moved  %s %s => %s\n", path, v.version, now)
			if !v.mayMove {
				moved++
			}
		}
	}
	if moved > 0 {
		return fmt.Errorf("taking pagination moves %d modules that it does not link: lower the root's requirement", moved)
	}
	fmt.Println("ok  pagination moves no database driver")
	return nil
}
