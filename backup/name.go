package backup

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"time"
)

var jobName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// stampLayout is the moment in a backup's name: UTC, without colons for Windows, and
// sorting by time.
const stampLayout = "20060102T150405Z"

// newID names a backup: the job, the moment, and six random digits, so that two runs
// within a second are two backups.
func newID(job string, now time.Time) string {
	return job + "_" + now.UTC().Format(stampLayout) + "_" + randomDigits()
}

// randomDigits are six hexadecimal ones.
func randomDigits() string {
	var random [3]byte
	rand.Read(random[:])
	return hex.EncodeToString(random[:])
}

var idForm = regexp.MustCompile(`^([a-z0-9][a-z0-9-]{0,62})_(\d{8}T\d{6}Z)_([0-9a-f]{6})$`)

// checkID refuses what cannot be the name of a backup of the job: it becomes part of
// file names.
func checkID(job, id string) error {
	parts := idForm.FindStringSubmatch(id)
	if parts == nil || parts[1] != job {
		return fmt.Errorf("%w: %q is not a backup of the job %s", ErrNotFound, id, job)
	}
	return nil
}

// idTime is the moment in a valid id.
func idTime(id string) time.Time {
	parts := idForm.FindStringSubmatch(id)
	if parts == nil {
		return time.Time{}
	}
	t, _ := time.Parse(stampLayout, parts[2]) // zero for a date that does not exist
	return t
}

// The files of one backup share its id.
const (
	manifestSuffix = ".json"
	verifySuffix   = ".verify.json"
	pinSuffix      = ".pin"
	acceptSuffix   = ".accepted"
)

// stem returns the id that a file belongs to, "" for a file of no backup.
func stem(job, name string) string {
	id, _, _ := strings.Cut(name, ".")
	if checkID(job, id) != nil {
		return ""
	}
	return id
}
