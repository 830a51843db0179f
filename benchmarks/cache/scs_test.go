package cachebench

import (
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache/sessionstore"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

var _ scs.CtxStore = (*sessionstore.SCS)(nil)

// TestSCS runs scs on sessions in Redis: log in, stay logged in, all sessions ended at
// once, and nobody logged in while Redis is away.
func TestSCS(t *testing.T) {
	server := testserver.Redis(t)
	options := sessionstore.ClientOptions(server.Addr())
	options.DialTimeout, options.ReadTimeout, options.PoolTimeout = 10*time.Second, 10*time.Second, 10*time.Second
	client := redis.NewClient(options)
	t.Cleanup(func() { client.Close() })
	store, err := sessionstore.New(client, &sessionstore.Options{Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	sessions := scs.New()
	sessions.Store = store.SCS(func(data []byte) (string, error) {
		_, values, err := sessions.Codec.Decode(data)
		user, _ := values["user"].(string)
		return user, err
	})
	sessions.ErrorFunc = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusServiceUnavailable) }
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		if err := sessions.RenewToken(r.Context()); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		sessions.Put(r.Context(), "user", r.FormValue("user"))
	})
	mux.HandleFunc("/who", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, sessions.GetString(r.Context(), "user"))
	})
	mux.HandleFunc("/under-way", func(_ http.ResponseWriter, r *http.Request) {
		sessions.Put(r.Context(), "seen", time.Now().String())
		if err := store.EndAll(context.Background(), "ann"); err != nil {
			t.Error(err)
		}
	})
	mux.HandleFunc("/logout", func(_ http.ResponseWriter, r *http.Request) {
		if err := sessions.Destroy(r.Context()); err != nil {
			t.Error(err)
		}
	})
	web := httptest.NewServer(sessions.LoadAndSave(mux))
	t.Cleanup(web.Close)
	browser := func() func(path string) (int, string) {
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		c := &http.Client{Jar: jar, Timeout: time.Minute}
		return func(path string) (int, string) {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, web.URL+path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := c.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			body, err := io.ReadAll(answer.Body)
			if err != nil {
				t.Fatal(err)
			}
			return answer.StatusCode, string(body)
		}
	}
	one, two, bob := browser(), browser(), browser()
	one("/login?user=ann")
	two("/login?user=ann")
	bob("/login?user=bob")
	is := func(who func(string) (int, string), want string) {
		t.Helper()
		if status, body := who("/who"); status != http.StatusOK || body != want {
			t.Errorf("%d %q, want %q", status, body, want)
		}
	}
	is(one, "ann")
	is(two, "ann")
	is(bob, "bob")
	one("/under-way")
	is(one, "")
	is(two, "")
	is(bob, "bob")
	two("/login?user=ann")
	is(two, "ann")
	two("/logout")
	is(two, "")
	server.Kill()
	if status, _ := bob("/who"); status != http.StatusServiceUnavailable {
		t.Errorf("without Redis: %d", status)
	}
}
