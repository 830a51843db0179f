// Package hostcheck checks the machine for the health package: disk, memory and CPU. It
// measures with gopsutil and respects the limits of a container.
//
// The checks are not critical. A busy or full host needs the attention of a person, and
// taking a replica out of service moves its load to the others. Set Check.Critical if a
// full disk ends the service.
package hostcheck
