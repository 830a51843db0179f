package cache

import (
	"bytes"
	"testing"
)

// FuzzEnvelope reads arbitrary bytes: what opens must be exactly what sealing it gives,
// so no two stored forms mean the same and nothing is read that was not written.
func FuzzEnvelope(f *testing.F) {
	full := envelope{codec: "json", schema: "2", flags: flagAbsent, fresh: -1, took: 7, tags: []string{"a", "", "\x00"}, named: []tagState{{"tag:a", "b"}, {}}, payload: []byte("payload")}
	f.Add(full.seal())
	f.Add((&envelope{codec: "msgpack"}).seal())
	f.Add([]byte{})
	f.Add([]byte{magic0, magic1, formatVersion, 0, 255, 0})
	f.Add([]byte{magic0, magic1, formatVersion + 1, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		var e envelope
		if err := open(data, &e); err == nil && !bytes.Equal(e.seal(), data) {
			t.Fatalf("%x opened as %+v", data, e)
		}
		sealed := (&envelope{codec: "raw", schema: "s", payload: data}).seal()
		e = envelope{}
		if err := open(sealed, &e); err != nil || !bytes.Equal(e.payload, data) {
			t.Fatalf("%x came back as %+v, %v", data, e, err)
		}
		for _, c := range []Compression{S2, Zstd} {
			if out, err := c.unpack(data, 1<<16); err == nil && len(out) > 1<<16 {
				t.Fatalf("%d: %d bytes of %x", c, len(out), data)
			}
		}
	})
}
