// Package faults runs several replicas of the shop, injects faults, and checks the books. Its
// tests start three replicas as processes on a private MariaDB or PostgreSQL server, with Redis
// standalone, behind Sentinel, or as a Cluster. While tills sell, the tests kill and pause
// processes, break connections, restore old snapshots, fill disks and shift clocks.
//
// The default run takes a few seconds for each of two combinations. POS_FAULTS=60s runs every
// combination that -run selects for 60 s.
package faults
