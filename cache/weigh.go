package cache

import (
	"reflect"
	"unsafe"
)

// weigher returns a function that estimates the bytes of a value: the caller's function, or
// a walk of the value.
func weigher[V any](own func(V) int64) func(V) int64 {
	if own != nil {
		return own
	}
	t := reflect.TypeFor[V]()
	if flat(t) {
		size := int64(t.Size()) //nolint:gosec // of a type
		return func(V) int64 { return size }
	}
	return func(value V) int64 {
		switch v := any(value).(type) { // the common types, without reflection
		case string:
			return int64(len(v)) + 16
		case []byte:
			return int64(cap(v)) + 24
		}
		w := walk{left: maxVisits, seen: map[unsafe.Pointer]bool{}}
		return int64(t.Size()) + w.behind(reflect.ValueOf(&value).Elem()) //nolint:gosec // of a type
	}
}

// maxVisits is the number of parts of a value that the estimate visits. A larger slice or
// map is estimated from its visited elements.
const maxVisits = 2000

// flat reports whether values of a type refer to no other memory.
func flat(t reflect.Type) bool {
	switch t.Kind() { //nolint:exhaustive // the others are numbers
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.String, reflect.Interface, reflect.Chan, reflect.Func, reflect.UnsafePointer:
		return false
	case reflect.Array:
		return flat(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if !flat(t.Field(i).Type) {
				return false
			}
		}
	}
	return true
}

type walk struct {
	left int
	seen map[unsafe.Pointer]bool
}

// behind estimates the memory that a value refers to.
func (w *walk) behind(v reflect.Value) (size int64) {
	w.left--
	if w.left < 0 || flat(v.Type()) {
		return 0
	}
	switch v.Kind() { //nolint:exhaustive // the others have no measurable parts
	case reflect.String:
		return int64(v.Len())
	case reflect.Pointer:
		if v.IsNil() || w.seen[v.UnsafePointer()] {
			return 0
		}
		w.seen[v.UnsafePointer()] = true
		return sizeOf(v.Type().Elem()) + w.behind(v.Elem())
	case reflect.Interface:
		if v.IsNil() {
			return 0
		}
		return sizeOf(v.Elem().Type()) + w.behind(v.Elem())
	case reflect.Slice:
		if v.IsNil() {
			return 0
		}
		return int64(v.Cap())*sizeOf(v.Type().Elem()) + w.elements(v)
	case reflect.Array:
		return w.elements(v)
	case reflect.Struct:
		for i := range v.NumField() {
			size += w.behind(v.Field(i))
		}
	case reflect.Map:
		// A map has a head, and a byte for each slot. At most seven of eight slots are used.
		slots := int64(8)
		for slots*7/8 < int64(v.Len()) {
			slots *= 2
		}
		size = 64 + slots*(sizeOf(v.Type().Key())+sizeOf(v.Type().Elem())+1)
		if flat(v.Type().Key()) && flat(v.Type().Elem()) {
			return size
		}
		visited, refs := 0, int64(0)
		for it := v.MapRange(); w.left > 0 && it.Next(); visited++ {
			refs += w.behind(it.Key()) + w.behind(it.Value())
		}
		return size + scaled(refs, visited, v.Len())
	}
	return size
}

// elements estimates the memory behind the elements of a slice or array.
func (w *walk) elements(v reflect.Value) (size int64) {
	if flat(v.Type().Elem()) {
		return 0
	}
	visited := 0
	for ; visited < v.Len() && w.left > 0; visited++ {
		size += w.behind(v.Index(visited))
	}
	return scaled(size, visited, v.Len())
}

func scaled(size int64, visited, all int) int64 {
	if visited == 0 {
		return 0
	}
	return size / int64(visited) * int64(all)
}

func sizeOf(t reflect.Type) int64 { return int64(t.Size()) } //nolint:gosec // of a type
