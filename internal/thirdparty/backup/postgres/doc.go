// Package postgres has no code. Its tests run package backup/postgres with drivers and servers that the
// root module does not require.
package postgres
