package loginguard

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// cookies sign and read the cookie of a device. It holds an entry for each account that has logged in there,
// "id.expiry.mac", the last one first. The mac has two halves: one shows that the guard has made the entry, and the
// other one shows the account, whose name the cookie does not contain.
type cookies struct {
	secrets [][]byte
	name    string // also separates the guards of one secret
	keep    time.Duration
	secure  bool
}

const (
	maxAccounts = 30       // that a device remembers
	maxCookie   = 4 << 10  // what browsers accept
	maxCookies  = 32 << 10 // that the guard reads of one request
	macLen      = 22       // of a half
)

// validSecrets returns the first secret that can be guessed.
func validSecrets(secret []byte, old [][]byte) error {
	const least = 32
	if len(secret) < least {
		return fmt.Errorf("loginguard: a secret of %d bytes can be guessed; use at least %d random ones", len(secret), least)
	}
	for i, s := range old {
		if len(s) < least {
			return fmt.Errorf("loginguard: OldSecrets[%d] has %d bytes, so anyone can sign the cookie of a device with it; leave it out, or use the old secret of at least %d bytes", i, len(s), least)
		}
	}
	return nil
}

// mac returns 128 bits of a keyed hash of parts, for one purpose of one guard.
func (c *cookies) mac(secret []byte, purpose string, parts ...string) string {
	h := hmac.New(sha256.New, secret)
	for _, s := range append([]string{"loginguard v2", purpose, c.name}, parts...) {
		h.Write([]byte(strconv.Itoa(len(s))))
		h.Write([]byte{':'})
		h.Write([]byte(s))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}

// entry is an entry that the guard has signed with secret.
type entry struct {
	id, expiry, account, text string
	secret                    []byte
}

// device returns the id under which an account is remembered on the device that sent r, or "".
func (c *cookies) device(r *http.Request, account string) string {
	for _, e := range c.entries(r) {
		if hmac.Equal([]byte(e.account), []byte(c.mac(e.secret, "account", account, e.id, e.expiry))) {
			return e.id
		}
	}
	return ""
}

// entries returns the valid entries of a request, each once.
func (c *cookies) entries(r *http.Request) (list []entry) {
	left := maxCookies
	seen := make(map[string]bool)
	for _, cookie := range r.CookiesNamed(c.name) {
		if len(cookie.Value) > min(left, maxCookie) {
			continue
		}
		left -= len(cookie.Value)
		for text := range strings.SplitSeq(cookie.Value, "~") {
			if e, ok := c.verified(text); ok && !seen[e.id] {
				seen[e.id] = true
				list = append(list, e)
			}
		}
	}
	return list
}

// verified returns the entry in text if the guard has signed it and it has not expired.
func (c *cookies) verified(text string) (e entry, ok bool) {
	id, rest, _ := strings.Cut(text, ".")
	expiry, sums, _ := strings.Cut(rest, ".")
	if len(id) != 26 || len(sums) != 2*macLen {
		return e, false
	}
	if at, err := strconv.ParseInt(expiry, 10, 64); err != nil || time.Now().Unix() >= at {
		return e, false
	}
	for _, secret := range c.secrets {
		if hmac.Equal([]byte(sums[:macLen]), []byte(c.mac(secret, "entry", id, expiry))) {
			return entry{id: id, expiry: expiry, account: sums[macLen:], text: text, secret: secret}, true
		}
	}
	return e, false
}

// remember returns the device's cookie with the account in front.
func (c *cookies) remember(r *http.Request, account string) *http.Cookie {
	old := c.device(r, account)
	id := old
	if id == "" {
		id = rand.Text()
	}
	expiry := strconv.FormatInt(time.Now().Add(c.keep).Unix(), 10)
	secret := c.secrets[0]
	list := []string{id + "." + expiry + "." + c.mac(secret, "entry", id, expiry) + c.mac(secret, "account", account, id, expiry)}
	for _, e := range c.entries(r) {
		if e.id != old && len(list) < maxAccounts {
			list = append(list, e.text)
		}
	}
	return &http.Cookie{
		Name: c.name, Value: strings.Join(list, "~"), Path: "/", MaxAge: int(c.keep / time.Second),
		HttpOnly: true, Secure: c.secure || r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https"), SameSite: http.SameSiteLaxMode,
	}
}
