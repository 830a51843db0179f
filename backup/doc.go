// Package backup takes backups of databases and proves that they are ones.
//
// A [Job] dumps a [Source] into a [Storage]: compressed, encrypted on demand,
// checksummed while it streams, published only when everything about it has been
// checked, and read back afterwards.
//
//	folder, err := backup.NewFolder("/var/backups/pos")
//	...
//	job, err := backup.New("pos", sqlite.New(db), folder, nil)
//	...
//	report, err := job.Backup(ctx)
//
// # A backup
//
// A backup exists if and only if its manifest can be read, its artefact exists and
// the sizes agree. The artefact is written under a hidden name, synced and renamed;
// the manifest follows by the same path, last. Whatever a crash leaves behind is
// therefore no backup, is never listed, and is swept a day later.
//
// # Deletion
//
// Old backups go only after a new one has been published and read back, and their age
// is counted from the newest good backup: a job that has stopped, or that fails every
// night, deletes nothing. The newest good ones, pinned ones and those from the future
// always stay.
//
// # Format
//
// An artefact is the dump of the database's own tool through zstd or gzip and then,
// on demand, age: `zstd -d`, `gzip -d` and `age -d` restore it without this package.
package backup
