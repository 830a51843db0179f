package cache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
	"unsafe"

	"github.com/zeebo/xxh3"
)

// The envelope of each stored value has these fields: two bytes of magic, a format version,
// flags, a checksum of all other fields, the names of codec and schema, the end of the
// value's time to live, the time of its load, the duration of the load in milliseconds, the
// states of its tags, the names and states of the tags that not every reader knows, and the
// payload. A damaged value is a miss.
//
// Every later format must begin with the same twelve bytes: a value of a newer version
// stays in the store, and the checksum distinguishes it from a damaged value.
const (
	magic0, magic1 = 0xCA, 0x5E
	formatVersion  = 2
	checksumAt     = 4
	headSize       = checksumAt + 8

	flagAbsent      = 1 // the key does not exist; the payload is empty
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

// envelope is the stored form of a value.
type envelope struct {
	codec, schema string
	flags         byte
	fresh, loaded int64    // end of freshness and time of the load, in Unix milliseconds
	took          uint32   // by the load, in milliseconds
	tags          []string // the states of the tags that every reader knows
	named         []tagState
	payload       []byte
	valid         bool      // the tags that every reader knows are valid
	expired       bool      // Expire ended its freshness
	few           [2]string // memory for tags
}

// tagState is the name of a tag with its state.
type tagState struct{ name, state string }

func (e *envelope) seal() []byte {
	size := headSize + 2 + len(e.codec) + len(e.schema) + 16 + 4 + 2 + len(e.payload)
	for _, tag := range e.tags {
		size += 1 + len(tag)
	}
	for _, tag := range e.named {
		size += 2 + len(tag.name) + len(tag.state)
	}
	b := make([]byte, headSize, size)
	b[0], b[1], b[2], b[3] = magic0, magic1, formatVersion, e.flags
	b = append(append(b, byte(len(e.codec))), e.codec...)
	b = append(append(b, byte(len(e.schema))), e.schema...)
	b = binary.LittleEndian.AppendUint64(b, uint64(e.fresh))
	b = binary.LittleEndian.AppendUint64(b, uint64(e.loaded))
	b = binary.LittleEndian.AppendUint32(b, e.took)
	b = append(b, byte(len(e.tags)))
	for _, tag := range e.tags {
		b = append(append(b, byte(len(tag))), tag...)
	}
	b = append(b, byte(len(e.named)))
	for _, tag := range e.named {
		b = append(append(b, byte(len(tag.name))), tag.name...)
		b = append(append(b, byte(len(tag.state))), tag.state...)
	}
	b = append(b, e.payload...)
	binary.LittleEndian.PutUint64(b[checksumAt:], checksum(b))
	return b
}

// open reads an envelope. The payload shares the memory of data. Before the checksum is
// verified, only the magic is used.
func open(data []byte, e *envelope) error {
	switch {
	case len(data) < 2 || data[0] != magic0 || data[1] != magic1:
		return errForeign
	case len(data) < headSize:
		return errTruncated
	case binary.LittleEndian.Uint64(data[checksumAt:]) != checksum(data):
		return errChecksum
	case data[2] > formatVersion:
		return errNewer
	case data[2] != formatVersion:
		return errForeign
	}
	r := reader{rest: data[headSize:]}
	e.flags, e.codec, e.schema = data[3], r.text(), r.text()
	e.fresh = int64(binary.LittleEndian.Uint64(r.take(8)))
	e.loaded = int64(binary.LittleEndian.Uint64(r.take(8)))
	e.took = binary.LittleEndian.Uint32(r.take(4))
	e.tags = e.few[:0]
	for range r.byte() {
		e.tags = append(e.tags, r.text())
	}
	if n := r.byte(); n > 0 {
		e.named = make([]tagState, n)
		for i := range e.named {
			e.named[i] = tagState{r.text(), r.text()}
		}
	}
	if r.short {
		return errTruncated
	}
	e.payload = r.rest
	return nil
}

// reader takes fields from the front. After the end it returns zeros and sets short.
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

func (r *reader) byte() byte { return r.take(1)[0] }

// text returns a field that shares the memory of the data, which never changes.
func (r *reader) text() string {
	b := r.take(int(r.byte()))
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// checksum covers everything except itself. The hash of the short beginning is the seed for
// the rest, so that no bytes are copied.
func checksum(data []byte) uint64 {
	return xxh3.HashSeed(data[headSize:], xxh3.Hash(data[:checksumAt]))
}

// encode returns the stored form of a reading.
func (c *Typed[V]) encode(w *want, r *reading[V]) ([]byte, error) {
	if len(r.states) < len(w.tags) {
		return nil, fmt.Errorf("cache: %s: the states of the tags are unknown", c.name)
	}
	if slices.Contains(r.states, "") || slices.ContainsFunc(r.late, func(tag tagState) bool { return tag.state == "" }) {
		return nil, fmt.Errorf("cache: %s: %w", c.name, errNoState)
	}
	if r.loaded.IsZero() {
		r.loaded = time.Now()
	}
	e := envelope{
		codec: c.opts.Codec.Name(), schema: c.schema, tags: r.states[:w.own], named: r.late,
		fresh: time.Now().Add(r.freshFor).UnixMilli(), loaded: r.loaded.UnixMilli(), took: uint32(min(r.took.Milliseconds(), math.MaxUint32)), //nolint:gosec // not negative
	}
	for i := w.own; i < len(w.tags); i++ {
		e.named = append(e.named[:len(e.named):len(e.named)], tagState{w.tags[i], r.states[i]})
	}
	if r.absent {
		e.flags = flagAbsent
		return e.seal(), nil
	}
	payload, err := c.marshal(r.value)
	if err != nil {
		return nil, fmt.Errorf("cache: %s: encode with %s: %w", c.name, c.opts.Codec.Name(), err)
	}
	if len(payload) > c.opts.MaxValue {
		return nil, fmt.Errorf("cache: %s: %w: %d bytes, at most %d are stored", c.name, ErrTooLarge, len(payload), c.opts.MaxValue)
	}
	var how Compression
	r.size = len(payload)
	e.payload, how = c.opts.Compression.pack(payload)
	e.flags = byte(how) << 1
	return e.seal(), nil
}

// marshal recovers from panics of codecs: a value that cannot be encoded is not stored.
func (c *Typed[V]) marshal(value V) (payload []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("cache: the codec panicked: %v", v)
		}
	}()
	return c.opts.Codec.Marshal(value)
}
