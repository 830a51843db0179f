//go:build race

package main

// raceDetector says that this binary looks for data races. Tests that drive a browser for minutes run without it.
const raceDetector = true
