package pagination

import (
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"
)

// Kind is the type of a key's values. A cursor carries values without their types, and
// the key's kind says how to read them, so that the database is never handed a value of
// another type than the column's.
type Kind uint8

// The kinds of keys.
const (
	KindInt     Kind = iota + 1 // int64
	KindUint                    // uint64
	KindFloat                   // float64; on MariaDB and MySQL use DOUBLE: FLOAT columns are printed rounded
	KindBool                    // bool
	KindText                    // string; compared by the column's collation
	KindBytes                   // []byte
	KindTime                    // time.Time, to the nanosecond, as an instant
	KindDecimal                 // decimal number as a string, never as a float
	KindUUID                    // [16]byte, or its text form; handed to the database as text
)

// Value is one value of a key: NULL (the zero value) or a value of one [Kind].
type Value struct {
	kind Kind
	nano int32 // nanoseconds of KindTime
	num  int64 // KindInt, KindUint and KindFloat as bits, KindBool, seconds of KindTime
	text string
}

// IsNull reports whether the value is NULL.
func (v Value) IsNull() bool { return v.kind == 0 }

// Kind returns the value's kind, 0 for NULL.
func (v Value) Kind() Kind { return v.kind }

// Any returns the value as a query's argument: nil, int64, uint64 (above the largest
// int64 only), float64, bool, string, []byte or time.Time (UTC).
func (v Value) Any() any {
	switch v.kind {
	case KindInt:
		return v.num
	case KindUint:
		if v.num < 0 {
			return uint64(v.num)
		}
		return v.num
	case KindFloat:
		return math.Float64frombits(uint64(v.num))
	case KindBool:
		return v.num != 0
	case KindText, KindDecimal:
		return v.text
	case KindBytes:
		return []byte(v.text)
	case KindTime:
		return time.Unix(v.num, int64(v.nano)).UTC()
	case KindUUID:
		return formatUUID(v.text)
	default:
		return nil
	}
}

// NewValue converts a Go value to a key's value. It takes the types that [Kind] names,
// every type built on them, pointers to them (nil is NULL), [driver.Valuer] such as
// sql.Null, and []byte for text and decimals.
func NewValue(kind Kind, v any) (Value, error) {
	switch x := v.(type) { // the common ones, without reflection
	case nil:
		return Value{}, nil
	case int64:
		if kind == KindInt {
			return Value{kind: KindInt, num: x}, nil
		}
	case string:
		if kind == KindText {
			return Value{kind: KindText, text: x}, nil
		}
	case time.Time:
		if kind == KindTime {
			return Value{kind: KindTime, num: x.Unix(), nano: int32(x.Nanosecond())}, nil
		}
	case driver.Valuer:
		if rv := reflect.ValueOf(v); rv.Kind() == reflect.Pointer && rv.IsNil() {
			return Value{}, nil
		}
		inner, err := x.Value()
		if err != nil {
			return Value{}, fmt.Errorf("pagination: key value: %w", err)
		}
		if _, again := inner.(driver.Valuer); again {
			return Value{}, errors.New("pagination: key value: a driver.Valuer returned another")
		}
		return NewValue(kind, inner)
	}
	return reflectValue(kind, reflect.ValueOf(v))
}

func reflectValue(kind Kind, rv reflect.Value) (Value, error) {
	mismatch := fmt.Errorf("pagination: a key was declared as %v, and its value is a %v", kind, rv.Type())
	switch rv.Kind() {
	case reflect.Pointer:
		if rv.IsNil() {
			return Value{}, nil
		}
		return NewValue(kind, rv.Elem().Interface())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if n := rv.Int(); kind == KindInt || kind == KindUint && n >= 0 || kind == KindBool && (n == 0 || n == 1) {
			return Value{kind: kind, num: n}, nil
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if n := rv.Uint(); kind == KindUint || kind == KindInt && n <= math.MaxInt64 {
			return Value{kind: kind, num: int64(n)}, nil
		}
	case reflect.Float32, reflect.Float64:
		if kind == KindFloat {
			return Value{kind: kind, num: int64(math.Float64bits(rv.Float()))}, nil
		}
	case reflect.Bool:
		if kind == KindBool {
			v := Value{kind: kind}
			if rv.Bool() {
				v.num = 1
			}
			return v, nil
		}
	case reflect.String:
		switch kind {
		case KindText, KindDecimal:
			return Value{kind: kind, text: rv.String()}, nil
		case KindUUID:
			if raw, ok := parseUUID(rv.String()); ok {
				return Value{kind: kind, text: raw}, nil
			}
		}
	case reflect.Slice:
		if rv.Type().Elem().Kind() != reflect.Uint8 {
			break
		}
		switch {
		case kind == KindBytes, kind == KindText, kind == KindDecimal, kind == KindUUID && rv.Len() == 16:
			return Value{kind: kind, text: string(rv.Bytes())}, nil
		case kind == KindUUID:
			if raw, ok := parseUUID(string(rv.Bytes())); ok {
				return Value{kind: kind, text: raw}, nil
			}
		}
	case reflect.Array:
		if kind == KindUUID && rv.Type().Elem().Kind() == reflect.Uint8 && rv.Len() == 16 {
			var raw [16]byte
			reflect.Copy(reflect.ValueOf(&raw).Elem(), rv.Convert(reflect.TypeFor[[16]byte]()))
			return Value{kind: kind, text: string(raw[:])}, nil
		}
	case reflect.Struct:
		if t, ok := rv.Interface().(time.Time); ok && kind == KindTime {
			return NewValue(kind, t)
		}
	}
	return Value{}, mismatch
}

// String names the kind.
func (k Kind) String() string {
	names := [...]string{"NULL", "int", "uint", "float", "bool", "text", "bytes", "time", "decimal", "UUID"}
	if int(k) < len(names) {
		return names[k]
	}
	return "unknown kind"
}

func parseUUID(s string) (string, bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return "", false
	}
	raw, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	return string(raw), err == nil && len(raw) == 16
}

func formatUUID(raw string) string {
	h := hex.EncodeToString([]byte(raw))
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
