package command

import (
	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/hostcheck"
)

// checks are what the service's health is made of. Only the database is critical: the
// shop sells without its cache, and a full disk is for a person to look at while it
// still sells.
func checks(s *settings.Settings, st *store.Store) []health.Check {
	database := &health.DatabaseOptions{}
	switch s.Database.Engine {
	case settings.MySQL:
		database.ReadOnlyQuery = health.MySQLReadOnly
	case settings.Postgres:
		database.ReadOnlyQuery = health.PostgresReadOnly
	}
	return []health.Check{
		health.Database("database", st.Reader(), database),
		hostcheck.Disk("disk", s.Data, nil),
		hostcheck.Memory("memory", nil),
		hostcheck.CPU("cpu", nil),
		health.Backups("backups", health.BackupFiles(s.BackupDir(), "*"), nil),
	}
}
