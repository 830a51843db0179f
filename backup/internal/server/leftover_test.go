package server

import (
	"testing"
	"time"
)

func TestLeftover(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		original, name string
		want           bool
	}{
		{"shop", ScratchName("shop", time.Now()), true},
		{"shop", "shop_restore_20260101t000000", true},
		{"Shop", "shop_replaced_20260101t000000_abcdef", true},
		{"a_very_long_name_of_a_database_of_a_shop", "a_very_long_name_of_a_database_o_scratch_20260101t000000_abcdef", true},
		{"/srv/shop", "/srv/shop_restore_20260101T000000Z", true},
		{"/srv/shop", "/srv/.tmp-restore-shop-abcdef", true},
		{"/srv/shop", "/srv/.tmp-restore-123456789", true},
		{"/srv/shop.db", "/srv/shop_restore_20260101T000000Z.db", true},
		{"/srv/shop.db", "/srv/.tmp-shop.db-abcdef", true},

		{"shop", "shop", false},
		{"shop", "payroll", false},
		{"shop", "shop_archive", false},
		{"shop", "payroll_restore_20260101t000000", false},
		{"shop", "/srv/shop_restore_20260101T000000Z", false},
		{"shop", "shop2_restore_20260101t000000", false},
		{"/srv/shop", "/srv/payroll", false},
		{"/srv/shop", "/home/.tmp-restore-123456789", false},
		{"/srv/shop", "/srv/x/../../etc/shop_restore_20260101T000000Z", false},
		{"/srv/shop", "/srv/../srv/shop_restore_20260101T000000Z", false},
		{"", "shop_restore_20260101t000000", false},
		{"shop", "", false},
	} {
		if got := Leftover(c.original, c.name); got != c.want {
			t.Errorf("Leftover(%q, %q) = %v", c.original, c.name, got)
		}
	}
}
