// Package faults runs the shop as a fleet, injects faults, and checks the books. Its tests
// start three replicas as processes on a private MariaDB or PostgreSQL server with Redis
// alone, behind Sentinel, or as a Cluster. While tills sell, the tests kill and pause
// processes, cut connections, restore old snapshots, fill disks and shift clocks.
//
// The plain run takes a few seconds of each of two combinations. POS_FAULTS=60s runs every
// combination that -run selects for that long.
package faults
