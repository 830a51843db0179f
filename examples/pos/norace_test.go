//go:build !race

package main

// raceDetector reports whether this binary looks for data races. Tests that use a browser for
// minutes run without the detector.
const raceDetector = false
