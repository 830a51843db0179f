package driver

import (
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/s2"
)

// Meter measures the rows of one table: their number, length, digest, and how well they
// compress. The digest is the sum of a hash of each row, so that it does not depend on
// their order. The zero value is ready to use. A Meter is not safe for concurrent use.
type Meter struct {
	rows, bytes int64
	sum, second uint64

	sample          []byte
	skip            int64
	sampled, packed int64
	scratch         []byte
}

const (
	sampleSize  = 64 << 10 // of one piece
	sampleEvery = 1 << 20  // one piece in so many bytes
)

// Row adds a row in the form in which the dump writes it. Row does not keep the slice.
func (m *Meter) Row(row []byte) {
	h := xxhash.Sum64(row)
	m.rows++
	m.bytes += int64(len(row))
	m.sum += h
	m.second += mix(h)
	if m.skip > 0 {
		m.skip -= int64(len(row))
		return
	}
	if m.sample = append(m.sample, row[:min(len(row), sampleSize)]...); len(m.sample) >= sampleSize {
		m.pack()
		m.skip = sampleEvery - sampleSize
	}
}

// mix makes another 64 bits of a hash: two rows whose change keeps one sum change the other.
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
}

// Rows returns how many rows were added.
func (m *Meter) Rows() int64 { return m.rows }

// Table returns what was measured.
func (m *Meter) Table(name string) Table {
	m.pack()
	t := Table{Name: name, Rows: m.rows, Bytes: m.bytes, Digest: fmt.Sprintf("%016x%016x", m.sum, m.second)}
	if m.sampled > 0 {
		t.Packed = int64(float64(m.packed) / float64(m.sampled) * float64(m.bytes))
	}
	return t
}
