package cache

import (
	"bytes"
	"testing"
)

// FuzzEnvelope reads arbitrary bytes: what opens must be exactly what sealing its
// payload gives, so no two stored forms mean the same and nothing is read that was not
// written.
func FuzzEnvelope(f *testing.F) {
	f.Add(seal("msgpack", "", []byte("payload")))
	f.Add(seal("json", "2", nil))
	f.Add([]byte{})
	f.Add([]byte{magic0, magic1, formatVersion, 255, 0})
	f.Add([]byte{magic0, magic1, formatVersion + 1, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, names := range [][2]string{{"msgpack", ""}, {"json", "2"}} {
			payload, err := open(names[0], names[1], data)
			if err == nil && !bytes.Equal(seal(names[0], names[1], payload), data) {
				t.Fatalf("%x opened as %x", data, payload)
			}
		}
		sealed := seal("raw", "s", data)
		if got, err := open("raw", "s", sealed); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%x came back as %x, %v", data, got, err)
		}
	})
}
