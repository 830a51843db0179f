package keyset

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
	"slices"
	"sync"
)

// CursorKey is a secret that signs or encrypts cursors.
type CursorKey struct {
	// ID names the key inside its cursors, unencrypted. It is unique in a ring.
	ID byte
	// Secret is at least 32 random bytes. Each purpose uses a key derived from it, so the
	// same secret may also serve elsewhere.
	Secret []byte
}

// KeyRing holds the key for new cursors and the older keys that are still accepted. To
// rotate, make the new key current and keep the old key as long as clients use its cursors.
// It is safe for concurrent use.
type KeyRing struct {
	current byte
	keys    map[byte]*ringKey
}

type ringKey struct {
	macs   sync.Pool // *macState
	sealer cipher.AEAD
}

// NewKeyRing returns a ring. There is no default key: a service must not start with a key
// that allows anyone to forge cursors.
func NewKeyRing(current CursorKey, older ...CursorKey) (*KeyRing, error) {
	ring := &KeyRing{current: current.ID, keys: make(map[byte]*ringKey, 1+len(older))}
	for _, k := range append([]CursorKey{current}, older...) {
		if _, twice := ring.keys[k.ID]; twice {
			return nil, fmt.Errorf("keyset: two cursor keys have the ID %d", k.ID)
		}
		key, err := newRingKey(k.Secret)
		if err != nil {
			return nil, err
		}
		ring.keys[k.ID] = key
	}
	return ring, nil
}

// EphemeralKeyRing returns a ring with a random key, for development and tests. Its cursors
// are valid in this process only.
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
		return nil, errors.New("keyset: a cursor key needs a secret of at least 32 random bytes")
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

// macState is a keyed hash with room for its input and its sum. The input is copied here,
// because any argument to a hash through its interface is allocated. The data of a cursor
// therefore stays on the stack.
type macState struct {
	hash hash.Hash
	sum  [sha256.Size]byte
	in   []byte
}

const macSize = 16

// mac returns the first 128 bits of HMAC-SHA256 over the scope and the payload.
func (k *ringKey) mac(scope *Scope, payload []byte) [macSize]byte {
	m := k.macs.Get().(*macState)
	m.in = append(append(m.in[:0], scope[:]...), payload...)
	m.hash.Reset() // to the state behind the key's block, which hmac keeps
	m.hash.Write(m.in)
	sum := [macSize]byte(m.hash.Sum(m.sum[:0]))
	k.macs.Put(m)
	return sum
}

// seal encrypts the data behind the two bytes of the head. It binds the head and the scope
// to the data.
func (k *ringKey) seal(scope *Scope, plain []byte) []byte {
	own := slices.Clone(plain)
	return k.sealer.Seal(own[:2:2], nil, own[2:], slices.Concat(scope[:], own[:2]))
}

// open reverses seal. Its result has no head.
func (k *ringKey) open(scope *Scope, sealed []byte) ([]byte, error) {
	own := slices.Clone(sealed)
	return k.sealer.Open(nil, nil, own[2:], slices.Concat(scope[:], own[:2]))
}
