// Package pagination_test measures the pagination package beside
// pilagod/gorm-cursor-paginator v2.6.1, vcraescu/go-paginator v2.0.0, net/url, and
// what one writes by hand.
package pagination_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/pilagod/gorm-cursor-paginator/v2/cursor"

	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// place is the position of a row in a list ordered by time and ID.
type place struct {
	CreatedAt time.Time
	ID        int64
}

var somewhere = place{time.Date(2026, 11, 23, 17, 0, 0, 123456000, time.UTC), 123_456_789}

// BenchmarkCursor writes the cursor of a (time, int64) and reads it back. The target is
// at most 800 ns, 6 allocations and 44 characters, signed.
func BenchmarkCursor(b *testing.B) {
	for _, encrypt := range []bool{false, true} {
		name := "mainstay-signed"
		if encrypt {
			name = "mainstay-encrypted"
		}
		b.Run(name, func(b *testing.B) {
			cursors, err := keyset.NewCursors(keyset.EphemeralKeyRing(), &keyset.CursorsOptions{Encrypt: encrypt})
			if err != nil {
				b.Fatal(err)
			}
			scope := keyset.NewScope("sales", "-created_at,-id", "", "tenant 7")
			roundTrip(b, func() (string, error) {
				created, err := keyset.NewValue(somewhere.CreatedAt)
				if err != nil {
					return "", err
				}
				id, err := keyset.NewValue(somewhere.ID)
				if err != nil {
					return "", err
				}
				values := [...]keyset.Value{created, id}
				return cursors.Encode(scope, keyset.Position{Values: values[:]})
			}, func(text string) (place, error) {
				at, err := cursors.Decode(scope, 2, text)
				if err != nil {
					return place{}, err
				}
				return place{at.Values[0].Any().(time.Time), at.Values[1].Any().(int64)}, nil
			})
		})
	}
	// Base64 of JSON, nothing protected.
	b.Run("pilagod", func(b *testing.B) {
		encoder := cursor.NewEncoder([]cursor.EncoderField{{Key: "CreatedAt"}, {Key: "ID"}})
		decoder := cursor.NewDecoder([]cursor.DecoderField{{Key: "CreatedAt"}, {Key: "ID"}})
		roundTrip(b, func() (string, error) {
			return encoder.Encode(somewhere)
		}, func(text string) (place, error) {
			fields, err := decoder.Decode(text, somewhere)
			if err != nil {
				return place{}, err
			}
			return place{fields[0].(time.Time), fields[1].(int64)}, nil
		})
	})
	b.Run("json", func(b *testing.B) {
		roundTrip(b, func() (string, error) {
			data, err := json.Marshal(somewhere)
			return base64.RawURLEncoding.EncodeToString(data), err
		}, func(text string) (p place, err error) {
			data, err := base64.RawURLEncoding.DecodeString(text)
			if err != nil {
				return p, err
			}
			return p, json.Unmarshal(data, &p)
		})
	})
	// The same with a MAC, as it is written by hand.
	b.Run("json-signed", func(b *testing.B) {
		key := bytes.Repeat([]byte{7}, 32)
		sum := func(data []byte) []byte {
			mac := hmac.New(sha256.New, key)
			mac.Write(data)
			return mac.Sum(nil)[:16]
		}
		roundTrip(b, func() (string, error) {
			data, err := json.Marshal(somewhere)
			return base64.RawURLEncoding.EncodeToString(append(data, sum(data)...)), err
		}, func(text string) (p place, err error) {
			data, err := base64.RawURLEncoding.DecodeString(text)
			if err != nil || len(data) < 16 {
				return p, errors.New("malformed")
			}
			data, mac := data[:len(data)-16], data[len(data)-16:]
			if !hmac.Equal(mac, sum(data)) {
				return p, errors.New("forged")
			}
			return p, json.Unmarshal(data, &p)
		})
	})
}

func roundTrip(b *testing.B, encode func() (string, error), decode func(string) (place, error)) {
	b.Helper()
	b.ReportAllocs()
	var text string
	var back place
	var err error
	for b.Loop() {
		if text, err = encode(); err == nil {
			back, err = decode(text)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	if back.ID != somewhere.ID || !back.CreatedAt.Equal(somewhere.CreatedAt) {
		b.Fatalf("%v came back as %v", somewhere, back)
	}
	b.ReportMetric(float64(len(text)), "chars")
}
