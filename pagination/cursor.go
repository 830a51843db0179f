package pagination

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// maxCursor is the longest cursor that is decoded at all.
const maxCursor = 1024

// Scope is what a cursor is bound to: a hash over the list, its order, its filter and
// the caller's tenant. A cursor is good in its own scope alone. It is a position and
// never a permission: the query must filter by tenant all the same.
type Scope [sha256.Size]byte

// NewScope hashes the parts. Their number and borders count: ("ab", "c") is not
// ("a", "bc").
func NewScope(parts ...string) Scope {
	b := make([]byte, 0, 256)
	for _, p := range parts {
		b = binary.AppendUvarint(b, uint64(len(p)))
		b = append(b, p...)
	}
	return sha256.Sum256(b)
}

// Position is a place in an ordered list and the direction to read from it.
type Position struct {
	Values    []Value // one for each key of the order
	Backward  bool    // towards the beginning
	Inclusive bool    // the row at the place belongs to what is read
}

// CursorsOptions are the options of [NewCursors].
type CursorsOptions struct {
	// TTL is the least time that a cursor lives. It is rounded up by at most a sixteenth,
	// so that equal pages have equal cursors (and ETags) for a while. Default: 0, for
	// ever; 72 hours when encrypted.
	TTL time.Duration
	// Encrypt hides the key values from the client with AES-256-GCM. Encrypted cursors
	// differ each time, so pages that hold them have no stable ETag, and a key serves
	// for 2^32 cursors; rotate it in time. Default: false.
	Encrypt bool
}

// Cursors writes and reads cursors. It is safe for concurrent use.
//
// A cursor is a typed binary payload in base64url: signed by 128 bits of HMAC-SHA256, or
// encrypted. A signed cursor of a time and an int64 has at most 44 characters while the
// number is below 2^48, or 2^41 if the time has nanoseconds. Signed cursors are
// deterministic and readable: do not sort by what a client must not see, or encrypt them.
type Cursors struct {
	ring    *KeyRing
	ttl     time.Duration
	encrypt bool
}

// NewCursors returns the cursors of a key ring. opts may be nil.
func NewCursors(ring *KeyRing, opts *CursorsOptions) (*Cursors, error) {
	if ring == nil {
		return nil, errors.New("pagination: NewCursors needs a key ring; use EphemeralKeyRing in development")
	}
	var o CursorsOptions
	if opts != nil {
		o = *opts
	}
	if o.TTL < 0 {
		return nil, errors.New("pagination: a cursor's TTL must not be negative")
	}
	if o.TTL == 0 && o.Encrypt {
		o.TTL = 72 * time.Hour
	}
	return &Cursors{ring: ring, ttl: o.TTL, encrypt: o.Encrypt}, nil
}

// The first byte: four bits of format, four of flags. The second is the key's ID.
const (
	formatSigned    = 0x10
	formatEncrypted = 0x20
	formatMask      = 0xF0

	flagBackward  = 1
	flagInclusive = 2
	flagExpires   = 4
	flagNulls     = 8
)

// Encode writes a cursor. It fails if the position has more than 64 values or makes a
// cursor of more than 1,024 characters, which happens with long texts as keys.
func (c *Cursors) Encode(scope Scope, at Position) (string, error) {
	return c.encode(&scope, at, time.Now)
}

func (c *Cursors) encode(scope *Scope, at Position, now func() time.Time) (string, error) {
	if len(at.Values) > 64 {
		return "", errors.New("pagination: a cursor holds at most 64 values")
	}
	key := c.ring.keys[c.ring.current]
	var buf [128]byte
	head := byte(formatSigned)
	if c.encrypt {
		head = formatEncrypted
	}
	if at.Backward {
		head |= flagBackward
	}
	if at.Inclusive {
		head |= flagInclusive
	}
	if c.ttl > 0 {
		head |= flagExpires
	}
	var nulls uint64
	for i, v := range at.Values {
		if v.IsNull() {
			nulls |= 1 << i
			head |= flagNulls
		}
	}
	b := append(buf[:0], head, c.ring.current)
	if c.ttl > 0 {
		b = binary.AppendUvarint(b, uint64(c.expiry(now())))
	}
	if nulls != 0 {
		b = binary.AppendUvarint(b, nulls)
	}
	for _, v := range at.Values {
		b = v.append(b)
	}
	if c.encrypt {
		b = key.seal(scope, b)
	} else {
		sum := key.mac(scope, b)
		b = append(b, sum[:]...)
	}
	if base64.RawURLEncoding.EncodedLen(len(b)) > maxCursor {
		return "", fmt.Errorf("pagination: the key values make a cursor of more than %d characters; sort by a shorter key", maxCursor)
	}
	var text [128]byte
	return string(base64.RawURLEncoding.AppendEncode(text[:0], b)), nil
}

// expiry returns the second after which a cursor made now is refused.
func (c *Cursors) expiry(now time.Time) int64 {
	step := max(int64(c.ttl/(16*time.Second)), 1)
	end := now.Add(c.ttl).Unix() + 1
	return (end + step - 1) / step * step
}

// Decode reads a cursor that [Cursors.Encode] made for the same scope. kinds are the
// kinds of the order's keys. Any failure is [ErrInvalidCursor], wrapped with a reason
// for the log; a cursor of another scope cannot be told from a forged one.
func (c *Cursors) Decode(scope Scope, kinds []Kind, cursor string) (Position, error) {
	at, reason := c.decode(&scope, kinds, cursor, time.Now)
	if reason != "" {
		return Position{}, fmt.Errorf("%w: %s", ErrInvalidCursor, reason)
	}
	return at, nil
}

