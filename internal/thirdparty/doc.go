// Package thirdparty is the parent of the tests that need database drivers, test servers in Go, or other modules that
// the library itself does not link. It is a module of its own, so that the root go.mod names no such module and
// `go get` of one package moves no driver of its user.
//
// The tests of package x that need such a module are in the folder with the same path here: backup/mysql is tested
// beside its code and, against a real server through go-sql-driver, in internal/thirdparty/backup/mysql.
package thirdparty
