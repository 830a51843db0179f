package command

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// TestOwnerWhileOthersGuess lets five and then five hundred addresses guess the cashier's
// password. The owner can still log in on a device that has logged in before, and from an
// address that has.
func TestOwnerWhileOthersGuess(t *testing.T) {
	s := openTestShop(t, "--trusted-proxies=127.0.0.1")
	s.token = ""
	login := func(from, password string, headers ...string) (int, http.Header) {
		status, _, header := s.send("POST", "/api/v1/login/", `{"username":"cashier","password":"`+password+`"}`, append(headers, "X-Forwarded-For", from)...)
		return status, header
	}
	status, header := login("198.51.100.7", cashierPassword)
	if status != http.StatusOK {
		t.Fatalf("the first log-in: %d", status)
	}
	var device []string
	for _, c := range header.Values("Set-Cookie") {
		one, _, _ := strings.Cut(c, ";")
		if !strings.HasPrefix(one, "pos_session") {
			device = append(device, one)
		}
	}
	owner := func(when string) {
		t.Helper()
		if status, _ := login("198.51.100.7", cashierPassword); status != http.StatusOK {
			t.Errorf("%s: the owner's address gets %d", when, status)
		}
		if status, _ := login("192.0.2.200", cashierPassword, "Cookie", strings.Join(device, "; ")); status != http.StatusOK {
			t.Errorf("%s: the owner's device elsewhere gets %d", when, status)
		}
	}
	for _, strangers := range []int{5, 500} {
		addresses := make(chan string)
		var refused sync.Map
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for from := range addresses {
					status, header := login(from, "a guess")
					for status == http.StatusServiceUnavailable && header.Get("Retry-After") != "" && t.Context().Err() == nil {
						status, header = login(from, "a guess") // the server hashes few passwords at a time, and returns a Retry-After
					}
					if status != http.StatusUnauthorized && status != http.StatusTooManyRequests {
						t.Errorf("a guess from %s: %d", from, status)
					}
					if status == http.StatusTooManyRequests {
						refused.Store(from, true)
					}
				}
			})
		}
		for n := range strangers {
			addresses <- fmt.Sprintf("203.%d.113.%d", n/200, n%200+1)
			if n%100 == 50 {
				owner(fmt.Sprint("between the guesses of ", strangers))
			}
		}
		close(addresses)
		wg.Wait()
		owner(fmt.Sprint("after the guesses of ", strangers))
		many := 0
		refused.Range(func(any, any) bool { many++; return true })
		if strangers == 500 && many < 400 {
			t.Errorf("only %d of 500 strangers were refused", many)
		}
	}
}
