package server

import (
	"path/filepath"
	"regexp"
	"strings"
)

// The forms of the names that restores choose themselves.
var (
	leftName   = regexp.MustCompile(`^(.+)_(?:scratch|replaced|restore)_\d{8}[tT]\d{6}[zZ]?(?:_[0-9a-f]{6})?(?:\.[A-Za-z0-9]+)?$`)
	hiddenName = regexp.MustCompile(`^\.tmp-(?:.+-[0-9a-f]{6}|restore-[0-9]+)$`)
)

// Leftover reports whether a restore of the original chose this name: a database on the same
// server, or a file or folder beside the original. Only such names may be removed because a
// file of the storage says so. Any other name may be that of another database.
func Leftover(original, name string) bool {
	if original == "" || name == original {
		return false
	}
	if filepath.IsAbs(original) {
		if filepath.Clean(name) != name || filepath.Dir(name) != filepath.Dir(original) {
			return false
		}
		if hiddenName.MatchString(filepath.Base(name)) {
			return true
		}
	} else if strings.ContainsAny(name, `/\`) {
		return false
	}
	found := leftName.FindStringSubmatch(name)
	// Long names are shortened. Some servers change the case of names.
	return found != nil && len(found[1]) <= len(original) && strings.EqualFold(found[1], original[:len(found[1])])
}
