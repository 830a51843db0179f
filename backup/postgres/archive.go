package postgres

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// postgresArchive is what an archive in pg_dump's custom format holds, by its own
// account: pg_restore --list takes a cut archive for whole, this does not.
type postgresArchive struct {
	database string
	server   string // its version
	client   string // pg_dump's
	holds    driver.Contents
}

const (
	archiveBlockData  = 1
	archiveBlockBlobs = 3
	// longestName bounds the strings of an archive that are kept; PostgreSQL's names
	// have 63 bytes, but a tag may name a function with all its arguments.
	longestName = 64 << 10
)

// scanPostgresArchive reads an uncompressed archive to its end. It fails unless
// every table that the contents announce is there with its last line, and counts
// the rows, one line each, of COPY's text format. The layout follows
// pg_backup_archiver.c and pg_backup_custom.c of PostgreSQL 12 to 18.
func scanPostgresArchive(r io.Reader) (postgresArchive, error) {
	return newArchiveReader(r).scan()
}

func newArchiveReader(r io.Reader) *archiveReader {
	return &archiveReader{r: bufio.NewReaderSize(r, 256<<10)}
}

func (s *archiveReader) scan() (postgresArchive, error) {
	a := s.contents()
	for s.err == nil {
		kind, err := s.r.ReadByte()
		if err == io.EOF {
			break
		}
		if err != nil {
			s.fail(err)
			break
		}
		id := s.int()
		entry, known := s.pending[id]
		switch {
		case s.err != nil:
		case !known:
			s.fail(fmt.Errorf("there is data of entry %d, which the contents do not announce", id))
		case kind == archiveBlockData && entry >= 0:
			s.table(&a.holds.Tables[entry])
		case kind == archiveBlockBlobs && entry < 0:
			s.blobs()
		default:
			s.fail(fmt.Errorf("there is a block of unknown kind %d", kind))
		}
		delete(s.pending, id)
	}
	if s.err == nil && len(s.pending) > 0 {
		s.fail(fmt.Errorf("the data of %d tables is missing", len(s.pending)))
	}
	if errors.Is(s.err, io.EOF) {
		s.err = io.ErrUnexpectedEOF
	}
	if s.err != nil {
		return a, fmt.Errorf("backup: the PostgreSQL archive is damaged or cut: %w", s.err)
	}
	return a, nil
}

// archiveReader keeps the first error, so that reading looks like the layout.
type archiveReader struct {
	r       *bufio.Reader
	err     error
	intSize int
	pending map[int]int // entries whose data is to come, and their place in the tables
	rows    atomic.Int64
}

func (s *archiveReader) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

func (s *archiveReader) byte() int {
	if s.err != nil {
		return 0
	}
	b, err := s.r.ReadByte()
	s.fail(err)
	return int(b)
}

// int reads a sign and then the bytes, lowest first.
func (s *archiveReader) int() int {
	negative := s.byte() != 0
	var n int64
	for i := range s.intSize {
		n |= int64(s.byte()) << (8 * i)
	}
	if n < 0 || n > 1<<31-1 {
		s.fail(errors.New("a number is out of range"))
		return 0
	}
	if negative {
		return -int(n)
	}
	return int(n)
}

func (s *archiveReader) skip(n int) {
	if s.err == nil && n > 0 {
		_, err := s.r.Discard(n)
		s.fail(err)
	}
}

// string reads a string; the absent one is told apart.
func (s *archiveReader) string() (string, bool) {
	n := s.int()
	if s.err != nil || n < 0 {
		return "", false
	}
	if n > longestName {
		s.fail(errors.New("a name is too long"))
		return "", false
	}
	text := make([]byte, n)
	_, err := io.ReadFull(s.r, text)
	s.fail(err)
	return string(text), true
}

func (s *archiveReader) text() string {
	t, _ := s.string()
	return t
}

func (s *archiveReader) skipStrings(count int) {
	for range count {
		s.skip(s.int())
	}
}

