package cache

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/zeebo/xxh3"
)

// The envelope around each stored value: two bytes of magic, a format version, flags,
// the names of codec and schema, the end of the value's time and how long its load took
// in milliseconds, the states of its tags, a checksum of all that and the payload, the
// payload. What does not read back exactly is a miss, never a value.
const (
	magic0, magic1 = 0xCA, 0x5E
	formatVersion  = 1
	checksumSize   = 8

	flagAbsent      = 1 // there is no such thing; the payload is empty
	flagCompression = 6 // two bits of Compression
)

var (
	errForeign   = errors.New("cache: not a value of this package")
	errNewer     = errors.New("cache: written by a newer version of this package")
	errTruncated = errors.New("cache: cut short")
	errChecksum  = errors.New("cache: the checksum is wrong")
	errCodec     = errors.New("cache: of another codec")
	errSchema    = errors.New("cache: of another schema")
)

// envelope is what is stored of a value.
type envelope struct {
	codec, schema string
	flags         byte
	fresh         int64    // until when, in Unix milliseconds
	took          uint32   // by the load, in milliseconds
	tags          []string // their states
	payload       []byte
}

func (e *envelope) seal() []byte {
	size := 4 + 2 + len(e.codec) + len(e.schema) + 8 + 4 + 1 + checksumSize + len(e.payload)
	for _, tag := range e.tags {
		size += 1 + len(tag)
	}
	b := make([]byte, 0, size)
	b = append(b, magic0, magic1, formatVersion, e.flags)
	b = append(append(b, byte(len(e.codec))), e.codec...)
	b = append(append(b, byte(len(e.schema))), e.schema...)
	b = binary.LittleEndian.AppendUint64(b, uint64(e.fresh))
	b = binary.LittleEndian.AppendUint32(b, e.took)
	b = append(b, byte(len(e.tags)))
	for _, tag := range e.tags {
		b = append(append(b, byte(len(tag))), tag...)
	}
	b = binary.LittleEndian.AppendUint64(b, checksum(b, e.payload))
	return append(b, e.payload...)
}

// open reads an envelope; the payload shares the memory of data. The checksum is looked
// at before anything is believed but the lengths that lead to it.
func open(data []byte) (*envelope, error) {
	if len(data) < 4 || data[0] != magic0 || data[1] != magic1 {
		return nil, errForeign
	}
	switch {
	case data[2] > formatVersion:
		return nil, errNewer
	case data[2] != formatVersion:
		return nil, errForeign
	}
	r := reader{rest: data[4:]}
	e := &envelope{flags: data[3], codec: r.text(), schema: r.text()}
	e.fresh = int64(binary.LittleEndian.Uint64(r.take(8)))
	e.took = binary.LittleEndian.Uint32(r.take(4))
	e.tags = make([]string, r.byte())
	for i := range e.tags {
		e.tags[i] = r.text()
	}
	if r.short || len(r.rest) < checksumSize {
		return nil, errTruncated
	}
	head := data[:len(data)-len(r.rest)]
	e.payload = r.rest[checksumSize:]
	if binary.LittleEndian.Uint64(r.rest) != checksum(head, e.payload) {
		return nil, errChecksum
	}
	return e, nil
}

// bears reports whether the tags still are as they were before the value was loaded.
func (e *envelope) bears(states []string) bool { return slices.Equal(e.tags, states) }

// reader takes fields from the front; after the end it returns zeros and sets short.
type reader struct {
	rest  []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if len(r.rest) < n {
		r.short, r.rest = true, nil
		return make([]byte, n)
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) byte() byte   { return r.take(1)[0] }
func (r *reader) text() string { return string(r.take(int(r.byte()))) }

func checksum(head, payload []byte) uint64 {
	return xxh3.HashSeed(payload, xxh3.Hash(head))
}
