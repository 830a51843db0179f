package mysql

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// A dump is SQL that the client program mariadb executes. A comment before each statement
// contains its kind, its length and its object. This package therefore reads a dump without
// parsing SQL:
//
//	-- @ table 57 {"name":"sales"}
//	CREATE TABLE `sales` ( … )
//	;
//
// No statement names the original database. References to it have no qualifier.

// mark is the comment before a statement.
type mark struct {
	Name string `json:"name,omitempty"` // of the table, view, …
	// Table is the table of a trigger.
	Table string `json:"table,omitempty"`
	// Definer is the account that owns the object. Clause is the range of its DEFINER
	// clause in the statement.
	Definer string `json:"definer,omitempty"`
	Clause  [2]int `json:"clause,omitzero"`
	// Status is the state of an event: ENABLED, DISABLED, SLAVESIDE_DISABLED. The statement
	// itself disables the event.
	Status string `json:"status,omitempty"`
	// Settings are the settings of the session and the database under which the object was
	// created.
	Settings *creation `json:"settings,omitempty"`
	// Charset and Collation are the defaults of the database.
	Charset   string `json:"charset,omitempty"`
	Collation string `json:"collation,omitempty"`
}

// creation holds the settings under which a definition was created. They are part of its
// meaning.
type creation struct {
	Mode      string `json:"mode"`
	Client    string `json:"client"`
	Collation string `json:"connection"`
	Database  string `json:"database,omitempty"` // the default collation of the database at that time
	Zone      string `json:"zone,omitempty"`     // of an event
}

// The kinds of statements.
const (
	kindDatabase = "database"
	kindSession  = "session" // settings for the client program; this package uses its own
	kindSequence = "sequence"
	kindTable    = "table"
	kindRows     = "rows"
	kindRoutine  = "routine"
	kindView     = "view"
	kindTrigger  = "trigger"
	kindEvent    = "event"
	kindEnd      = "end"
)

const markPrefix = "-- @ "

// dumpWriter writes statements.
type dumpWriter struct {
	to      io.Writer
	longest int // statement
	buf     []byte
}

func (w *dumpWriter) comment(text string) error {
	_, err := io.WriteString(w.to, "-- "+strings.ReplaceAll(text, "\n", " ")+"\n")
	return err
}

// statement writes one statement. A body that may contain semicolons gets another
// delimiter.
func (w *dumpWriter) statement(kind string, m mark, text []byte) error {
	w.longest = max(w.longest, len(text))
	head, err := json.Marshal(m)
	if err != nil {
		return err
	}
	body := kind == kindRoutine || kind == kindTrigger || kind == kindEvent
	b := w.buf[:0]
	if body {
		b = append(b, "DELIMITER ;;\n"...)
	}
	b = fmt.Appendf(b, "%s%s %d %s\n", markPrefix, kind, len(text), head)
	if _, err := w.to.Write(b); err != nil {
		return err
	}
	if _, err := w.to.Write(text); err != nil {
		return err
	}
	end := "\n;\n"
	switch {
	case body:
		end = "\n;;\nDELIMITER ;\n"
	case kind == kindRows:
		end = ";\n"
	case kind == kindEnd:
		end = "\n"
	}
	_, err = io.WriteString(w.to, end)
	w.buf = b
	return err
}

// statement is one statement of a dump.
type statement struct {
	kind string
	mark
	text []byte // valid until the next statement is read
}

// dumpReader reads statements.
type dumpReader struct {
	from *bufio.Reader
	text []byte
	end  bool
}

func newDumpReader(r io.Reader) *dumpReader {
	return &dumpReader{from: bufio.NewReaderSize(r, 256<<10)}
}

// maxStatement is the maximum length of a statement.
const maxStatement = 2 << 30

var errCut = errors.New("backup: the dump is damaged or truncated")

// next returns the next statement. The text is nil if skip returns true. After the last
// statement next returns io.EOF.
func (r *dumpReader) next(skip func(kind string, m *mark) bool) (statement, error) {
	for {
		line, err := r.from.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF) && r.end:
			return statement{}, io.EOF
		case errors.Is(err, io.EOF):
			return statement{}, errCut
		case errors.Is(err, bufio.ErrBufferFull):
			if len(line) > len(markPrefix) && string(line[:len(markPrefix)]) == markPrefix {
				return statement{}, errCut
			}
			continue
		case err != nil:
			return statement{}, err
		}
		rest, ok := strings.CutPrefix(string(line), markPrefix)
		if !ok {
			continue
		}
		if r.end {
			return statement{}, errCut
		}
		kind, rest, _ := strings.Cut(rest, " ")
		number, head, _ := strings.Cut(rest, " ")
		var n int
		s := statement{kind: kind}
		if _, err := fmt.Sscanf(number, "%d", &n); err != nil || n < 0 || int64(n) > maxStatement {
			return s, errCut
		}
		if err := json.Unmarshal([]byte(head), &s.mark); err != nil || s.Clause[0] < 0 || s.Clause[1] < s.Clause[0] || s.Clause[1] > n {
			return s, errCut
		}
		if kind == kindEnd {
			r.end = true
		}
		if skip(kind, &s.mark) {
			if _, err := io.CopyN(io.Discard, r.from, int64(n)); err != nil {
				return s, cut(err)
			}
			return s, nil
		}
		if cap(r.text) < n {
			r.text = make([]byte, n)
		}
		s.text = r.text[:n]
		if _, err := io.ReadFull(r.from, s.text); err != nil {
			return s, cut(err)
		}
		return s, nil
	}
}

func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errCut
	}
	return err
}

// by returns the text of a definition that belongs to the account definer. "" means the
// account that restores.
func (s *statement) by(definer string) string {
	if s.Clause[1] == 0 {
		return string(s.text)
	}
	clause := ""
	if definer != "" {
		clause = "DEFINER=" + quoteAccount(definer)
	}
	return string(s.text[:s.Clause[0]]) + clause + string(s.text[s.Clause[1]:])
}

var zoneName = regexp.MustCompile(`^[A-Za-z0-9_+:/-]+$`)

// valid reports whether the settings can be part of a statement.
func (c *creation) valid() bool {
	return c != nil && charsetName.MatchString(c.Client) && charsetName.MatchString(c.Collation) &&
		(c.Database == "" || charsetName.MatchString(c.Database)) && (c.Zone == "" || zoneName.MatchString(c.Zone))
}

// set returns the statement that applies the settings to a session.
func (c *creation) set() string {
	zone := c.Zone
	if zone == "" {
		zone = "+00:00"
	}
	return fmt.Sprintf("SET SESSION sql_mode = %s, character_set_client = %s, collation_connection = %s, time_zone = '%s'", quoteText(c.Mode), c.Client, c.Collation, zone)
}
