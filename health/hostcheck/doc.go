// Package hostcheck has the checks of the machine for the health package: disk,
// memory and CPU, measured with gopsutil and aware of the limits of a
// container.
//
// None of them is critical: a busy or crowded host is for a person to look at,
// and taking a replica out of service moves its load onto the others. Set
// Check.Critical where a full disk does end the service.
package hostcheck
