package postgres

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// postgresArchive describes the contents of an archive in pg_dump's custom format. Unlike
// pg_restore --list, its reader detects a truncated archive.
type postgresArchive struct {
	database string
	server   string // version of the server
	client   string // version of pg_dump
	toc      *toc
	large    driver.Table      // all large objects
	roots    map[string]string // from partitions between which rows move to their root
	holds    driver.Contents
	monetary string // lc_monetary of the session of pg_dump, if this package has set it
}

// archiveMonetary is the locale of the text of MONEY in an archive. Every server has it.
const archiveMonetary = "C"

const (
	archiveBlockData  = 1
	archiveBlockBlobs = 3
	// longestName is the maximum length of the stored strings of an archive. A definition
	// may contain the text of a long function.
	longestName = 64 << 20
	// largeObjects is the name of the large objects among the tables of a manifest. Each of
	// them counts as one row.
	largeObjects = "pg_catalog.pg_largeobject"
)

func newArchiveReader(r io.Reader) *archiveReader {
	return &archiveReader{r: bufio.NewReaderSize(r, 256<<10)}
}

// scan reads an uncompressed archive to its end. It fails unless the last line of every
// announced table is there. It counts the rows, which are one line each in the text format
// of COPY. The layout follows pg_backup_archiver.c and pg_backup_custom.c of PostgreSQL 12
// to 18.
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
			s.table(a.holds.Tables[entry].Name, &s.meters[entry], s.orders[id])
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
	for i := range a.holds.Tables {
		a.holds.Tables[i] = s.meters[i].Table(a.holds.Tables[i].Name)
	}
	if s.large.Rows() > 0 {
		a.large = s.large.Table(largeObjects)
	}
	return a, nil
}

