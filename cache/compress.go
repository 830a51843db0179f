package cache

import (
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// Compression makes large values smaller in the store. A stored value is readable with any
// setting.
type Compression byte

// The compressions.
const (
	NoCompression Compression = iota
	S2                        // about 1 GB/s, about half the size
	Zstd                      // smaller, several times slower
)

// compressAbove is the size below which a value is not compressed. worthwhile is the share
// of its size that compression must save.
const (
	compressAbove = 1 << 10
	worthwhile    = 10 // a tenth
)

var errBomb = errors.New("cache: a stored value is larger than MaxValue")

// pack returns the stored form of the payload, and its compression.
func (c Compression) pack(payload []byte) ([]byte, Compression) {
	if c == NoCompression || len(payload) < compressAbove {
		return payload, NoCompression
	}
	var packed []byte
	if c == S2 {
		packed = s2.Encode(nil, payload)
	} else {
		packed = zstdEncoder().EncodeAll(payload, nil)
	}
	if len(packed) > len(payload)-len(payload)/worthwhile {
		return payload, NoCompression
	}
	return packed, c
}

// unpack reverses pack and never allocates more than limit.
func (c Compression) unpack(data []byte, limit int) ([]byte, error) {
	switch c {
	case NoCompression:
		if len(data) > limit {
			return nil, errBomb
		}
		return data, nil
	case S2:
		n, err := s2.DecodedLen(data)
		if err != nil {
			return nil, fmt.Errorf("cache: s2: %w", err)
		}
		if n > limit {
			return nil, errBomb
		}
		return s2.Decode(nil, data)
	case Zstd:
		var header zstd.Header
		if err := header.Decode(data); err != nil {
			return nil, fmt.Errorf("cache: zstd: %w", err)
		}
		// EncodeAll always states the size.
		if !header.HasFCS || header.FrameContentSize > uint64(limit) {
			return nil, errBomb
		}
		decoder := zstdDecoder()
		out, err := decoder.DecodeAll(data, make([]byte, 0, header.FrameContentSize))
		if err == nil && len(out) > limit {
			return nil, errBomb
		}
		return out, err
	}
	return nil, fmt.Errorf("cache: compression %d is unknown", c)
}

var (
	zstdEncoder = sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(0))
		if err != nil {
			panic(err) // only options can be wrong, and they are constant
		}
		return e
	})
	zstdDecoder = sync.OnceValue(func() *zstd.Decoder {
		// The limit applies to any size in a frame, also in a second frame behind it.
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(64<<20))
		if err != nil {
			panic(err)
		}
		return d
	})
)
