package pagination

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"sync"
)

// CursorKey is a secret that cursors are signed or encrypted with.
type CursorKey struct {
	// ID names the key inside its cursors, in the clear. A ring has each ID once.
	ID byte
	// Secret is at least 32 random bytes. Keys for each purpose are derived from it, so
	// the same secret may serve elsewhere.
	Secret []byte
}

// KeyRing holds the key that new cursors are made with and the older ones that are still
// accepted. To rotate, make the new key current and keep the old one until nobody holds
// its cursors. It is safe for concurrent use.
type KeyRing struct {
	current byte
	keys    map[byte]*ringKey
}

type ringKey struct {
	macs   sync.Pool // *macState
	sealer cipher.AEAD
}

// NewKeyRing returns a ring. There is no default key: a list whose cursors anybody can
// forge must not start.
func NewKeyRing(current CursorKey, older ...CursorKey) (*KeyRing, error) {
	ring := &KeyRing{current: current.ID, keys: make(map[byte]*ringKey, 1+len(older))}
	for _, k := range append([]CursorKey{current}, older...) {
		if _, twice := ring.keys[k.ID]; twice {
			return nil, fmt.Errorf("pagination: two cursor keys have the ID %d", k.ID)
		}
		key, err := newRingKey(k.Secret)
		if err != nil {
			return nil, err
		}
		ring.keys[k.ID] = key
	}
	return ring, nil
}

// EphemeralKeyRing returns a ring with a random key, for development and tests: its
// cursors end with the process, and no other replica accepts them.
func EphemeralKeyRing() *KeyRing {
	secret := make([]byte, 32)
	rand.Read(secret) // never fails, see its documentation
	ring, err := NewKeyRing(CursorKey{Secret: secret})
	if err != nil {
		panic(err) // 32 bytes are enough
	}
	return ring
}

func newRingKey(secret []byte) (*ringKey, error) {
	if len(secret) < 32 {
		return nil, errors.New("pagination: a cursor key needs a secret of at least 32 random bytes")
	}
	derive := func(purpose string) ([]byte, error) {
		return hkdf.Key(sha256.New, secret, nil, "mainstay/pagination/v1 "+purpose, 32)
	}
	macKey, err := derive("cursor mac")
	if err != nil {
		return nil, err
	}
	sealKey, err := derive("cursor seal")
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(sealKey)
	if err != nil {
		return nil, err
	}
	k := &ringKey{}
	k.macs.New = func() any { return &macState{hash: hmac.New(sha256.New, macKey)} }
	k.sealer, err = cipher.NewGCMWithRandomNonce(block)
	return k, err
}

// macState is a keyed hash with room for its input and its sum, which would otherwise be
// allocated for each cursor.
type macState struct {
	hash hash.Hash
	sum  [sha256.Size]byte
	in   [sha256.Size]byte
}

const macSize = 16

// mac appends the first 128 bits of HMAC-SHA256 over the scope and the payload.
func (k *ringKey) mac(dst []byte, scope *Scope, payload []byte) []byte {
	m := k.macs.Get().(*macState)
	defer k.macs.Put(m)
	m.in = *scope
	m.hash.Reset()
	m.hash.Write(m.in[:])
	m.hash.Write(payload)
	return append(dst, m.hash.Sum(m.sum[:0])[:macSize]...)
}
