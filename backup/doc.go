// Package backup dumps databases, and verifies every dump by reading it back or restoring
// it.
//
// A [Job] dumps a [driver.Source] into a [Storage]. The dump is compressed, optionally encrypted,
// and checksummed while it streams. It is published after all checks have passed, and then
// it is read back.
//
//	folder, err := backup.NewFolder("/var/backups/pos")
//	...
//	job, err := backup.New("pos", sqlite.New(db), folder, nil)
//	...
//	report, err := job.Backup(ctx)
//
// # A backup
//
// A backup exists if and only if its manifest can be read, its artefact exists, and the
// sizes agree. The job writes the artefact under a hidden name, syncs it and renames it.
// The manifest follows last, in the same way. Files that a crash leaves are therefore not a
// backup. They are never listed, and a run removes them a day later.
//
// # Deletion
//
// Old backups are deleted only after a new backup was published and read back. Their age is
// counted from the newest good backup. A job that has stopped, or that fails every night,
// therefore keeps all backups. The newest good backups, pinned backups and backups with a
// time in the future always stay.
//
// # Format
//
// An artefact is the dump by the tool of the database, compressed with zstd or gzip, and
// optionally encrypted with age. `zstd -d`, `gzip -d` and `age -d` restore it without this
// package.
package backup
