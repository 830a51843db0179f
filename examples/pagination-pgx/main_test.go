package main

import (
	"testing"

	"github.com/mainstay-go/mainstay/examples/internal/pagetest"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

func TestPages(t *testing.T) {
	server := testserver.Postgres(t)
	server.CreateDatabase(t, "shop")
	pool, err := open(t.Context(), server.DSN("shop"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	h, err := routes(pool)
	if err != nil {
		t.Fatal(err)
	}
	pagetest.Check(t, h)
}
