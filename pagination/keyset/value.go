package keyset

import (
	"database/sql/driver"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"
)

// kind is the type of a value.
type kind uint8

const (
	kindNull kind = iota
	kindInt
	kindUint
	kindFloat
	kindBool
	kindText
	kindBytes
	kindTime
	kindCount
)

// Value is one value of a sort key as the database returned it. The zero value is NULL.
// Values are comparable with ==.
type Value struct {
	kind kind
	nano int32 // nanoseconds of kindTime
	num  int64 // kindInt, kindUint and kindFloat as bits, kindBool, seconds of kindTime
	text string
}

// IsNull reports whether the value is NULL.
func (v Value) IsNull() bool { return v.kind == kindNull }

// Any returns the value as an argument of a query: nil, int64, uint64 (only above the
// largest int64), float64, bool, string, []byte or time.Time (UTC).
func (v Value) Any() any {
	switch v.kind {
	case kindInt:
		return v.num
	case kindUint:
		return uint64(v.num)
	case kindFloat:
		return math.Float64frombits(uint64(v.num))
	case kindBool:
		return v.num != 0
	case kindText:
		return v.text
	case kindBytes:
		return []byte(v.text)
	case kindTime:
		return time.Unix(v.num, int64(v.nano)).UTC()
	default:
		return nil
	}
}

// NewValue converts a Go value to a value of a sort key. It accepts integers, floats,
// booleans, strings, byte slices and arrays, [time.Time], types built on these, pointers to
// them (nil is NULL), and every [driver.Valuer] such as sql.Null.
func NewValue(v any) (Value, error) {
	switch x := v.(type) { // the common types, without reflection
	case nil:
		return Value{}, nil
	case int64:
		return Value{kind: kindInt, num: x}, nil
	case string:
		return Value{kind: kindText, text: x}, nil
	case []byte:
		if x == nil {
			return Value{}, nil
		}
		return Value{kind: kindBytes, text: string(x)}, nil
	case float64:
		return Value{kind: kindFloat, num: int64(math.Float64bits(x))}, nil
	case bool:
		if x {
			return Value{kind: kindBool, num: 1}, nil
		}
		return Value{kind: kindBool}, nil
	case time.Time:
		return Value{kind: kindTime, num: x.Unix(), nano: int32(x.Nanosecond())}, nil
	case driver.Valuer:
		return valuerValue(x)
	}
	return reflectValue(reflect.ValueOf(v))
}

func valuerValue(v driver.Valuer) (Value, error) {
	rv := reflect.ValueOf(v)
	if rv.Kind() == reflect.Pointer && rv.IsNil() {
		return Value{}, nil
	}
	// The Value method of sql.Null rejects a uint64 above the largest int64.
	if t := rv.Type(); t.Kind() == reflect.Struct && t.PkgPath() == "database/sql" && strings.HasPrefix(t.Name(), "Null[") {
		if !rv.FieldByName("Valid").Bool() {
			return Value{}, nil
		}
		return NewValue(rv.FieldByName("V").Interface())
	}
	inner, err := v.Value()
	if err != nil {
		return Value{}, fmt.Errorf("keyset: value of a sort key: %w", err)
	}
	if _, again := inner.(driver.Valuer); again {
		return Value{}, fmt.Errorf("keyset: value of a sort key: the driver.Valuer %T returned another one", v)
	}
	return NewValue(inner)
}

func reflectValue(rv reflect.Value) (Value, error) {
	switch rv.Kind() {
	case reflect.Pointer:
		if rv.IsNil() {
			return Value{}, nil
		}
		return NewValue(rv.Elem().Interface())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return Value{kind: kindInt, num: rv.Int()}, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if n := rv.Uint(); n > math.MaxInt64 {
			return Value{kind: kindUint, num: int64(n)}, nil
		}
		return Value{kind: kindInt, num: int64(rv.Uint())}, nil
	case reflect.Float32, reflect.Float64:
		return NewValue(rv.Float())
	case reflect.Bool:
		return NewValue(rv.Bool())
	case reflect.String:
		return Value{kind: kindText, text: rv.String()}, nil
	case reflect.Slice:
		if rv.Type().Elem().Kind() == reflect.Uint8 {
			return NewValue(rv.Bytes())
		}
	case reflect.Array:
		if rv.Type().Elem().Kind() == reflect.Uint8 {
			raw := make([]byte, rv.Len())
			reflect.Copy(reflect.ValueOf(raw), rv)
			return Value{kind: kindBytes, text: string(raw)}, nil
		}
	case reflect.Struct:
		if t := reflect.TypeFor[time.Time](); rv.Type().ConvertibleTo(t) {
			return NewValue(rv.Convert(t).Interface())
		}
	}
	return Value{}, fmt.Errorf("keyset: a %v cannot be the value of a sort key; return a number, a string, a []byte, a bool or a time.Time", rv.Type())
}

// compare returns the order of two values that are not NULL. known is false if Go cannot
// decide: for text, unless the caller knows that it sorts by its bytes.
func (v Value) compare(w Value, bytewise bool) (order int, known bool) {
	if v.kind != w.kind {
		return v.compareNumbers(w)
	}
	switch v.kind {
	case kindInt, kindBool:
		return compareOrdered(v.num, w.num), true
	case kindUint:
		return compareOrdered(uint64(v.num), uint64(w.num)), true
	case kindFloat:
		a, b := math.Float64frombits(uint64(v.num)), math.Float64frombits(uint64(w.num))
		return compareOrdered(a, b), a == a && b == b // databases place NaN differently
	case kindTime:
		if v.num != w.num {
			return compareOrdered(v.num, w.num), true
		}
		return compareOrdered(v.nano, w.nano), true
	default:
		return strings.Compare(v.text, w.text), bytewise
	}
}

func (v Value) compareNumbers(w Value) (order int, known bool) {
	switch {
	case v.kind == kindInt && w.kind == kindUint:
		return -1, true
	case v.kind == kindUint && w.kind == kindInt:
		return 1, true
	case v.kind == kindFloat && w.kind == kindInt:
		order, known = w.compareNumbers(v)
		return -order, known
	case v.kind == kindInt && w.kind == kindFloat:
		b := math.Float64frombits(uint64(w.num))
		const exact = 1 << 53 // a float64 represents integers below this exactly
		return compareOrdered(float64(v.num), b), v.num > -exact && v.num < exact && b == b
	default:
		return 0, false
	}
}

func compareOrdered[N int64 | uint64 | int32 | float64](a, b N) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	default:
		return 0
	}
}
