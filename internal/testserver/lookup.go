package testserver

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strconv"
	"testing"
)

// Lookup returns the path of a binary. If the binary is missing, the test skips and names the
// Debian package. With MAINSTAY_REQUIRE_SERVERS=1 the test fails. With -short it always skips.
func Lookup(t testing.TB, binary, debianPackage string) string {
	t.Helper()
	return first(t, debianPackage, binary)
}

// Chromium returns the path of a Chromium or Chrome browser, or skips the test.
func Chromium(t testing.TB) string {
	t.Helper()
	return first(t, "chromium", "chromium", "chromium-browser", "google-chrome")
}

func first(t testing.TB, debianPackage string, binaries ...string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts " + binaries[0] + "; run it without -short")
	}
	for _, name := range binaries {
		if path := find(name); path != "" {
			return path
		}
	}
	Unavailable(t, binaries[0]+" is not installed: apt-get install "+debianPackage)
	return ""
}

// Unavailable ends a test that cannot run here. The test skips, or fails if the environment
// requires every server.
func Unavailable(t testing.TB, why string) {
	t.Helper()
	if required, _ := strconv.ParseBool(os.Getenv("MAINSTAY_REQUIRE_SERVERS")); required {
		t.Fatal(why + " (MAINSTAY_REQUIRE_SERVERS is set)")
	}
	t.Skip(why)
}

// find searches PATH, Debian's folder of daemons, PostgreSQL's versions (newest first) and the
// folder in which the go command installs binaries.
func find(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	if runtime.GOOS == "windows" {
		return ""
	}
	folders := []string{"/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/bin"}
	versions, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	sort.Slice(versions, func(i, j int) bool { return postgresMajor(versions[i]) > postgresMajor(versions[j]) })
	folders = append(folders, versions...)
	if gopath := os.Getenv("GOPATH"); gopath != "" {
		folders = append(folders, filepath.Join(gopath, "bin"))
	} else if home, err := os.UserHomeDir(); err == nil {
		folders = append(folders, filepath.Join(home, "go", "bin"))
	}
	for _, folder := range folders {
		path := filepath.Join(folder, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}

func postgresMajor(bin string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(bin)))
	return n
}
