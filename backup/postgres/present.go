package postgres

import "fmt"

// present gives existing objects their present owners and privileges, and the database its
// present settings. An overwriting restore therefore grants no access that is revoked now.
func (t *toc) present(now *toc) {
	ours, ourIDs := t.objects()
	theirs, theirIDs := now.objects()
	schemas := map[string]bool{"": true, "public": true, "pg_catalog": true, "information_schema": true}
	last := 0
	for _, e := range t.entries {
		last = max(last, e.id)
		if e.kind.s == "SCHEMA" {
			schemas[e.tag.s] = true
		}
	}
	t.keep(func(e *tocEntry) bool {
		switch {
		case e.ofDatabase(), e.ofPublic(), e.kind.s == "DEFAULT ACL":
			return false
		case e.kind.s == "ACL":
			object := e.object(ourIDs)
			return object != nil && theirs[object.key()] == nil
		}
		if same := theirs[e.key()]; same != nil {
			e.owner = same.owner
		}
		return true
	})
	for _, e := range now.entries {
		needs := []text(nil)
		switch {
		case e.ofDatabase(), e.ofPublic():
		case e.kind.s == "DEFAULT ACL":
			if !schemas[e.schema.s] {
				continue
			}
		case e.kind.s != "ACL":
			continue
		default:
			object := e.object(theirIDs)
			if object == nil { // an object of the server, or of an extension that the backup may lack
				e.optional = true
				break
			}
			our := ours[object.key()]
			if our == nil {
				continue
			}
			needs = []text{some(fmt.Sprint(our.id))}
		}
		last++
		e.id, e.needs = last, needs
		t.entries = append(t.entries, e)
	}
}

// objects returns the entries except access lists by their keys, and all entries by their
// ids.
func (t *toc) objects() (byKey, byID map[string]*tocEntry) {
	byKey, byID = map[string]*tocEntry{}, map[string]*tocEntry{}
	for _, e := range t.entries {
		byID[fmt.Sprint(e.id)] = e
		if e.kind.s != "ACL" && e.kind.s != "DEFAULT ACL" {
			byKey[e.key()] = e
		}
	}
	return byKey, byID
}

// object returns the entry that an access list belongs to. It is nil for an object that the
// dump does not create.
func (e *tocEntry) object(ids map[string]*tocEntry) *tocEntry {
	for _, need := range e.needs {
		if object := ids[need.s]; object != nil && object.kind.s != "ACL" {
			return object
		}
	}
	return nil
}
