package keyset

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// maxCursor is the longest cursor with a whole position. A longer position becomes a short
// cursor: it identifies the row by its tie-break, and the row is looked up.
const maxCursor = 1024

// maxShort is the length limit for decoding. A tie-break that fits into an index entry of
// PostgreSQL or MariaDB fits into it.
const maxShort = 4400

// Scope binds a cursor. It is a hash over the list, its order, its filter and the caller's
// tenant. A cursor is valid only in its own scope. It is a position and never a permission:
// the query must still filter by tenant.
type Scope [sha256.Size]byte

// NewScope hashes the parts. Their number and borders count: ("ab", "c") differs from ("a",
// "bc").
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
	Inclusive bool    // the seek also returns the row at the position

	short bool   // Values are the tie-break alone
	sum   uint64 // hash of all values of the row, of a short position
}

// CursorsOptions are the options of [NewCursors].
type CursorsOptions struct {
	// TTL is the minimum lifetime of a cursor. It is rounded up by at most a sixteenth, so
	// that equal pages have equal cursors (and ETags) for a while. Default: 0, no expiry;
	// 72 hours when encrypted.
	TTL time.Duration
	// Encrypt hides the key values from the client with AES-256-GCM. Encrypted cursors
	// differ each time, so pages that contain them have no stable ETag. A key serves for
	// 2^32 cursors: rotate it in time. Default: false.
	Encrypt bool
}

// Cursors writes and reads cursors. It is safe for concurrent use.
//
// A cursor is a typed binary payload in base64url: signed by 128 bits of HMAC-SHA256, or
// encrypted. A signed cursor of a time and an int64 has at most 46 characters if the number
// is below 2^48 and the time has no nanoseconds. Signed cursors are deterministic and
// readable: do not sort by a secret, or encrypt them.
type Cursors struct {
	ring    *KeyRing
	ttl     time.Duration
	encrypt bool
}

