// Package sqlite has no code. Its tests run package backup/sqlite with drivers and servers that the
// root module does not require.
package sqlite
