package loginguard

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// cookies sign and read the cookie of a device. It holds an entry for each account that has
// logged in there, "id.expiry.mac", newest first. The account's name is in the mac alone.
type cookies struct {
	secrets [][]byte
	name    string
	keep    time.Duration
	secure  bool
}

// maxAccounts is how many accounts a device remembers.
const maxAccounts = 10

func mac(secret []byte, account, id, expiry string) string {
	h := hmac.New(sha256.New, secret)
	for _, s := range []string{"loginguard device v1", account, id, expiry} {
		h.Write([]byte(strconv.Itoa(len(s))))
		h.Write([]byte{':'})
		h.Write([]byte(s))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// device returns the id under which an account is remembered on the device that sent r, or "".
func (c *cookies) device(r *http.Request, account string) string {
	for _, entry := range c.entries(r) {
		id, expiry, sum, ok := split(entry)
		if !ok {
			continue
		}
		if at, err := strconv.ParseInt(expiry, 10, 64); err != nil || time.Now().Unix() >= at {
			continue
		}
		for _, secret := range c.secrets {
			if hmac.Equal([]byte(sum), []byte(mac(secret, account, id, expiry))) {
				return id
			}
		}
	}
	return ""
}

func (c *cookies) entries(r *http.Request) []string {
	var list []string
	for _, cookie := range r.CookiesNamed(c.name) {
		if len(cookie.Value) <= 2048 {
			list = append(list, strings.Split(cookie.Value, "~")...)
		}
	}
	return list[:min(len(list), maxAccounts)]
}

func split(entry string) (id, expiry, sum string, ok bool) {
	id, rest, ok := strings.Cut(entry, ".")
	expiry, sum, ok2 := strings.Cut(rest, ".")
	return id, expiry, sum, ok && ok2 && len(id) == 26 && len(sum) == 43
}

// remember returns the device's cookie with the account added.
func (c *cookies) remember(r *http.Request, account string) *http.Cookie {
	old := c.device(r, account)
	id := old
	if id == "" {
		id = rand.Text()
	}
	expiry := strconv.FormatInt(time.Now().Add(c.keep).Unix(), 10)
	list := []string{id + "." + expiry + "." + mac(c.secrets[0], account, id, expiry)}
	for _, entry := range c.entries(r) {
		if other, _, _, ok := split(entry); ok && other != old && len(list) < maxAccounts {
			list = append(list, entry)
		}
	}
	return &http.Cookie{
		Name: c.name, Value: strings.Join(list, "~"), Path: "/", MaxAge: int(c.keep / time.Second),
		HttpOnly: true, Secure: c.secure || r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https"), SameSite: http.SameSiteLaxMode,
	}
}
