package outbound_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit/outbound"
)

// The service asks for a pause of a minute, so the next request is not sent.
func ExampleNew() {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Println("the service refuses a request")
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	defer service.Close()

	transport, err := outbound.New(nil, &outbound.Options{MaxWait: time.Second})
	if err != nil {
		panic(err)
	}
	client := &http.Client{Transport: transport}
	for range 2 {
		resp, err := client.Get(service.URL)
		if err != nil {
			fmt.Println(errors.Is(err, outbound.ErrWait))
			continue
		}
		fmt.Println(resp.Status)
		resp.Body.Close()
	}
	// Output:
	// the service refuses a request
	// 429 Too Many Requests
	// true
}
