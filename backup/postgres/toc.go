package postgres

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// toc is the header of a pg_dump archive with its table of contents. It can be changed and
// written again. A restore uses this to adapt owners, privileges and tables to a server.
// The layout follows pg_backup_archiver.c of PostgreSQL 12 to 18.
type toc struct {
	minor, revision     int
	intSize, offsetSize int
	made                [7]int
	database            text
	server, client      text
	entries             []*tocEntry
}

// text is a string of an archive, which may be absent.
type text struct {
	s     string
	there bool
}

func some(s string) text { return text{s, true} }

// tocEntry is an object of an archive.
type tocEntry struct {
	id                            int
	hasData                       bool
	tableOID, oid                 text
	tag, kind                     text // "sales", "TABLE"
	section                       int
	definition, drop, copy        text
	schema, tablespace, accessory text
	relkind                       int
	owner, withOIDs               text
	needs                         []text // ids
	offset                        []byte
	optional                      bool // the object may not exist; not part of an archive
}

// key returns a name of an object that is equal in two archives. The DROP statement of an
// operator includes its operand types, which distinguish operators with the same name.
func (e *tocEntry) key() string {
	return e.kind.s + "\x00" + e.schema.s + "\x00" + e.tag.s + "\x00" + e.drop.s
}

// isNote reports whether the entry is a comment or label of another entry.
func (e *tocEntry) isNote() bool { return e.kind.s == "COMMENT" || e.kind.s == "SECURITY LABEL" }

// ofDatabase reports whether the entry concerns the database itself.
func (e *tocEntry) ofDatabase() bool {
	return e.kind.s == "DATABASE" || e.kind.s == "DATABASE PROPERTIES" ||
		(e.isNote() || e.kind.s == "ACL") && strings.HasPrefix(e.tag.s, "DATABASE ")
}

// ofSchema returns 1 for the access list of a schema.
func (e *tocEntry) ofSchema() int {
	if e.kind.s == "ACL" && strings.HasPrefix(e.tag.s, "SCHEMA ") {
		return 1
	}
	return 0
}

// ofPublic reports whether the entry holds the owner or the privileges of the schema
// public. That schema exists without an entry.
func (e *tocEntry) ofPublic() bool {
	return e.kind.s == "SCHEMA" && e.tag.s == "public" || e.kind.s == "ACL" && e.tag.s == "SCHEMA public"
}

// String returns a readable name of the object.
func (e *tocEntry) String() string {
	name := e.tag.s
	if e.schema.s != "" {
		name = e.schema.s + "." + name
	}
	return lower(e.kind.s) + " " + name
}

func lower(s string) string { return string(bytes.ToLower([]byte(s))) }

// toc reads the header of an archive.
func (s *archiveReader) toc() *toc {
	t := &toc{}
	magic := make([]byte, 5)
	if _, err := io.ReadFull(s.r, magic); err != nil || string(magic) != "PGDMP" {
		s.fail(errors.New("it does not begin as an archive of pg_dump"))
		return t
	}
	major := s.byte()
	t.minor, t.revision = s.byte(), s.byte()
	s.intSize = s.byte()
	t.intSize, t.offsetSize = s.intSize, s.byte()
	if format := s.byte(); s.err == nil && (major != 1 || t.minor < 14 || t.minor > 16 || format != 1 || t.intSize < 4 || t.intSize > 8 || t.offsetSize > 8) {
		s.fail(fmt.Errorf("its format %d.%d (%d) is unknown", major, t.minor, format))
		return t
	}
	var compression int
	if t.minor >= 15 {
		compression = s.byte()
	} else {
		compression = s.int()
	}
	if s.err == nil && compression != 0 {
		s.fail(errors.New("it is compressed by pg_dump itself, which this package never asks for"))
	}
	for i := range t.made {
		t.made[i] = s.int()
	}
	t.database, t.server, t.client = s.text(), s.text(), s.text()
	for n := s.int(); n > 0 && s.err == nil; n-- {
		e := &tocEntry{id: s.int(), hasData: s.int() != 0, tableOID: s.text(), oid: s.text(), tag: s.text(), kind: s.text(), section: s.int()}
		e.definition, e.drop, e.copy = s.text(), s.text(), s.text()
		e.schema, e.tablespace, e.accessory = s.text(), s.text(), s.text()
		if t.minor >= 16 {
			e.relkind = s.int()
		}
		e.owner, e.withOIDs = s.text(), s.text()
		for s.err == nil {
			need := s.text()
			if !need.there {
				break
			}
			e.needs = append(e.needs, need)
		}
		e.offset = make([]byte, 1+t.offsetSize)
		if s.err == nil {
			_, err := io.ReadFull(s.r, e.offset)
			s.fail(err)
		}
		t.entries = append(t.entries, e)
	}
	return t
}

// encode writes the header again. It does not write the offsets of data. A reader that
// cannot seek finds the data itself.
func (t *toc) encode() []byte {
	w := tocWriter{size: t.intSize}
	w.b.WriteString("PGDMP")
	w.b.Write([]byte{1, byte(t.minor), byte(t.revision), byte(t.intSize), byte(t.offsetSize), 1})
	if t.minor >= 15 {
		w.b.WriteByte(0)
	} else {
		w.int(0)
	}
	for _, n := range t.made {
		w.int(n)
	}
	w.text(t.database, t.server, t.client)
	w.int(len(t.entries))
	for _, e := range t.entries {
		w.int(e.id)
		w.int(map[bool]int{true: 1}[e.hasData])
		w.text(e.tableOID, e.oid, e.tag, e.kind)
		w.int(e.section)
		w.text(e.definition, e.drop, e.copy, e.schema, e.tablespace, e.accessory)
		if t.minor >= 16 {
			w.int(e.relkind)
		}
		w.text(e.owner, e.withOIDs)
		w.text(e.needs...)
		w.text(text{})
		offset := make([]byte, 1+t.offsetSize)
		offset[0] = 1 // K_OFFSET_POS_NOT_SET
		if !e.hasData {
			offset[0] = 3 // K_OFFSET_NO_DATA
		}
		w.b.Write(offset)
	}
	return w.b.Bytes()
}

type tocWriter struct {
	b    bytes.Buffer
	size int
}

func (w *tocWriter) int(n int) {
	sign := byte(0)
	if n < 0 {
		sign, n = 1, -n
	}
	w.b.WriteByte(sign)
	for i := range w.size {
		w.b.WriteByte(byte(n >> (8 * i)))
	}
}

func (w *tocWriter) text(list ...text) {
	for _, t := range list {
		if !t.there {
			w.int(-1)
			continue
		}
		w.int(len(t.s))
		w.b.WriteString(t.s)
	}
}

// access adds an access list of objects that every database has.
func (t *toc) access(statements string) {
	last := 0
	for _, e := range t.entries {
		last = max(last, e.id)
	}
	t.entries = append(t.entries, &tocEntry{
		id: last + 1, tableOID: some("0"), oid: some("0"), tag: some("objects of the server"), kind: some("ACL"), section: 1,
		definition: some(statements + ";\n"), drop: some(""), owner: some(""), withOIDs: some("false"),
	})
}

// keep removes the entries for which a function returns false.
func (t *toc) keep(want func(*tocEntry) bool) {
	var kept []*tocEntry
	for _, e := range t.entries {
		if want(e) {
			kept = append(kept, e)
		}
	}
	t.entries = kept
}