// contents reads the head and the table of contents.
func (s *archiveReader) contents() postgresArchive {
	var a postgresArchive
	magic := make([]byte, 5)
	if _, err := io.ReadFull(s.r, magic); err != nil || string(magic) != "PGDMP" {
		s.fail(errors.New("it does not begin as an archive of pg_dump"))
		return a
	}
	major, minor := s.byte(), s.byte()
	s.skip(1)
	s.intSize = s.byte()
	offsetSize := s.byte()
	if format := s.byte(); s.err == nil && (major != 1 || minor < 14 || minor > 16 || format != 1 || s.intSize < 4 || s.intSize > 8 || offsetSize > 8) {
		s.fail(fmt.Errorf("its format %d.%d (%d) is unknown", major, minor, format))
		return a
	}
	var compression int
	if minor >= 15 {
		compression = s.byte()
	} else {
		compression = s.int()
	}
	if s.err == nil && compression != 0 {
		s.fail(errors.New("it is compressed by pg_dump itself, which this package never asks for"))
	}
	for range 7 {
		s.int() // when it was made
	}
	a.database, a.server, a.client = s.text(), s.text(), s.text()

	s.pending = make(map[int]int)
	for entries := s.int(); entries > 0 && s.err == nil; entries-- {
		id := s.int()
		hasData := s.int() != 0
		s.skipStrings(2)
		tag, kind := s.text(), s.text()
		s.int()
		s.skipStrings(3)
		schema := s.text()
		s.skipStrings(2)
		if minor >= 16 {
			s.int()
		}
		s.skipStrings(2)
		for more := true; more && s.err == nil; {
			_, more = s.string() // what it depends on
		}
		s.skip(1 + offsetSize)
		switch kind {
		case "TABLE DATA":
			if hasData {
				s.pending[id] = len(a.holds.Tables)
				a.holds.Tables = append(a.holds.Tables, driver.Table{Name: postgresName(schema, tag)})
			}
		case "VIEW", "MATERIALIZED VIEW":
			a.holds.Views++
		case "FUNCTION", "PROCEDURE", "AGGREGATE":
			a.holds.Routines++
		case "TRIGGER":
			a.holds.Triggers++
		default:
			if hasData {
				s.pending[id] = -1 // large objects
			}
		}
	}
	return a
}

// table counts the lines of a table's chunks. The last line is a backslash and a
// dot, which no row can be.
func (s *archiveReader) table(t *driver.Table) {
	var tail []byte
	const enough = 8
	for n := s.int(); n > 0 && s.err == nil; n = s.int() {
		for n > 0 && s.err == nil {
			part, err := s.r.Peek(min(n, s.r.Size()))
			s.fail(err)
			rows := int64(bytes.Count(part, []byte{'\n'}))
			t.Rows += rows
			s.rows.Add(rows)
			tail = append(tail, part[max(0, len(part)-enough):]...)
			tail = tail[max(0, len(tail)-enough):]
			n -= len(part)
			s.skip(len(part))
		}
	}
	end := bytes.LastIndex(tail, []byte("\\.\n"))
	if s.err == nil && (end < 0 || end > 0 && tail[end-1] != '\n' || len(bytes.TrimRight(tail[end+2:], "\n")) > 0) {
		s.fail(fmt.Errorf("the rows of %s do not come to an end", t.Name))
		return
	}
	after := int64(bytes.Count(tail[max(0, end):], []byte{'\n'}))
	t.Rows -= after
	s.rows.Add(-after)
}

// blobs skips large objects: a number each, chunks, and a zero at the end.
func (s *archiveReader) blobs() {
	for s.int() != 0 && s.err == nil {
		for n := s.int(); n > 0 && s.err == nil; n = s.int() {
			s.skip(n)
		}
	}
}

// postgresName writes a table's name for people and for comparisons, with quotes
// where a name would be ambiguous without.
func postgresName(schema, table string) string {
	quote := func(name string) string {
		plain := func(r rune) bool { return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' }
		if strings.TrimFunc(name, plain) == "" {
			return name
		}
		return quotePostgres(name)
	}
	return quote(schema) + "." + quote(table)
}

// archiveScanner passes an archive on and reads it at the same time.
type archiveScanner struct {
	to      io.Writer
	pipe    *io.PipeWriter
	count   func(rows int64) // that were read so far
	reader  *archiveReader
	done    chan struct{}
	archive postgresArchive
	err     error
}

func newArchiveScanner(to io.Writer) *archiveScanner {
	r, w := io.Pipe()
	s := &archiveScanner{to: to, pipe: w, count: driver.RowsTo(to), reader: newArchiveReader(r), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		s.archive, s.err = s.reader.scan()
		r.CloseWithError(s.err) // what is still written fails with the reason
	}()
	return s
}

// Write passes b on first, because nothing is to be known of what was not kept.
func (s *archiveScanner) Write(b []byte) (int, error) {
	n, err := s.to.Write(b)
	if err != nil {
		return n, err
	}
	n, err = s.pipe.Write(b)
	s.count(s.reader.rows.Load())
	return n, err
}

// finish ends the reading and returns what the archive holds.
func (s *archiveScanner) finish() (postgresArchive, error) {
	_ = s.pipe.Close() // a pipe of this process cannot fail to close
	<-s.done
	return s.archive, s.err
}
