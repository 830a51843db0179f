// Package testserver starts private servers for tests: Redis (alone, with
// Sentinel, as a Cluster), MariaDB, PostgreSQL, S3 and SFTP, from the binaries that the
// machine has.
//
// Each server listens on a free loopback port, keeps its data in a temporary
// folder, and ends with its test. A test can stop, kill, pause, continue and
// restart it. Where the binary is missing the test skips and names the Debian
// package that has it; with MAINSTAY_REQUIRE_SERVERS=1 in the environment it
// fails instead, so that a gate cannot pass by skipping.
//
// A server also ends when the test binary dies without running its clean-ups:
// beside each stands a small shell that waits for its standard input to close,
// which the kernel does for a killed process too.
package testserver