var strictBase64 = base64.RawURLEncoding.Strict()

func (c *Cursors) decode(scope *Scope, kinds []Kind, cursor string, now func() time.Time) (at Position, reason string) {
	if len(cursor) > maxCursor {
		return at, "too long"
	}
	var buf [maxCursor * 3 / 4]byte
	n, err := strictBase64.Decode(buf[:], []byte(cursor))
	if err != nil || n < 2+macSize || base64.RawURLEncoding.EncodedLen(n) != len(cursor) {
		// encoding/base64 skips line breaks, which would make two texts one cursor: the
		// length tells.
		return at, "malformed"
	}
	b := buf[:n]
	head := b[0]
	key := c.ring.keys[b[1]]
	if key == nil {
		return at, "unknown key"
	}
	switch format := head & formatMask; {
	case format == formatSigned && !c.encrypt:
		payload := b[:n-macSize]
		if sum := key.mac(scope, payload); !hmac.Equal(sum[:], b[n-macSize:]) {
			return at, "forged, or made for another list, order, filter or tenant"
		}
		b = payload[2:]
	case format == formatEncrypted && c.encrypt:
		b, err = key.open(scope, b)
		if err != nil {
			return at, "forged, or made for another list, order, filter or tenant"
		}
	default:
		return at, "unknown format"
	}
	at.Backward, at.Inclusive = head&flagBackward != 0, head&flagInclusive != 0
	r := reader{b: b, ok: true}
	if head&flagExpires != 0 && uint64(now().Unix()) > r.uvarint() {
		return at, "expired"
	}
	var nulls uint64
	if head&flagNulls != 0 {
		nulls = r.uvarint()
	}
	at.Values = make([]Value, len(kinds))
	for i, kind := range kinds {
		if i >= 64 || nulls&(1<<i) == 0 {
			at.Values[i] = r.value(kind)
		}
	}
	if !r.ok || len(r.b) != 0 {
		// Only a scope that does not cover the kinds lets this happen.
		return Position{}, "values of other kinds"
	}
	return at, ""
}

// append writes a value. Numbers are varints; a time is one varint of microseconds where
// that is all it has, else seconds and four bytes of nanoseconds, told apart by the
// lowest bit.
func (v Value) append(b []byte) []byte {
	switch v.kind {
	case KindInt:
		return binary.AppendVarint(b, v.num)
	case KindUint:
		return binary.AppendUvarint(b, uint64(v.num))
	case KindFloat:
		return binary.BigEndian.AppendUint64(b, uint64(v.num))
	case KindBool:
		return append(b, byte(v.num))
	case KindText, KindBytes, KindDecimal:
		b = binary.AppendUvarint(b, uint64(len(v.text)))
		return append(b, v.text...)
	case KindUUID:
		return append(b, v.text...)
	case KindTime:
		const most = 1 << 42 // seconds whose microseconds fit with a bit to spare
		if v.nano%1000 == 0 && v.num > -most && v.num < most {
			return binary.AppendVarint(b, (v.num*1_000_000+int64(v.nano/1000))<<1)
		}
		// Seconds beyond 2^62 are no times that a database holds.
		b = binary.AppendVarint(b, v.num<<1|1)
		return binary.BigEndian.AppendUint32(b, uint32(v.nano))
	default:
		return b
	}
}

// reader reads values; ok is false once something was missing.
type reader struct {
	b  []byte
	ok bool
}

func (r *reader) uvarint() uint64 {
	n, size := binary.Uvarint(r.b)
	return n & r.advance(size)
}

func (r *reader) varint() int64 {
	n, size := binary.Varint(r.b)
	return n & int64(r.advance(size))
}

// advance drops size bytes and returns all ones, or fails and returns 0.
func (r *reader) advance(size int) uint64 {
	if size <= 0 || size > len(r.b) {
		r.ok, r.b = false, nil
		return 0
	}
	r.b = r.b[size:]
	return ^uint64(0)
}

func (r *reader) take(size uint64) []byte {
	if size > uint64(len(r.b)) {
		r.ok, r.b = false, nil
		return nil
	}
	part := r.b[:size]
	r.b = r.b[size:]
	return part
}

func (r *reader) value(kind Kind) Value {
	v := Value{kind: kind}
	switch kind {
	case KindInt:
		v.num = r.varint()
	case KindUint:
		v.num = int64(r.uvarint())
	case KindFloat:
		if b := r.take(8); r.ok {
			v.num = int64(binary.BigEndian.Uint64(b))
		}
	case KindBool:
		if b := r.take(1); r.ok {
			v.num = int64(b[0])
			r.ok = b[0] <= 1
		}
	case KindText, KindBytes, KindDecimal:
		v.text = string(r.take(r.uvarint()))
	case KindUUID:
		v.text = string(r.take(16))
		if !r.ok {
			v.text = string(make([]byte, 16))
		}
	case KindTime:
		n := r.varint()
		if n&1 == 0 {
			micros := n >> 1
			v.num = micros / 1_000_000
			if micros%1_000_000 < 0 {
				v.num--
			}
			v.nano = int32(micros-v.num*1_000_000) * 1000
			break
		}
		v.num = n >> 1
		if b := r.take(4); r.ok {
			v.nano = int32(binary.BigEndian.Uint32(b))
			r.ok = v.nano >= 0 && v.nano < 1_000_000_000
		}
	}
	return v
}
