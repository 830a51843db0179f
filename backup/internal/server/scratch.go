package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// ScratchName returns a name for a scratch database of a server, with at most 63 bytes.
func ScratchName(database string, now time.Time) string {
	return fmt.Sprintf("%s_scratch_%s_%s", scratchPrefix(database), now.UTC().Format(scratchLayout), RandomDigits())
}

const scratchLayout = "20060102t150405"

func scratchPrefix(database string) string {
	return strings.ToValidUTF8(database[:min(len(database), 32)], "")
}

var scratchSuffix = regexp.MustCompile(`^_scratch_([0-9]{8}t[0-9]{6})_[0-9a-f]{6}$`)

// StaleScratch reports whether name is a scratch database of this database that was created
// before the given time.
func StaleScratch(database, name string, before time.Time) bool {
	prefix := scratchPrefix(database)
	if len(name) < len(prefix) || !strings.EqualFold(name[:len(prefix)], prefix) { // some servers change the case of names
		return false
	}
	found := scratchSuffix.FindStringSubmatch(name[len(prefix):])
	if found == nil {
		return false
	}
	made, err := time.Parse(scratchLayout, found[1])
	return err == nil && made.Before(before)
}

// DropStale drops the test databases of this database that were created before the given
// time.
func DropStale(ctx context.Context, names []string, database string, before time.Time, drop func(context.Context, string) error) (dropped []string, err error) {
	for _, name := range names {
		if !StaleScratch(database, name, before) {
			continue
		}
		if err := drop(ctx, name); err != nil {
			return dropped, err
		}
		dropped = append(dropped, name)
	}
	return dropped, nil
}

// Left marks the failure to drop a database that a restore has created.
func Left(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", driver.ErrLeft, err)
}

// Stamp is the time layout in file names: UTC, without colons because of Windows, sorted by
// time.
const Stamp = "20060102T150405Z"

// RandomDigits returns six hexadecimal digits.
func RandomDigits() string {
	var random [3]byte
	rand.Read(random[:])
	return hex.EncodeToString(random[:])
}

// ShortList joins the first ten names.
func ShortList(names []string) string {
	const most = 10
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
