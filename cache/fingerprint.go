package cache

import (
	"encoding"
	"encoding/binary"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/vmihailenco/msgpack/v5"
	"github.com/zeebo/xxh3"
)

// fingerprint identifies the form of V: the names, tags and types of all fields at any
// depth, and the methods by which types encode themselves with the codec. A value of another
// form is a miss: after a change of the struct it is loaded again, and not decoded with
// zeros. The fingerprint is the same in every process. It does not cover the content of a
// field of an interface type.
func fingerprint[V any](codec Codec) string {
	var b strings.Builder
	describe(&b, reflect.TypeFor[V](), marshalersOf(codec), map[reflect.Type]int{})
	return string(binary.BigEndian.AppendUint64(nil, xxh3.HashString(b.String())))
}

var (
	jsonMarshalers    = []reflect.Type{reflect.TypeFor[json.Marshaler](), reflect.TypeFor[json.Unmarshaler]()}
	textMarshalers    = []reflect.Type{reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler]()}
	msgpackMarshalers = []reflect.Type{
		reflect.TypeFor[msgpack.CustomEncoder](), reflect.TypeFor[msgpack.CustomDecoder](),
		reflect.TypeFor[msgpack.Marshaler](), reflect.TypeFor[msgpack.Unmarshaler](),
		reflect.TypeFor[encoding.BinaryMarshaler](), reflect.TypeFor[encoding.BinaryUnmarshaler](),
	}
)

// marshalersOf returns the interfaces by which a type changes its encoding with a codec. An
// unknown codec may use any of them.
func marshalersOf(codec Codec) []reflect.Type {
	switch codec.(type) {
	case rawCodec:
		return nil
	case jsonCodec:
		return slices.Concat(textMarshalers, jsonMarshalers)
	case msgpackCodec:
		return slices.Concat(textMarshalers, msgpackMarshalers)
	}
	return slices.Concat(textMarshalers, msgpackMarshalers, jsonMarshalers)
}

func describe(b *strings.Builder, t reflect.Type, marshalers []reflect.Type, seen map[reflect.Type]int) {
	if n, ok := seen[t]; ok { // a recursive type
		b.WriteString("^" + strconv.Itoa(n))
		return
	}
	name := t.Name()
	if name != "" && t.PkgPath() != "" {
		seen[t] = len(seen)
	}
	b.WriteString(name + " " + t.Kind().String())
	for _, m := range marshalers {
		if t.Implements(m) || reflect.PointerTo(t).Implements(m) {
			b.WriteString("!" + m.String())
		}
	}
	switch t.Kind() { //nolint:exhaustive // the others have no parts
	case reflect.Struct:
		b.WriteByte('{')
		for i := range t.NumField() {
			f := t.Field(i)
			b.WriteString(strconv.Quote(f.Name) + strconv.Quote(string(f.Tag)) + strconv.FormatBool(f.Anonymous))
			describe(b, f.Type, marshalers, seen)
			b.WriteByte(';')
		}
		b.WriteByte('}')
	case reflect.Array:
		b.WriteString("[" + strconv.Itoa(t.Len()) + "]")
		describe(b, t.Elem(), marshalers, seen)
	case reflect.Map:
		describe(b, t.Key(), marshalers, seen)
		b.WriteByte(':')
		describe(b, t.Elem(), marshalers, seen)
	case reflect.Pointer, reflect.Slice, reflect.Chan:
		describe(b, t.Elem(), marshalers, seen)
	case reflect.Interface:
		for i := range t.NumMethod() {
			b.WriteString(t.Method(i).Name + ",")
		}
	}
}
