package keyset

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// setOrders reads the order of the tie-break and the default order.
func (k *Keyset[T]) setOrders(ordering string) (err error) {
	if len(k.tie) == 0 {
		return errors.New("keyset: no column is Unique and not Nullable, so no order is total; add one or set TieBreak")
	}
	if name, twice := repeated(k.tie); twice {
		return fmt.Errorf("keyset: TieBreak has %q twice", name)
	}
	for _, name := range k.tie {
		switch c, ok := k.columns[name]; {
		case !ok:
			return fmt.Errorf("keyset: TieBreak names %q, which is no column", name)
		case c.Nullable:
			return fmt.Errorf("keyset: column %q breaks ties and must not be Nullable", name)
		}
	}
	var names []string
	for name := range strings.SplitSeq(ordering, ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		plain, _ := direction(name)
		if _, ok := k.columns[plain]; !ok {
			return fmt.Errorf("keyset: Ordering names %q, which is no column", name)
		}
		names = append(names, plain)
	}
	if name, twice := repeated(names); twice {
		return fmt.Errorf("keyset: Ordering has %q twice", name)
	}
	if k.tieOrder, _, err = k.parseOrdering(strings.Join(k.tie, ","), true); err != nil {
		return err
	}
	k.initial, _, err = k.parseOrdering(ordering, true)
	return err
}

// Order returns the order for sort names in the form of a client, such as
// "-created_at,name", or "created_at desc, name" as in AIP-132. The tie-break completes it.
// It ignores unknown names, or rejects them in strict mode. Without a known name the order
// is the default one.
func (k *Keyset[T]) Order(ordering string) (Order, error) {
	if ordering == "" {
		return k.initial, nil
	}
	o, _, err := k.parseOrdering(ordering, k.strict)
	return o, err
}

func (k *Keyset[T]) key(name string, desc bool) (Key, bool) {
	c, ok := k.columns[name]
	return Key{
		Name: name, Expr: c.Expr, Args: c.Args, Desc: desc,
		Nullable: c.Nullable, Nulls: c.Nulls, Unique: c.Unique,
	}, ok
}

// parseOrdering also reports whether it left out a name.
func (k *Keyset[T]) parseOrdering(ordering string, strict bool) (_ Order, ignored bool, err error) {
	keys := make([]Key, 0, 4)
	add := func(name string, desc bool) bool {
		key, ok := k.key(name, desc)
		if ok = ok && !slices.ContainsFunc(keys, func(have Key) bool { return have.Name == name }); ok {
			keys = append(keys, key)
		}
		return ok
	}
	for name := range strings.SplitSeq(ordering, ",") {
		name = strings.TrimSpace(name)
		if name == "" {
			continue
		}
		plain, desc := direction(name)
		if !add(plain, desc) {
			if strict {
				return Order{}, false, invalidParameter(k.orderingParam, "The list cannot be sorted by one of these names, or one is repeated.")
			}
			ignored = true
		}
	}
	if len(keys) == 0 && len(k.initial.keys) > 0 {
		return k.initial, ignored, nil
	}
	// The tie-break has the direction of the last key, so that one scan of one index gives
	// the order.
	desc := len(keys) > 0 && keys[len(keys)-1].Desc
	for _, name := range k.tie {
		add(name, desc)
	}
	order, err := newOrder(&k.cache, k.tie, keys)
	return order, ignored, err
}

// direction reads "-name", or "name desc" as in AIP-132.
func direction(name string) (plain string, desc bool) {
	if plain, word, ok := strings.Cut(name, " "); ok {
		switch strings.TrimSpace(word) {
		case "asc":
			return plain, false
		case "desc":
			return plain, true
		}
	}
	return strings.CutPrefix(name, "-")
}

func (k *Keyset[T]) ordering(names string) (Order, bool, error) {
	if names == "" {
		return k.initial, false, nil
	}
	return k.parseOrdering(names, k.strict)
}
