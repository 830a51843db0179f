//go:build linux

package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// stale is the maximum age of a displayed balance or stock after a sale.
const stale = time.Second

// load is the work of a shop: tills that sell and top up, readers, and users who log in and
// out. Each till has its own card and product, so the tests know exactly which values a reader
// must see.
type load struct {
	t        *testing.T
	replicas []*replica
	tills    []*till
	cashier  string
	admin    string

	retries, reads, checks atomic.Int64
	refused                atomic.Int64 // 503 with Retry-After
	oldest                 [3]atomic.Int64
	mu                     sync.Mutex
	ended                  []string // tokens of ended sessions
	problems               map[string]int
	examples               map[string]string
}

// The kinds of values that readers check.
const (
	balance = iota
	stock
	dashboard
)

// till repeatedly sells one product to one card, or tops a card up.
type till struct {
	id      int
	card    string
	product int64 // 0 if the till tops up
	change  int64 // of the balance, for each request
	balance int64 // before the first request
	stock   int64

	mu     sync.Mutex
	issued int
	acked  []time.Time
	made   map[string]int64 // the id of each key's record
}

func (l *load) problem(kind, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.problems[kind]++; l.problems[kind] == 1 {
		l.examples[kind] = fmt.Sprintf(format, args...)
	}
}

// any returns a replica at random.
func (l *load) any() *replica { return l.replicas[rand.IntN(len(l.replicas))] }

// send sends a request and returns status 0 if no response came. It reports a status that no
// client should receive.
func (l *load) send(r *replica, token, method, path, body, key string) (int, []byte) {
	req, err := http.NewRequestWithContext(context.Background(), method, "http://"+r.addr+path, strings.NewReader(body))
	if err != nil {
		l.problem("request", "%v", err)
		return 0, nil
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	res, err := r.client.Do(req)
	if err != nil {
		return 0, nil
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, nil
	}
	if res.StatusCode == http.StatusServiceUnavailable && res.Header.Get("Retry-After") != "" {
		l.refused.Add(1)
	} else if res.StatusCode >= 500 {
		l.problem("5xx", "%s %s: %d %s", method, path, res.StatusCode, answer)
	}
	return res.StatusCode, answer
}

// must repeats a request at random replicas until a response comes, and decodes it.
func (l *load) must(token, method, path, body, key string, want int, to any) bool {
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); l.retries.Add(1) {
		status, answer := l.send(l.any(), token, method, path, body, key)
		switch status {
		case want:
			if to != nil {
				if err := json.Unmarshal(answer, to); err != nil {
					l.problem("answer", "%s: %v in %s", path, err, answer)
				}
			}
			return true
		case 0, http.StatusServiceUnavailable, http.StatusInternalServerError:
			time.Sleep(time.Duration(20+rand.IntN(100)) * time.Millisecond)
		default:
			l.problem(fmt.Sprint("status ", status), "%s %s %s: %s", method, path, body, answer)
			return false
		}
	}
	l.problem("no answer in 90 s", "%s %s", method, path)
	return false
}

func (l *load) login(user, password string) (token string) {
	var in struct{ Token string }
	l.must("", "POST", "/api/v1/login/", `{"username":"`+user+`","password":"`+password+`"}`, "", http.StatusOK, &in)
	return in.Token
}

// run works until stop is closed, and then finishes requests in progress.
func (l *load) run(stop <-chan struct{}) {
	var wg sync.WaitGroup
	repeat := func(pause time.Duration, f func()) {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(pause/2 + rand.N(pause)):
					f()
				}
			}
		})
	}
	for _, t := range l.tills {
		repeat(50*time.Millisecond, func() { l.work(t) })
	}
	for range 3 {
		repeat(25*time.Millisecond, l.read)
	}
	repeat(time.Second, l.visit)
	repeat(40*time.Millisecond, l.checkEnded)
	wg.Wait()
}

// work makes one sale or top-up. Without a response the till sends the request again with the
// same key, to any replica. Sometimes it repeats an acknowledged sale.
func (l *load) work(t *till) {
	t.mu.Lock()
	t.issued++
	key := fmt.Sprintf("run-%d-%06d", t.id, t.issued)
	t.mu.Unlock()
	path, body := "/api/v1/sales/", fmt.Sprintf(`{"card":"%s","items":[{"product":%d,"quantity":1},{"product":1,"quantity":1}]}`, t.card, t.product)
	if t.product == 0 {
		path, body = "/api/v1/topups/", fmt.Sprintf(`{"card":"%s","amount":%d}`, t.card, t.change)
	}
	var made struct{ ID int64 }
	if !l.must(l.cashier, "POST", path, body, key, http.StatusCreated, &made) {
		return
	}
	t.mu.Lock()
	t.acked = append(t.acked, time.Now())
	t.made[key] = made.ID
	t.mu.Unlock()
	if rand.IntN(5) == 0 {
		var again struct{ ID int64 }
		if l.must(l.cashier, "POST", path, body, key, http.StatusCreated, &again) && again.ID != made.ID {
			l.problem("doubled", "key %s made %d and %d", key, made.ID, again.ID)
		}
	}
}

