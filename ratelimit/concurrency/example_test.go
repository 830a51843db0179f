package concurrency_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/concurrency"
)

// One tenant may run two exports at once.
func ExampleNew() {
	exports, err := concurrency.New(concurrency.Policy{Name: "exports", Limit: 2}, nil)
	if err != nil {
		log.Fatal(err)
	}
	export := func() *concurrency.Slot {
		slot, err := exports.Acquire(context.Background(), "tenant:7", 1)
		if err != nil {
			log.Fatal(err)
		}
		return slot
	}
	first, second, third := export(), export(), export()
	fmt.Println(first.Result().Allowed, second.Result().Allowed, third.Result().Allowed)
	first.Release()
	first.Release() // frees nothing more
	fmt.Println(export().Result().Allowed, export().Result().Allowed)
	// Output:
	// true true false
	// true false
}

func ExampleNewMiddleware() {
	reports, err := concurrency.New(concurrency.Policy{Name: "reports", Limit: 1}, nil)
	if err != nil {
		log.Fatal(err)
	}
	address, err := ratelimit.ByIP(nil)
	if err != nil {
		log.Fatal(err)
	}
	limit, err := concurrency.NewMiddleware(reports, address, nil)
	if err != nil {
		log.Fatal(err)
	}
	var handler http.Handler
	handler = limit.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		// While this one runs, the same client asks again.
		second := httptest.NewRecorder()
		handler.ServeHTTP(second, r)
		fmt.Println(second.Code, second.Header().Get("Retry-After"))
		fmt.Println(second.Header().Get("RateLimit-Policy"))
	}))
	first := httptest.NewRecorder()
	handler.ServeHTTP(first, httptest.NewRequest(http.MethodGet, "/report", http.NoBody))
	fmt.Println(first.Code)
	// Output:
	// 429 1
	// "reports";q=1;qu="concurrent-requests"
	// 200
}
