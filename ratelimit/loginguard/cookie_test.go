package loginguard_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/loginguard"
)

// An old secret that can be guessed signs cookies for every client, such as that of a variable that is not set.
func TestOldSecretsOfAnyLengthAreSecrets(t *testing.T) {
	t.Parallel()
	for _, old := range [][]byte{nil, {}, []byte("short"), secret[:31]} {
		_, err := loginguard.New(secret, &loginguard.Options{OldSecrets: [][]byte{old}})
		require.ErrorContains(t, err, "leave it out", "%q", old)
	}
	_, err := loginguard.New(secret, &loginguard.Options{OldSecrets: [][]byte{bytes.Repeat([]byte("o"), 32)}})
	require.NoError(t, err)
}

// accounts is a login whose accounts are told apart by their exact spelling.
func accounts(t *testing.T, o loginguard.Options, passwords map[string]string) *site {
	s := &site{}
	s.handler = guard(t, o).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.reached.Add(1)
		if p, ok := passwords[r.PostFormValue("username")]; ok && p == r.PostFormValue("password") {
			s.right.Add(1)
			ratelimit.AdmissionFrom(r.Context()).Succeed()
		}
	}))
	return s
}

// A success makes the device and the address known for the exact name, unless the service says which names are one.
func TestPrivilegesBelongToTheExactName(t *testing.T) {
	t.Parallel()
	for _, own := range []string{"Alice", "alice ", "ALICE"} {
		s := accounts(t, loginguard.Options{}, map[string]string{"alice": "right", own: "own"})
		var guesses int64
		for range 50 {
			cookies := s.post("203.0.113.5:1", own, "own").Result().Cookies()
			before := s.reached.Load()
			for range 5 {
				s.post("203.0.113.5:1", "alice", "guess", cookies...)
			}
			guesses += s.reached.Load() - before
		}
		require.EqualValues(t, 5, guesses, "%q", own)
	}
	s := accounts(t, loginguard.Options{Fold: strings.ToLower}, map[string]string{"alice": "right", "Alice": "right"})
	cookies := s.post("198.51.100.7:1", "Alice", "right").Result().Cookies()
	lockOut(s, "alice")
	require.Equal(t, 200, s.post("192.0.2.1:1", "alice", "right", cookies...).Code, "Fold says that they are one account")
	require.Equal(t, 200, s.post("198.51.100.7:1", "alice", "right").Code)
}

// Blanks around a name make no other limit, whatever Fold does.
func TestBlanksAroundNames(t *testing.T) {
	t.Parallel()
	for _, fold := range []func(string) string{nil, strings.ToLower} {
		s := newSite(t, loginguard.Options{Fold: fold})
		for i := range 100 {
			s.post(v4(i), "alice"+strings.Repeat(" ", i), "wrong")
		}
		require.EqualValues(t, 50, s.reached.Load())
	}
}

// lockOut uses the limit of an account up, from addresses of its own.
func lockOut(s *site, name string) {
	for range 10 {
		addr := v4(int(1<<16 + strangers.Add(1)))
		for range 5 {
			s.post(addr, name, "wrong")
		}
	}
}

var strangers atomic.Int64

// Guards of one service are independent, whether they share the secret and the limiters or not.
func TestGuardsAreIndependent(t *testing.T) {
	t.Parallel()
	other := bytes.Repeat([]byte("o"), 32)
	for name, c := range map[string]struct {
		secret []byte
		cookie string
	}{"another cookie": {secret, "staff_device"}, "another secret": {other, "login_device"}} {
		store := map[string]ratelimit.Limiter{} // as on Redis, limiters of one name share their keys
		shared := func(p ratelimit.Policy) (ratelimit.Limiter, error) {
			if store[p.Name] == nil {
				l, err := ratelimit.NewMemory(p, nil)
				if err != nil {
					return nil, err
				}
				store[p.Name] = l
			}
			return store[p.Name], nil
		}
		shop := accounts(t, loginguard.Options{Limiter: shared}, map[string]string{"admin": "a customer of this name"})
		g, err := loginguard.New(c.secret, &loginguard.Options{Limiter: shared, Cookie: c.cookie})
		require.NoError(t, err)
		staff := &site{}
		staff.handler = g.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { staff.reached.Add(1) }))
		for range 50 {
			cookies := shop.post("203.0.113.5:1", "admin", "a customer of this name").Result().Cookies()
			for _, cookie := range cookies {
				cookie.Name = c.cookie
			}
			for range 5 {
				staff.post("203.0.113.5:1", "admin", "guess", cookies...)
			}
		}
		require.EqualValues(t, 5, staff.reached.Load(), name)
	}
}

// Two guards that cannot be told apart are reported.
func TestTwinGuardsAreReported(t *testing.T) {
	log, o := logged()
	o.Cookie = "twin_device"
	for range 3 {
		_, err := loginguard.New(secret, &o)
		require.NoError(t, err)
	}
	require.Equal(t, 1, strings.Count(log.String(), "two guards"), log)
}

// A device that many accounts share remembers them all, and the ones that logged in last when there are too many.
func TestADeviceOfManyAccounts(t *testing.T) {
	t.Parallel()
	names := map[string]string{}
	for i := range 40 {
		names[fmt.Sprint("cashier", i)] = "right"
	}
	s := accounts(t, loginguard.Options{}, names)
	var cookies []*http.Cookie
	login := func(i int) {
		cookies = s.post(fmt.Sprintf("198.51.100.%d:1", i), fmt.Sprint("cashier", i), "right", cookies...).Result().Cookies()
		require.Less(t, len(cookies[0].String()), 4096)
	}
	known := func(i int) bool {
		name := fmt.Sprint("cashier", i)
		lockOut(s, name)
		return s.post(v4(2000+i), name, "right", cookies...).Code == 200
	}
	for i := range 30 {
		login(i)
	}
	login(0)
	login(30)
	require.True(t, known(0))
	require.False(t, known(1), "the one that has not logged in for longest")
	require.True(t, known(2))
	require.True(t, known(30))
}

// Cookies and entries that the guard has not signed displace none of its own.
func TestForeignCookies(t *testing.T) {
	t.Parallel()
	s := newSite(t, loginguard.Options{})
	own := s.post("198.51.100.7:1", "alice", "right").Result().Cookies()[0]
	lockOut(s, "alice")
	expiry := fmt.Sprint(time.Now().Add(time.Hour).Unix())
	entry := strings.Repeat("a", 26) + "." + expiry + "." + strings.Repeat("b", 43)
	for name, value := range map[string]string{
		"empty entries": strings.Repeat("~", 9), "forged entries": strings.Repeat(entry+"~", 40), "long": strings.Repeat("x", 5000),
	} {
		foreign := &http.Cookie{Name: own.Name, Value: value}
		w := s.post("192.0.2.1:1", "alice", "right", foreign, own)
		require.Len(t, w.Result().Cookies(), 1, name)
		require.NotContains(t, w.Result().Cookies()[0].Value, "~", name)
		require.Equal(t, http.StatusTooManyRequests, s.post("192.0.2.2:1", "alice", "right", foreign).Code, name)
	}
}
