// Package leakcheck finds goroutines that still run after the tests.
package leakcheck

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// patience is the time that goroutines may take to end after the last test, on a busy machine.
const patience = 20 * time.Second

// Main runs the tests of a package and fails if goroutines outlive them. Call it from TestMain.
func Main(m *testing.M) {
	code := m.Run()
	if left := Left(patience); len(left) > 0 && code == 0 {
		fmt.Fprintf(os.Stderr, "leakcheck: %d goroutines are left:\n\n%s\n", len(left), strings.Join(left, "\n\n"))
		code = 1
	}
	os.Exit(code)
}

// MainOfServers is Main for tests that mostly wait for servers: twice as many of them run at
// once as there are processors, unless -parallel says otherwise.
func MainOfServers(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		_ = f.Value.Set(strconv.Itoa(2 * runtime.GOMAXPROCS(0)))
	}
	Main(m)
}

// Left returns the stacks of the goroutines that have not ended after d. It leaves out the
// caller's stack and those of the test binary itself.
func Left(d time.Duration) []string {
	for deadline := time.Now().Add(d); ; time.Sleep(20 * time.Millisecond) {
		left := others()
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
	}
}

// expected are parts of the stacks of goroutines that run until the binary ends: those of the
// testserver package, of signals, and of the fuzzer.
var expected = []string{"testing.(*M).", "testing.runFuzz", "internal/testserver", "os/signal.", "runtime.ensureSigM"}

func others() (stacks []string) {
	buf := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
next:
	for i, stack := range strings.Split(string(buf), "\n\n") {
		if i == 0 {
			continue // the goroutine of the caller
		}
		for _, part := range expected {
			if strings.Contains(stack, part) {
				continue next
			}
		}
		stacks = append(stacks, stack)
	}
	return stacks
}
