// Package backupcli has no code. Its tests run package backup/backupcli with drivers and servers that the
// root module does not require.
package backupcli
