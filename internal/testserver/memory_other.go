//go:build !linux

package testserver

// memoryFolder returns "", the usual place: only Linux has a folder in memory everywhere.
func memoryFolder() string { return "" }
