// Package mysql has no code. Its tests run package backup/mysql with drivers and servers that the
// root module does not require.
package mysql
