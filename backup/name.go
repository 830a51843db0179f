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

// stampLayout is the time in the name of a backup. It is in UTC, has no colons because of
// Windows, and sorts by time.
const stampLayout = "20060102T150405Z"

// newID returns the name of a new backup: the job, the time, and six random digits. Two
// runs within one second therefore have two names.
func newID(job string, now time.Time) string {
	return job + "_" + now.UTC().Format(stampLayout) + "_" + randomDigits()
}

// randomDigits returns six random hexadecimal digits.
func randomDigits() string {
	var random [3]byte
	rand.Read(random[:])
	return hex.EncodeToString(random[:])
}

var idForm = regexp.MustCompile(`^([a-z0-9][a-z0-9-]{0,62})_(\d{8}T\d{6}Z)_([0-9a-f]{6})$`)

// checkID rejects an id that is not a valid backup name of the job, because it becomes part
// of file names.
func checkID(job, id string) error {
	parts := idForm.FindStringSubmatch(id)
	if parts == nil || parts[1] != job {
		return fmt.Errorf("%w: %q is not a backup of the job %s", ErrNotFound, id, job)
	}
	return nil
}

// idTime returns the time in a valid id.
func idTime(id string) time.Time {
	parts := idForm.FindStringSubmatch(id)
	if parts == nil {
		return time.Time{}
	}
	t, _ := time.Parse(stampLayout, parts[2]) // zero for a date that does not exist
	return t
}

// The files of one backup start with its id.
const (
	manifestSuffix = ".json"
	verifySuffix   = ".verify.json"
	pinSuffix      = ".pin"
	acceptSuffix   = ".accepted"
)

// stem returns the id of the backup that a file belongs to, or "".
func stem(job, name string) string {
	id, _, _ := strings.Cut(name, ".")
	if checkID(job, id) != nil {
		return ""
	}
	return id
}
