package main

import (
	"testing"

	"github.com/mainstay-go/mainstay/examples/internal/pagetest"
)

func TestPages(t *testing.T) {
	db, err := open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h, err := routes(db)
	if err != nil {
		t.Fatal(err)
	}
	pagetest.Check(t, h)
}