// see compares the number of sales in a value with the sales that were acknowledged before the
// read.
func (l *load) see(kind int, what string, asked time.Time, shown int, t *till) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l.reads.Add(1)
	if shown < 0 || shown > t.issued {
		l.problem("impossible "+what, "till %d shows %d of %d", t.id, shown, t.issued)
		return
	}
	if shown < len(t.acked) && t.acked[shown].Before(asked) {
		age := asked.Sub(t.acked[shown])
		for old := l.oldest[kind].Load(); int64(age) > old && !l.oldest[kind].CompareAndSwap(old, int64(age)); old = l.oldest[kind].Load() {
		}
		if age > stale {
			l.problem("stale "+what, "till %d shows %d of %d sales, the next one is %s old", t.id, shown, len(t.acked), age)
		}
	}
}

func (l *load) read() {
	r, asked := l.any(), time.Now()
	if rand.IntN(2) == 0 {
		t := l.tills[rand.IntN(len(l.tills))]
		var card struct{ Balance int64 }
		if status, body := l.send(r, l.cashier, "GET", "/api/v1/cards/"+t.card+"/", "", ""); l.good(status, body, &card) {
			l.see(balance, "balance", asked, int((card.Balance-t.balance)/t.change), t)
		}
		return
	}
	var list struct {
		Results []struct{ ID, Stock int64 }
	}
	if status, body := l.send(r, l.cashier, "GET", "/api/v1/products/?ordering=id", "", ""); l.good(status, body, &list) {
		for _, t := range l.tills {
			for _, p := range list.Results {
				if p.ID == t.product {
					l.see(stock, "stock", asked, int(t.stock-p.Stock), t)
				}
			}
		}
	}
	all := &till{}
	for _, t := range l.tills {
		t.mu.Lock()
		if t.product != 0 {
			all.acked, all.issued = append(all.acked, t.acked...), all.issued+t.issued
		}
		t.mu.Unlock()
	}
	asked = time.Now()
	var d struct{ Sales int }
	if status, body := l.send(r, l.cashier, "GET", "/api/v1/dashboard/", "", ""); l.good(status, body, &d) {
		l.seeDashboard(asked, d.Sales, all)
	}
}

// seeDashboard counts the sales that were acknowledged a second before.
func (l *load) seeDashboard(asked time.Time, shown int, all *till) {
	old := 0
	for _, at := range all.acked {
		if asked.Sub(at) > stale {
			old++
		}
	}
	if shown < old {
		l.problem("stale dashboard", "it shows %d sales, and %d are more than a second old", shown, old)
	}
}

func (l *load) good(status int, body []byte, to any) bool {
	if status != http.StatusOK {
		if status != 0 && status < 500 {
			l.problem(fmt.Sprint("status ", status, " for a reader"), "%s", body)
		}
		return false
	}
	if err := json.Unmarshal(body, to); err != nil {
		l.problem("answer", "%v in %s", err, body)
		return false
	}
	return true
}

// visit logs in and ends the session: by a log-out, as a manager, or by a new password.
func (l *load) visit() {
	token := l.login("guest", "guest-of-the-test")
	if token == "" {
		return
	}
	var done bool
	switch rand.IntN(4) {
	case 0:
		done = l.must(l.admin, "DELETE", "/api/v1/users/guest/sessions/", "", "", http.StatusNoContent, nil)
	case 1:
		done = l.must(l.admin, "PATCH", "/api/v1/users/guest/", `{"password":"guest-of-the-test"}`, "", http.StatusOK, nil)
	default:
		status, _ := l.send(l.any(), token, "POST", "/api/v1/logout/", "", "")
		done = status == http.StatusNoContent
	}
	if done {
		l.mu.Lock()
		l.ended = append(l.ended, token)
		l.mu.Unlock()
	}
}

// checkEnded sends the token of an ended session to a replica.
func (l *load) checkEnded() {
	l.mu.Lock()
	if len(l.ended) == 0 {
		l.mu.Unlock()
		return
	}
	token := l.ended[rand.IntN(len(l.ended))]
	l.mu.Unlock()
	l.showEnded(l.any(), token)
}

func (l *load) showEnded(r *replica, token string) {
	l.checks.Add(1)
	if status, body := l.send(r, token, "GET", "/api/v1/me/", "", ""); status != 0 && status != http.StatusUnauthorized && status != http.StatusServiceUnavailable {
		l.problem("ended session", "%d %s", status, body)
	}
}
