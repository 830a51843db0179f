//go:build !race

package redislimit

// raceDetector says that this binary runs under the race detector.
const raceDetector = false
