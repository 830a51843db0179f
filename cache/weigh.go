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

// maxVisits is the number of elements and pointers of a value that the estimate visits.
// Every field of a struct and every element has a share of them, so that a large field does
// not hide another one. A larger slice or map is estimated from its visited elements. A
// text, or a slice of elements without references, needs no visit.
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
	left int // visits
	seen map[unsafe.Pointer]bool
}

// behind estimates the memory that a value refers to.
func (w *walk) behind(v reflect.Value) (size int64) {
	if flat(v.Type()) {
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
		return sizeOf(v.Type().Elem()) + w.visit(v.Elem())
	case reflect.Interface:
		if v.IsNil() {
			return 0
		}
		return sizeOf(v.Elem().Type()) + w.visit(v.Elem())
	case reflect.Slice:
		return int64(v.Cap())*sizeOf(v.Type().Elem()) + w.elements(v)
	case reflect.Array:
		return w.elements(v)
	case reflect.Struct:
		return w.fields(v)
	case reflect.Map:
		return w.entries(v)
	}
	return 0
}

// visit is behind for one visit, if any is left.
func (w *walk) visit(v reflect.Value) int64 {
	if w.left <= 0 {
		return 0
	}
	w.left--
	return w.behind(v)
}

// share calls f with a part of the remaining visits: an equal one for each of n values, and
// at least one.
func (w *walk) share(n int, f func() int64) int64 {
	all := max(w.left, 0)
	w.left = min(all, max(all/n, 1))
	given := w.left
	size := f()
	w.left = all - given + w.left
	return size
}

// fields estimates the memory behind the fields of a struct.
func (w *walk) fields(v reflect.Value) (size int64) {
	n := v.NumField()
	for i := range n {
		if f := v.Field(i); !flat(f.Type()) {
			size += w.share(n-i, func() int64 { return w.behind(f) })
		}
	}
	return size
}

// elements estimates the memory behind the elements of a slice or array. It visits elements
// at equal distances.
func (w *walk) elements(v reflect.Value) (size int64) {
	n := min(v.Len(), max(w.left, 0))
	if n == 0 || flat(v.Type().Elem()) {
		return 0
	}
	for i := range n {
		size += w.share(n-i, func() int64 { return w.visit(v.Index(i * v.Len() / n)) })
	}
	return scaled(size, n, v.Len())
}

// entries estimates the memory of a map. A map has a head, and a byte for each slot. At most
// seven of eight slots are used.
func (w *walk) entries(v reflect.Value) (size int64) {
	slots := int64(8)
	for slots*7/8 < int64(v.Len()) {
		slots *= 2
	}
	size = 64 + slots*(sizeOf(v.Type().Key())+sizeOf(v.Type().Elem())+1)
	n := min(v.Len(), max(w.left, 0))
	if n == 0 || flat(v.Type().Key()) && flat(v.Type().Elem()) {
		return size
	}
	visited, refs := 0, int64(0)
	for it := v.MapRange(); visited < n && it.Next(); visited++ {
		refs += w.share(n-visited, func() int64 { return w.behind(it.Key()) + w.visit(it.Value()) })
	}
	return size + scaled(refs, visited, v.Len())
}

func scaled(size int64, visited, all int) int64 {
	if visited == 0 {
		return 0
	}
	return size / int64(visited) * int64(all)
}

func sizeOf(t reflect.Type) int64 { return int64(t.Size()) } //nolint:gosec // of a type
