package loginguard

import (
	"context"
	"fmt"
	"iter"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/mainstay-go/mainstay/ratelimit"
)

// Limiters returns the limiters of the guard, for operators: see package operate. They translate the names and addresses
// of an operator into keys of the guard.
func (g *Guard) Limiters() (list []ratelimit.Limiter) {
	for _, l := range []struct {
		limiter ratelimit.Limiter
		key     func(text string) (string, bool)
		forms   string
	}{
		{g.byAddress, ipKey(32, 64), "ip:ADDRESS"},
		{g.bySite, ipKey(32, 56), "ip:ADDRESS"},
		{g.byNetwork, ipKey(24, 48), "ip:ADDRESS"},
		{g.byAccount, g.accountKey, "account:NAME, or login:unclear for requests without a readable name"},
		{g.everyone, everyoneKey, "everyone"},
		{g.byDevice, deviceKey, "device:… or known:…, as a listing shows them"},
		{g.byKnownAddress, ipKey(32, 64), "ip:ADDRESS"},
	} {
		if lists, ok := l.limiter.(lister); ok {
			list = append(list, &translated{lists, l.key, l.forms})
		} else if l.limiter != nil {
			list = append(list, l.limiter)
		}
	}
	return list
}

// lister is a limiter that package operate accepts.
type lister interface {
	ratelimit.Limiter
	Keys(ctx context.Context, prefix string) iter.Seq2[string, ratelimit.Result]
}

// translated is a limiter that knows how operators write its keys.
type translated struct {
	lister
	key   func(text string) (string, bool)
	forms string
}

// OperatorKey returns the key that an operator means by a text, such as a name or an address, or a key of a listing.
func (t *translated) OperatorKey(text string) (string, error) {
	if key, ok := t.key(text); ok {
		return key, nil
	}
	return "", fmt.Errorf("loginguard: %q is no key of policy %s; write %s", text, t.Policy().Name, t.forms)
}

// ipKey translates an address into the key of the network that contains it.
func ipKey(v4, v6 int) func(text string) (string, bool) {
	byIP, err := ratelimit.ByIP(&ratelimit.IPOptions{IPv4Prefix: v4, IPv6Prefix: v6})
	return func(text string) (string, bool) {
		id := strings.TrimPrefix(text, "ip:")
		addr, bad := netip.ParseAddr(id)
		if prefix, err := netip.ParsePrefix(id); err == nil {
			addr, bad = prefix.Addr(), nil
		}
		if err == nil && bad == nil {
			return byIP(&http.Request{RemoteAddr: net.JoinHostPort(addr.String(), "1"), Header: http.Header{}}), true
		}
		listed := id != text && id != "" && strings.Trim(id, "0123456789abcdef.-_") == "" || id == "unknown"
		return "ip:" + id, listed
	}
}

func (g *Guard) accountKey(text string) (string, bool) {
	name, ok := strings.CutPrefix(text, "account:")
	switch {
	case text == unclearKey, ok && strings.HasPrefix(name, "h:") && len(name) == len("h:")+43: // a key of a listing
		return text, true
	case ok && name != "":
		return g.accountOf(name), true
	}
	return "", false
}

// accountOf returns the key of the limit of an account.
func (g *Guard) accountOf(name string) string {
	return ratelimit.Key("account", strings.TrimSpace(g.opts.Fold(name)))
}

func everyoneKey(text string) (string, bool) {
	return allKey, text == allKey || "login:"+text == allKey
}

func deviceKey(text string) (string, bool) {
	return text, strings.HasPrefix(text, "device:") || strings.HasPrefix(text, "known:")
}
