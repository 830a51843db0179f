package keyset

import "testing"

// A nil destination is an error of database/sql, and no panic.
func TestCellNilDestination(t *testing.T) {
	for _, dest := range []any{(*int64)(nil), (**string)(nil), (*float64)(nil)} {
		for _, src := range []any{int64(1), "a", []byte("a"), 1.5, nil} {
			var r keyedRow
			c := cell{inner: dest, row: &r}
			if err := c.Scan(src); err != nil || !r.again {
				t.Errorf("%T into %T: %v, left to database/sql: %v", src, dest, err, r.again)
			}
		}
	}
}
