package cache

import (
	"encoding/binary"
	"reflect"
	"strconv"
	"strings"

	"github.com/zeebo/xxh3"
)

// fingerprint identifies the form of V: the names, tags and types of all fields at any
// depth. A value of another form is a miss: after a change of the struct it is loaded
// again, and not decoded with zeros. The fingerprint is the same in every process. It does
// not cover the content of a field of an interface type.
func fingerprint[V any]() string {
	var b strings.Builder
	describe(&b, reflect.TypeFor[V](), map[reflect.Type]int{})
	return string(binary.BigEndian.AppendUint64(nil, xxh3.HashString(b.String())))
}

func describe(b *strings.Builder, t reflect.Type, seen map[reflect.Type]int) {
	if n, ok := seen[t]; ok { // a recursive type
		b.WriteString("^" + strconv.Itoa(n))
		return
	}
	name := t.Name()
	if name != "" && t.PkgPath() != "" {
		seen[t] = len(seen)
	}
	b.WriteString(name + " " + t.Kind().String())
	switch t.Kind() { //nolint:exhaustive // the others have no parts
	case reflect.Struct:
		b.WriteByte('{')
		for i := range t.NumField() {
			f := t.Field(i)
			b.WriteString(strconv.Quote(f.Name) + strconv.Quote(string(f.Tag)) + strconv.FormatBool(f.Anonymous))
			describe(b, f.Type, seen)
			b.WriteByte(';')
		}
		b.WriteByte('}')
	case reflect.Array:
		b.WriteString("[" + strconv.Itoa(t.Len()) + "]")
		describe(b, t.Elem(), seen)
	case reflect.Map:
		describe(b, t.Key(), seen)
		b.WriteByte(':')
		describe(b, t.Elem(), seen)
	case reflect.Pointer, reflect.Slice, reflect.Chan:
		describe(b, t.Elem(), seen)
	case reflect.Interface:
		for i := range t.NumMethod() {
			b.WriteString(t.Method(i).Name + ",")
		}
	}
}