// archiveReader keeps the first error, so that the reading code follows the layout.
type archiveReader struct {
	r       *bufio.Reader
	err     error
	intSize int
	pending map[int]int // entries whose data follows, with their index in the tables
	rows    atomic.Int64
	meters  []driver.Meter
	large   driver.Meter // large objects
	like    *toc         // measures the columns of a table in the order of this archive; nil: in its own
	orders  map[int][]int
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

// int reads a sign and then the bytes, the lowest first.
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

// string reads a string. It returns false for an absent one.
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

func (s *archiveReader) text() text {
	t, there := s.string()
	return text{t, there}
}

// contents reads the header and the table of contents.
func (s *archiveReader) contents() postgresArchive {
	var a postgresArchive
	a.toc = s.toc()
	a.database, a.server, a.client = a.toc.database.s, a.toc.server.s, a.toc.client.s
	s.pending = make(map[int]int)
	s.orders = a.toc.ordersLike(s.like)
	a.roots = map[string]string{}
	places := map[string]int{}
	for _, e := range a.toc.entries {
		switch e.kind.s {
		case "TABLE DATA":
			if e.hasData {
				partition := postgresName(e.schema.s, e.tag.s)
				name := e.copiedTo(partition)
				if name != partition {
					a.roots[partition] = name
				}
				place, known := places[name]
				if !known {
					place = len(a.holds.Tables)
					places[name] = place
					a.holds.Tables = append(a.holds.Tables, driver.Table{Name: name})
					s.meters = append(s.meters, driver.Meter{})
				}
				s.pending[e.id] = place
			}
		case "VIEW", "MATERIALIZED VIEW":
			a.holds.Views++
		case "FUNCTION", "PROCEDURE", "AGGREGATE":
			a.holds.Routines++
		case "TRIGGER":
			a.holds.Triggers++
		default:
			if e.hasData {
				s.pending[e.id] = -1 // large objects
			}
		}
	}
	return a
}

// copiedTo returns the table into which the rows of an entry are loaded. It is the root of
// a partition if the rows may belong to another partition in another database. For example,
// the hash of an enum value depends on its number in the database.
func (e *tocEntry) copiedTo(table string) string {
	if t := tokens(e.copy.s); len(t) > 3 && t[0] == "COPY" && t[2] == "." {
		return postgresName(unquote(t[1]), unquote(t[3]))
	}
	return table
}

// longestRow is the maximum length of a row that is kept for its digest. For a longer row,
// the hash is measured instead.
const longestRow = 1 << 20

// ordersLike returns, by the id of an entry, the places of the columns in another archive
// of the same tables, if they differ. A column that was added to a parent table later comes
// first in a restored child table.
func (t *toc) ordersLike(other *toc) map[int][]int {
	orders := map[int][]int{}
	if other == nil {
		return orders
	}
	columns := map[string][]string{}
	for _, e := range other.entries {
		if e.kind.s == "TABLE DATA" {
			columns[postgresName(e.schema.s, e.tag.s)] = e.columns()
		}
	}
	for _, e := range t.entries {
		has, want := e.columns(), columns[postgresName(e.schema.s, e.tag.s)]
		if e.kind.s != "TABLE DATA" || len(has) != len(want) || slices.Equal(has, want) {
			continue
		}
		var order []int
		for _, name := range want {
			order = append(order, slices.Index(has, name))
		}
		if !slices.Contains(order, -1) {
			orders[e.id] = order
		}
	}
	return orders
}

// columns returns the names in COPY schema.table (a, b) FROM stdin.
func (e *tocEntry) columns() (names []string) {
	list := tokens(e.copy.s)
	if open := slices.Index(list, "("); open > 0 {
		for _, token := range list[open+1:] {
			if token == ")" {
				break
			}
			if token != "," {
				names = append(names, unquote(token))
			}
		}
	}
	return names
}

// table measures the rows in the chunks of a table, one line each. The last line is a
// backslash and a dot, which is never a row. If there is an order, it measures the columns
// in that order.
func (s *archiveReader) table(name string, meter *driver.Meter, order []int) {
	var row, ordered []byte // row is the start of a row that continues in the next chunk
	longest := longestRow
	if order != nil {
		longest = longestName // a row in another order is kept whole
	}
	var long *xxhash.Digest
	var ended bool
	for n := s.int(); n > 0 && s.err == nil; n = s.int() {
		for n > 0 && s.err == nil {
			part, err := s.r.Peek(min(n, s.r.Size()))
			s.fail(err)
			size := len(part)
			for len(part) > 0 {
				line, rest, whole := bytes.Cut(part, []byte{'\n'})
				part = rest
				if !whole || len(row) > 0 || long != nil {
					row = append(row, line...)
					if long == nil && len(row) > longest {
						long = xxhash.New()
					}
					if long != nil {
						_, _ = long.Write(row)
						row = row[:0]
					}
					if !whole {
						continue
					}
					if line = row; long != nil {
						line = binary.BigEndian.AppendUint64(row, long.Sum64())
						long = nil
					}
				}
				switch {
				case ended && len(line) > 0:
					s.fail(fmt.Errorf("there is something behind the rows of %s", name))
					return
				case ended:
				case string(line) == `\.`:
					ended = true
				default:
					if order != nil {
						ordered = inOrder(ordered[:0], line, order)
						line = ordered
					}
					if order != nil && len(line) > longestRow {
						line = binary.BigEndian.AppendUint64(nil, xxhash.Sum64(line))
					}
					meter.Row(line)
					s.rows.Add(1)
				}
				row = row[:0]
			}
			n -= size
			s.skip(size)
		}
	}
	if s.err == nil && (!ended || len(row) > 0 || long != nil) {
		s.fail(fmt.Errorf("the rows of %s do not come to an end", name))
	}
}

// inOrder appends the fields of a row in another order.
func inOrder(to, row []byte, order []int) []byte {
	fields := bytes.Split(row, []byte{'\t'})
	for i, place := range order {
		if i > 0 {
			to = append(to, '\t')
		}
		if place < len(fields) {
			to = append(to, fields[place]...)
		}
	}
	return to
}

// blobs measures large objects. Each has a number and chunks, and a zero ends the list.
func (s *archiveReader) blobs() {
	for id := s.int(); id != 0 && s.err == nil; id = s.int() {
		hash := xxhash.New()
		for n := s.int(); n > 0 && s.err == nil; n = s.int() {
			for n > 0 && s.err == nil {
				part, err := s.r.Peek(min(n, s.r.Size()))
				s.fail(err)
				_, _ = hash.Write(part)
				n -= len(part)
				s.skip(len(part))
			}
		}
		s.large.Row(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(id)), hash.Sum64()))
	}
}

// postgresName returns the name of a table for display and comparison. It has quotes if it
// would be ambiguous without them.
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

// archiveScanner passes an archive on and parses it at the same time.
type archiveScanner struct {
	to      io.Writer
	pipe    *io.PipeWriter
	count   func(rows int64) // rows that were read so far
	reader  *archiveReader
	done    chan struct{}
	archive postgresArchive
	err     error
}

func newArchiveScanner(to io.Writer, like *toc) *archiveScanner {
	r, w := io.Pipe()
	s := &archiveScanner{to: to, pipe: w, count: driver.RowsTo(to), reader: newArchiveReader(r), done: make(chan struct{})}
	s.reader.like = like
	go func() {
		defer close(s.done)
		s.archive, s.err = s.reader.scan()
		r.CloseWithError(s.err) // later writes fail with this reason
	}()
	return s
}

// Write passes b on first, so that the parser sees only bytes that were stored.
func (s *archiveScanner) Write(b []byte) (int, error) {
	n, err := s.to.Write(b)
	if err != nil {
		return n, err
	}
	n, err = s.pipe.Write(b)
	s.count(s.reader.rows.Load())
	return n, err
}

// finish ends the parsing and returns the contents of the archive.
func (s *archiveScanner) finish() (postgresArchive, error) {
	_ = s.pipe.Close() // closing a pipe within the process cannot fail
	<-s.done
	return s.archive, s.err
}
