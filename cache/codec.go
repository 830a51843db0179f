package cache

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
)

// Codec turns values into bytes and back. It must be safe for concurrent use.
type Codec interface {
	// Name is stored with each value. A value of another codec is a miss. The name has 1 to
	// 16 bytes.
	Name() string
	Marshal(v any) ([]byte, error)
	// Unmarshal decodes into a pointer. It must not keep data.
	Unmarshal(data []byte, v any) error
}

// Msgpack is the default codec: compact and fast. Struct fields have the names of their
// msgpack tags, or their Go names.
func Msgpack() Codec { return msgpackCodec{} }

type msgpackCodec struct{}

func (msgpackCodec) Name() string                  { return "msgpack" }
func (msgpackCodec) Marshal(v any) ([]byte, error) { return msgpack.Marshal(v) }

// Unmarshal is msgpack.Unmarshal with a reused reader.
func (msgpackCodec) Unmarshal(data []byte, v any) error {
	r, _ := readers.Get().(*bytes.Reader)
	if r == nil {
		r = &bytes.Reader{}
	}
	r.Reset(data)
	d := msgpack.GetDecoder()
	d.UsePreallocateValues(true)
	d.Reset(r)
	err := d.Decode(v)
	r.Reset(nil)
	msgpack.PutDecoder(d)
	readers.Put(r)
	return err
}

var readers sync.Pool // of *bytes.Reader

// JSON is the codec of encoding/json. Its values are readable with redis-cli.
func JSON() Codec { return jsonCodec{} }

type jsonCodec struct{}

func (jsonCodec) Name() string                       { return "json" }
func (jsonCodec) Marshal(v any) ([]byte, error)      { return json.Marshal(v) }
func (jsonCodec) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

// Raw stores []byte and string unchanged and rejects other types.
func Raw() Codec { return rawCodec{} }

type rawCodec struct{}

func (rawCodec) Name() string { return "raw" }

func (rawCodec) Marshal(v any) ([]byte, error) {
	switch v := v.(type) {
	case []byte:
		return v, nil
	case string:
		return []byte(v), nil
	}
	return nil, fmt.Errorf("cache: Raw stores []byte and string, not %T", v)
}

func (rawCodec) Unmarshal(data []byte, v any) error {
	switch v := v.(type) {
	case *[]byte:
		*v = append([]byte{}, data...)
	case *string:
		*v = string(data)
	default:
		return fmt.Errorf("cache: Raw reads []byte and string, not %T", v)
	}
	return nil
}
