package ratelimit_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
)

func memory(p ratelimit.Policy, o *ratelimit.Options) *ratelimit.Memory {
	m, err := ratelimit.NewMemory(p, o)
	if err != nil {
		log.Fatal(err)
	}
	return m
}

// At most 5 in any hour, whichever hour one looks at.
func ExampleNewMemory() {
	limiter, err := ratelimit.NewMemory(ratelimit.Login(), nil)
	if err != nil {
		log.Fatal(err)
	}
	for range 6 {
		r, err := limiter.Allow(context.Background(), ratelimit.Key("user", "anna"))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(r.Allowed, r.Remaining, r.RetryAfter.Round(time.Hour))
	}
	// Output:
	// true 4 0s
	// true 3 0s
	// true 2 0s
	// true 1 0s
	// true 0 0s
	// false 0 1h0m0s
}

func ExampleNewMiddleware() {
	address, err := ratelimit.ByIP(nil)
	if err != nil {
		log.Fatal(err)
	}
	limit, err := ratelimit.NewMiddleware([]ratelimit.Rule{
		{Limiter: memory(ratelimit.Policy{Name: "api", Limit: 1, Window: time.Minute}, nil), Key: address},
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	api := limit.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }))
	for range 2 {
		w := httptest.NewRecorder()
		api.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		fmt.Printf("%d %s left %s, retry after %q\n", w.Code, w.Header().Get("RateLimit-Policy"), w.Header().Get("X-RateLimit-Remaining"), w.Header().Get("Retry-After"))
	}
	// Output:
	// 200 "api";q=1;w=60 left 0, retry after ""
	// 429 "api";q=1;w=60 left 0, retry after "60"
}

// Behind a proxy the client is whom the proxy names, and nobody else may name one.
func ExampleByIP() {
	key, err := ratelimit.ByIP(&ratelimit.IPOptions{TrustedProxies: []string{"10.0.0.0/8"}})
	if err != nil {
		log.Fatal(err)
	}
	for _, peer := range []string{"10.0.0.3:4711", "198.51.100.9:4711"} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = peer
		r.Header.Set("X-Forwarded-For", "1.1.1.1, 203.0.113.7") // the client wrote the first
		fmt.Println(key(r))
	}
	// Output:
	// ip:203.0.113.7
	// ip:198.51.100.9
}

// Failures are counted. A login that succeeds costs nothing, once the handler says so.
func ExampleAdmission() {
	address, err := ratelimit.ByIP(nil)
	if err != nil {
		log.Fatal(err)
	}
	limit, err := ratelimit.NewMiddleware([]ratelimit.Rule{
		{Limiter: memory(ratelimit.Login(), nil), Key: address, FailuresOnly: true},
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	login := limit.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Password") == "secret" {
			ratelimit.AdmissionFrom(r.Context()).Succeed()
			return
		}
		fmt.Fprint(w, "wrong, try again") // with status 200
	}))
	try := func(password string) int {
		r := httptest.NewRequest(http.MethodPost, "/login/", http.NoBody)
		r.Header.Set("X-Password", password)
		w := httptest.NewRecorder()
		login.ServeHTTP(w, r)
		return w.Code
	}
	fmt.Println(try("secret"), try("secret"), try("a"), try("b"), try("c"), try("secret"), try("d"), try("e"), try("secret"))
	// Output: 200 200 200 200 200 200 200 200 429
}

// Two limits, and a decision that takes from both or from neither.
func ExampleDecide() {
	tenant := memory(ratelimit.Policy{Name: "tenant", Limit: 100, Window: time.Hour}, nil)
	user := memory(ratelimit.Policy{Name: "user", Limit: 1, Window: time.Minute}, nil)
	for range 2 {
		d, err := ratelimit.Decide(context.Background(),
			ratelimit.Check{Limiter: tenant, Key: "tenant:7", Cost: 1},
			ratelimit.Check{Limiter: user, Key: "user:42", Cost: 1})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(d.Allowed, d.Binding().Policy)
	}
	r, err := tenant.Peek(context.Background(), "tenant:7")
	fmt.Println(r.Remaining, err)
	// Output:
	// true user
	// false user
	// 99 <nil>
}

// What was reserved and not used is given back, once.
func ExampleMemory_Reserve() {
	ctx := context.Background()
	topUps := memory(ratelimit.TopUp(), nil)
	reserved, err := topUps.Reserve(ctx, "card:1", 3)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(reserved.Result().Remaining)
	for range 2 { // the payment failed, and somebody says so twice
		if err := reserved.Cancel(ctx); err != nil {
			log.Fatal(err)
		}
	}
	r, err := topUps.Peek(ctx, "card:1")
	fmt.Println(r.Remaining, err)
	// Output:
	// 27
	// 30 <nil>
}

// A worker that would rather be late than refused.
func ExampleMemory_Wait() {
	mails := memory(ratelimit.Policy{Name: "mails", Limit: 1, Window: 50 * time.Millisecond}, nil)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for range 3 {
		r, err := mails.Wait(ctx, "relay", 1)
		fmt.Println(r.Allowed, err)
	}
	// Output:
	// true <nil>
	// true <nil>
	// true <nil>
}

// Each tenant has what its plan allows. A change counts at once, and what was used
// before goes on counting.
func ExampleLimitFunc() {
	plan := map[string]int{"tenant:free": 1, "tenant:pro": 3}
	limiter := memory(ratelimit.API(), &ratelimit.Options{
		LimitFunc: func(_ context.Context, key string) (int, bool) { n, ok := plan[key]; return n, ok },
	})
	for _, key := range []string{"tenant:free", "tenant:pro", "tenant:other"} {
		r, err := limiter.Allow(context.Background(), key)
		fmt.Println(key, r.Limit, r.Remaining, err)
	}
	plan["tenant:free"] = 2
	r, err := limiter.Allow(context.Background(), "tenant:free")
	fmt.Println("upgraded", r.Allowed, r.Remaining, err)
	// Output:
	// tenant:free 1 0 <nil>
	// tenant:pro 3 2 <nil>
	// tenant:other 100 99 <nil>
	// upgraded true 0 <nil>
}

// A limit is tried on real traffic before it refuses anybody.
func ExamplePolicy_shadow() {
	limiter := memory(ratelimit.Policy{Name: "search", Limit: 1, Window: time.Minute, Shadow: true}, nil)
	for range 2 {
		r, err := limiter.Allow(context.Background(), "user:42")
		fmt.Println(r.Allowed, r.Shadowed, err)
	}
	// Output:
	// true false <nil>
	// true true <nil>
}

// An alert before a customer is refused.
func ExampleTrace() {
	limiter := memory(ratelimit.Policy{Name: "api", Limit: 10, Window: time.Hour}, &ratelimit.Options{
		Trace: &ratelimit.Trace{NearLimit: func(_ context.Context, e ratelimit.DecidedEvent) {
			fmt.Println(e.Key, "has", e.Result.Remaining, "of", e.Result.Limit, "left")
		}},
	})
	for range 10 {
		if _, err := limiter.Allow(context.Background(), "tenant:7"); err != nil {
			log.Fatal(err)
		}
	}
	// Output: tenant:7 has 2 of 10 left
}