// NewCursors returns the cursors of a key ring. opts may be nil.
func NewCursors(ring *KeyRing, opts *CursorsOptions) (*Cursors, error) {
	if ring == nil {
		return nil, errors.New("keyset: NewCursors needs a key ring; use EphemeralKeyRing in development")
	}
	var o CursorsOptions
	if opts != nil {
		o = *opts
	}
	if o.TTL < 0 {
		return nil, errors.New("keyset: a cursor's TTL must not be negative")
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
	flagShort     = 8
)

// errLong is the error of a position whose cursor is too long.
var errLong = errors.New("keyset: the key values make a cursor that is too long; break ties by a shorter column")

// Encode writes a cursor. It fails if the position has more than 64 values or the cursor
// more than 1,024 characters. [Keyset] then writes a short cursor.
func (c *Cursors) Encode(scope Scope, at Position) (string, error) {
	return c.encode(&scope, at, time.Now)
}

func (c *Cursors) encode(scope *Scope, at Position, now func() time.Time) (string, error) {
	if len(at.Values) > 64 {
		return "", errors.New("keyset: a cursor holds at most 64 values")
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
	most := maxCursor
	if at.short {
		head |= flagShort
		most = maxShort
	}
	b := append(buf[:0], head, c.ring.current)
	if c.ttl > 0 {
		b = binary.AppendUvarint(b, uint64(c.expiry(now())))
	}
	if at.short {
		b = binary.BigEndian.AppendUint64(b, at.sum)
	}
	for i := 0; i < len(at.Values); i += 2 { // two kinds a byte
		kinds := byte(at.Values[i].kind)
		if i+1 < len(at.Values) {
			kinds |= byte(at.Values[i+1].kind) << 4
		}
		b = append(b, kinds)
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
	if base64.RawURLEncoding.EncodedLen(len(b)) > most {
		return "", errLong
	}
	var text [128]byte
	return string(base64.RawURLEncoding.AppendEncode(text[:0], b)), nil
}

// expiry returns the second after which a new cursor is rejected.
func (c *Cursors) expiry(now time.Time) int64 {
	step := max(int64(c.ttl/(16*time.Second)), 1)
	end := now.Add(c.ttl).Unix() + 1
	return (end + step - 1) / step * step
}

// Decode reads a cursor that [Cursors.Encode] made for the same scope, with the number of
// values that the position has. Any failure is [ErrInvalidCursor], wrapped with a reason
// for the log. Decode cannot distinguish a cursor of another scope from a forged one. An
// expired cursor is [ErrExpiredCursor], which wraps ErrInvalidCursor.
func (c *Cursors) Decode(scope Scope, values int, cursor string) (Position, error) {
	return c.open(&scope, values, values, cursor)
}

// open also reads a short cursor, which has the values of the tie-break.
func (c *Cursors) open(scope *Scope, values, tie int, cursor string) (Position, error) {
	at, reason := c.decode(scope, values, tie, cursor, time.Now)
	switch reason {
	case "":
		return at, nil
	case expired:
		return Position{}, ErrExpiredCursor
	default:
		return Position{}, fmt.Errorf("%w: %s", ErrInvalidCursor, reason)
	}
}

const expired = "expired"

var strictBase64 = base64.RawURLEncoding.Strict()

func (c *Cursors) decode(scope *Scope, values, tie int, cursor string, now func() time.Time) (at Position, reason string) {
	if len(cursor) > maxShort {
		return at, "too long"
	}
	var small [maxCursor * 3 / 4]byte
	buf := small[:]
	if len(cursor) > maxCursor {
		buf = make([]byte, maxShort*3/4)
	}
	n, err := strictBase64.Decode(buf, []byte(cursor))
	if err != nil || n < 2+macSize || base64.RawURLEncoding.EncodedLen(n) != len(cursor) {
		// encoding/base64 skips line breaks, so that two texts would be one cursor. The
		// length shows it.
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
		return at, expired
	}
	if at.short = head&flagShort != 0; at.short {
		values = tie
		if b := r.take(8); r.ok {
			at.sum = binary.BigEndian.Uint64(b)
		}
	}
	kinds := r.take(uint64(values+1) / 2)
	if !r.ok {
		return Position{}, "other values"
	}
	at.Values = make([]Value, values)
	for i := range at.Values {
		at.Values[i] = r.value(kind(kinds[i/2] >> (i % 2 * 4) & 0x0F))
	}
	if !r.ok || len(r.b) != 0 || values%2 == 1 && kinds[len(kinds)-1]>>4 != 0 {
		// This happens only with a scope that does not cover the order.
		return Position{}, "other values"
	}
	return at, ""
}

// append writes a value. Numbers are varints. A time without nanoseconds is one varint of
// microseconds. Any other time is seconds and four bytes of nanoseconds. The lowest bit
// distinguishes the two forms.
func (v Value) append(b []byte) []byte {
	switch v.kind {
	case kindInt:
		return binary.AppendVarint(b, v.num)
	case kindUint:
		return binary.AppendUvarint(b, uint64(v.num))
	case kindFloat:
		return binary.BigEndian.AppendUint64(b, uint64(v.num))
	case kindBool:
		return append(b, byte(v.num))
	case kindText, kindBytes:
		b = binary.AppendUvarint(b, uint64(len(v.text)))
		return append(b, v.text...)
	case kindTime:
		const most = 1 << 42 // seconds whose microseconds fit with a bit to spare
		if v.nano%1000 == 0 && v.num > -most && v.num < most {
			return binary.AppendVarint(b, (v.num*1_000_000+int64(v.nano/1000))<<1)
		}
		// No database stores times with seconds beyond 2^62.
		b = binary.AppendVarint(b, v.num<<1|1)
		return binary.BigEndian.AppendUint32(b, uint32(v.nano))
	default:
		return b
	}
}

// reader reads values. ok becomes false at the first missing byte.
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

// advance drops size bytes and returns a number with all bits set, or fails and returns 0.
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

func (r *reader) value(kind kind) Value {
	v := Value{kind: kind}
	if kind >= kindCount {
		r.ok = false
		return v
	}
	switch kind {
	case kindInt:
		v.num = r.varint()
	case kindUint:
		v.num = int64(r.uvarint())
	case kindFloat:
		if b := r.take(8); r.ok {
			v.num = int64(binary.BigEndian.Uint64(b))
		}
	case kindBool:
		if b := r.take(1); r.ok {
			v.num = int64(b[0])
			r.ok = b[0] <= 1
		}
	case kindText, kindBytes:
		v.text = string(r.take(r.uvarint()))
	case kindTime:
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
