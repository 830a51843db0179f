// Package testserver starts private servers for tests from the installed programs: Redis
// (standalone, with Sentinel, as a Cluster), MariaDB, PostgreSQL, S3 and SFTP.
//
// Each server listens on a free loopback port, keeps its data in a temporary folder, and ends
// with its test. A test can stop, kill, pause, continue and restart it. If the program is
// missing, the test skips and names the Debian package of the program. With
// MAINSTAY_REQUIRE_SERVERS=1 in the environment the test fails instead, so that the gate cannot
// pass by skipping.
//
// The data of the database servers of a test is in memory where the system has a folder for that,
// with more than 4 GB of free space. Set TMPDIR to keep it elsewhere.
//
// A copy of the first, empty data folder of a database server stays in the folder
// mainstay-testserver of the user's cache, because making one takes seconds.
//
// A server also ends when the test binary dies without its clean-ups. Each server has a small
// shell that waits for its standard input to close. The kernel closes it also for a killed
// process.
package testserver
