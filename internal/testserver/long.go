package testserver

import (
	"flag"
	"os"
	"runtime"
	"strconv"
	"testing"
)

// Long reports whether MAINSTAY_LONG=1 asks for every case of every test. Without it, a test of
// many similar cases runs a sample that has at least one case of each kind, so that the plain run
// ends within minutes. The gate sets the variable once.
func Long() bool {
	long, _ := strconv.ParseBool(os.Getenv("MAINSTAY_LONG"))
	return long
}

// Sample returns n if MAINSTAY_LONG=1 is in the environment, and few otherwise: for tests that
// repeat the same work with other random values.
func Sample(few, n int) int {
	if Long() {
		return n
	}
	return few
}

// MostlyWaits lets n tests of a package run at once for each core, from TestMain: for a package
// whose tests wait for servers and clocks more than they compute. With the race detector they
// compute more, so it has no effect there. The flag -parallel of a run takes precedence.
func MostlyWaits(n int) {
	if !raceDetector {
		_ = flag.Set("test.parallel", strconv.Itoa(n*runtime.GOMAXPROCS(0))) // it is a number
	}
}

// NeedsLong skips a test of the kind that ends servers, fills disks or waits for failovers, unless
// MAINSTAY_LONG=1 is in the environment, and with -short. The plain run has a quicker test of what it covers.
func NeedsLong(tb testing.TB) {
	tb.Helper()
	if !Long() || testing.Short() {
		tb.Skip("MAINSTAY_LONG=1 runs this test, and the gate does; the plain run has a quicker one of its kind")
	}
}
