package driver

import (
	"fmt"
	"math"
	"slices"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/s2"
)

// Meter measures the rows of one table: their number, length, digest and compressed length.
// The digest is the sum of the hashes of all rows, so that it does not depend on their
// order. The zero value is ready to use. A Meter is not safe for concurrent use.
type Meter struct {
	rows, bytes int64
	sum, second uint64

	sample          []byte
	skip            int64
	sampled, packed int64
	scratch         []byte
	columns         []columnMeter
}

const (
	sampleSize  = 64 << 10 // of one piece
	sampleEvery = 1 << 20  // one piece in this many bytes
)

// Columns sets the names of the columns. Row then measures them in a sample of the rows.
func (m *Meter) Columns(names ...string) {
	m.columns = make([]columnMeter, len(names))
	for i, name := range names {
		m.columns[i].name = name
	}
}

// Row adds a row in the format of the dump. ends are the offsets at which the values of the
// columns end. One byte precedes each value. Row keeps neither slice.
func (m *Meter) Row(row []byte, ends ...int) {
	h := xxhash.Sum64(row)
	m.rows++
	m.bytes += int64(len(row))
	m.sum += h
	m.second += mix(h)
	if m.skip > 0 {
		m.skip -= int64(len(row))
		return
	}
	if len(ends) == len(m.columns) {
		start := 1
		for i, end := range ends {
			m.columns[i].add(row[start:end])
			start = end + 1
		}
	}
	if m.sample = append(m.sample, row[:min(len(row), sampleSize)]...); len(m.sample) >= sampleSize {
		m.pack()
		m.skip = sampleEvery - sampleSize
	}
}

// mix derives another 64 bits from a hash. If two changed rows leave one sum equal, they
// change the other sum.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

func (m *Meter) pack() {
	if len(m.sample) == 0 {
		return
	}
	m.scratch = s2.EncodeBetter(m.scratch[:cap(m.scratch)], m.sample)
	m.sampled += int64(len(m.sample))
	m.packed += int64(len(m.scratch))
	m.sample = m.sample[:0]
	for i := range m.columns {
		m.scratch = m.columns[i].pack(m.scratch)
	}
}

// Rows returns how many rows were added.
func (m *Meter) Rows() int64 { return m.rows }

// Table returns the measurements.
func (m *Meter) Table(name string) Table {
	m.pack()
	t := Table{Name: name, Rows: m.rows, Bytes: m.bytes, Digest: fmt.Sprintf("%016x%016x", m.sum, m.second)}
	if m.sampled > 0 {
		t.Packed = int64(float64(m.packed) / float64(m.sampled) * float64(m.bytes))
	}
	for i := range m.columns {
		if c := &m.columns[i]; c.rows > 0 {
			t.Columns = append(t.Columns, c.column())
		}
	}
	return t
}

// columnMeter measures one column in a sample of the rows.
type columnMeter struct {
	name            string
	rows, empty     int64
	least           []uint64 // the smallest hashes of its values
	sample          []byte
	sampled, packed int64
}

// leastHashes is the number of hashes that estimate the number of distinct values.
const leastHashes = 64

func (c *columnMeter) add(value []byte) {
	c.rows++
	if len(value) == 0 || string(value) == "NULL" || string(value) == "''" {
		c.empty++
		return
	}
	c.sample = append(c.sample, value[:min(len(value), sampleSize)]...)
	h := mix(xxhash.Sum64(value))
	if n := len(c.least); n == leastHashes && h >= c.least[n-1] {
		return
	}
	i, known := slices.BinarySearch(c.least, h)
	if known {
		return
	}
	c.least = slices.Insert(c.least, i, h)
	c.least = c.least[:min(len(c.least), leastHashes)]
}

func (c *columnMeter) pack(scratch []byte) []byte {
	if len(c.sample) == 0 {
		return scratch
	}
	scratch = s2.EncodeBetter(scratch[:cap(scratch)], c.sample)
	c.sampled += int64(len(c.sample))
	c.packed += int64(len(scratch))
	c.sample = c.sample[:0]
	return scratch
}

func (c *columnMeter) column() Column {
	out := Column{Name: c.name, Rows: c.rows, Empty: c.empty, Bytes: c.sampled, Packed: c.packed, Distinct: int64(len(c.least))}
	if n := len(c.least); n == leastHashes {
		out.Distinct = int64(float64(n-1) / (float64(c.least[n-1]) / math.MaxUint64))
	}
	return out
}
