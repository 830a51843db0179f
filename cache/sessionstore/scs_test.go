package sessionstore

import (
	"context"
	"errors"
	"testing"
	"time"
)

// As scs v2.9 declares them; the module benchmarks runs scs itself on this store.
type (
	scsStore interface {
		Delete(token string) (err error)
		Find(token string) (b []byte, found bool, err error)
		Commit(token string, b []byte, expiry time.Time) (err error)
	}
	scsCtxStore interface {
		scsStore
		DeleteCtx(ctx context.Context, token string) (err error)
		FindCtx(ctx context.Context, token string) (b []byte, found bool, err error)
		CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) (err error)
	}
)

var _ scsCtxStore = (*SCS)(nil)

func TestSCS(t *testing.T) {
	onServers(t, func(t *testing.T, open func(Options) *Store) {
		ctx, s := t.Context(), open(Options{})
		var odd error
		m := s.SCS(func(data []byte) (string, error) { return string(data[:3]), odd })
		commit := func(token, data string) {
			t.Helper()
			if err := m.Commit(token, []byte(data), time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		find := func(token, want string) {
			t.Helper()
			data, found, err := m.Find(token)
			if string(data) != want || found != (want != "") || err != nil {
				t.Errorf("%s: %q, %v, %v; want %q", token, data, found, err, want)
			}
		}
		commit("a1", "ann one")
		commit("a2", "ann two")
		commit("b1", "bob one")
		commit("a1", "ann one more")
		find("a1", "ann one more")
		find("none", "")
		if err := s.EndAll(ctx, "ann"); err != nil {
			t.Fatal(err)
		}
		commit("a1", "ann after the end") // by a request that was under way
		commit("a3", "ann again")
		find("a1", "")
		find("a2", "")
		find("a3", "ann again")
		find("b1", "bob one")
		commit("b1", "ann took over") // another user logs in under the token
		find("b1", "ann took over")
		if err := m.Delete("a3"); err != nil {
			t.Fatal(err)
		}
		find("a3", "")
		if err := m.Commit("b1", []byte("ann past"), time.Now().Add(-time.Second)); err != nil {
			t.Fatal(err)
		}
		find("b1", "")
		odd = errors.New("odd")
		if err := m.Commit("c1", []byte("cid"), time.Now().Add(time.Hour)); !errors.Is(err, odd) {
			t.Errorf("%v", err)
		}
		if err := m.Commit("", []byte("cid"), time.Now().Add(time.Hour)); err == nil {
			t.Error("a session without a token was stored")
		}
	})
}
