package cache

import (
	"encoding/binary"
	"errors"

	"github.com/zeebo/xxh3"
)

// The envelope around each stored value: two bytes of magic, a format version, the
// codec's and the schema's name with their lengths, a checksum of all that and the
// payload, the payload. What does not read back exactly is a miss, never a value.
const (
	magic0, magic1 = 0xCA, 0x5E
	formatVersion  = 1
	checksumSize   = 8
)

var (
	errForeign   = errors.New("cache: not a value of this package")
	errNewer     = errors.New("cache: written by a newer version of this package")
	errTruncated = errors.New("cache: cut short")
	errChecksum  = errors.New("cache: the checksum is wrong")
	errCodec     = errors.New("cache: of another codec")
	errSchema    = errors.New("cache: of another schema")
)

// seal wraps a payload.
func seal(codec, schema string, payload []byte) []byte {
	head := 3 + 1 + len(codec) + 1 + len(schema)
	b := make([]byte, 0, head+checksumSize+len(payload))
	b = append(b, magic0, magic1, formatVersion)
	b = append(append(b, byte(len(codec))), codec...)
	b = append(append(b, byte(len(schema))), schema...)
	b = b[:head+checksumSize]
	b = append(b, payload...)
	binary.LittleEndian.PutUint64(b[head:], checksum(b[:head], payload))
	return b
}

// open returns the payload, which shares the memory of data.
func open(codec, schema string, data []byte) ([]byte, error) {
	if len(data) < 3 || data[0] != magic0 || data[1] != magic1 {
		return nil, errForeign
	}
	if data[2] > formatVersion {
		return nil, errNewer
	}
	if data[2] != formatVersion {
		return nil, errForeign
	}
	gotCodec, rest, ok := takeName(data[3:])
	if !ok {
		return nil, errTruncated
	}
	gotSchema, rest, ok := takeName(rest)
	if !ok || len(rest) < checksumSize {
		return nil, errTruncated
	}
	head := data[:len(data)-len(rest)]
	payload := rest[checksumSize:]
	switch {
	case binary.LittleEndian.Uint64(rest) != checksum(head, payload):
		return nil, errChecksum
	case string(gotCodec) != codec:
		return nil, errCodec
	case string(gotSchema) != schema:
		return nil, errSchema
	}
	return payload, nil
}

func takeName(b []byte) (name, rest []byte, ok bool) {
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return nil, nil, false
	}
	n := 1 + int(b[0])
	return b[1:n], b[n:], true
}

func checksum(head, payload []byte) uint64 {
	return xxh3.HashSeed(payload, xxh3.Hash(head))
}
