package command

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// TestOperateLimits unlocks and blocks an address by command and by HTTP, as an operator would.
func TestOperateLimits(t *testing.T) {
	t.Parallel()
	url := "redis://" + testserver.Redis(t).Addr() + "/0"
	s := openTestShop(t, "--redis="+url)
	s.token = ""
	run := func(args ...string) (code int, out, err string) {
		var stdout, stderr bytes.Buffer
		env := Env{Getenv: func(string) string { return "" }, Stdout: &stdout, Stderr: &stderr}
		code = Run(t.Context(), env, append([]string{"limits", "--redis", url}, args...))
		return code, stdout.String(), stderr.String()
	}
	for range 6 {
		s.send("POST", "/api/v1/login/", `{"username":"admin","password":"no"}`)
	}
	code, out, _ := run("list", "-blocked")
	if code != exitOK || !strings.Contains(out, "ip:127.0.0.1") {
		t.Fatalf("list: %d %s", code, out)
	}
	if code, out, _ = run("unlock", "login", "ip:127.0.0.1"); code != exitOK || !strings.Contains(out, "free") {
		t.Fatalf("unlock: %d %s", code, out)
	}
	if code, out, _ = run("list", "-blocked"); code != exitOK || out != "no key is blocked\n" {
		t.Fatalf("list: %d %s", code, out)
	}
	for _, bad := range [][]string{{}, {"show"}, {"unlock", "login"}, {"block", "login", "ip:127.0.0.1", "soon"}} {
		if code, _, err := run(bad...); code != exitSetting || !strings.Contains(err, "pos limits -h") || strings.Count(err, "\n") != 1 {
			t.Errorf("%v: %d %s", bad, code, err)
		}
	}

	operator := []string{"Authorization", "Bearer " + opsToken}
	if status, _, _ := s.send("GET", "/ops/limits/", ""); status != 401 {
		t.Errorf("the limits without a token: %d", status)
	}
	status, body, _ := s.send("POST", "/ops/limits/block/", `{"policy":"login","key":"ip:192.0.2.7","for":"2h"}`, operator...)
	if status != 200 || !bytes.Contains(body, []byte(`"blocked":true`)) {
		t.Errorf("block: %d %s", status, body)
	}
	if status, body, _ = s.send("GET", "/ops/limits/?blocked=1&prefix=ip:192", "", operator...); status != 200 || !bytes.Contains(body, []byte("ip:192.0.2.7")) {
		t.Errorf("list: %d %s", status, body)
	}
	if status, body, _ = s.send("POST", "/ops/limits/unlock/", `{"policy":"login","key":"ip:192.0.2.7"}`, operator...); status != 200 || !bytes.Contains(body, []byte(`"blocked":false`)) {
		t.Errorf("unlock: %d %s", status, body)
	}
}

// TestPageLimitWithAKey spends the limit of the shop's pages. A sale or a top-up can still be asked
// for by its key; a key on any other route makes no difference.
func TestPageLimitWithAKey(t *testing.T) {
	s := openTestShop(t, "--rate-page=2/1h")
	_, _, header := s.send("POST", "/api/v1/login/", `{"username":"cashier","password":"`+cashierPassword+`"}`)
	cookie := ""
	for _, c := range header.Values("Set-Cookie") {
		if strings.HasPrefix(c, "pos_session=") {
			cookie, _, _ = strings.Cut(c, ";")
		}
	}
	s.token = ""
	for _, test := range []struct {
		path string
		want int
	}{
		{"/api/v1/customers/?key=1", http.StatusOK},
		{"/api/v1/customers/?key=1", http.StatusOK},
		{"/api/v1/customers/?key=1", http.StatusTooManyRequests},
		{"/api/v1/sales/?key=", http.StatusTooManyRequests},
		{"/api/v1/sales/?key=1", http.StatusOK},
		{"/api/v1/topups/?key=1", http.StatusOK},
		{"/api/v1/me/", http.StatusOK},
	} {
		if status, body, _ := s.send("GET", test.path, "", "Cookie", cookie); status != test.want {
			t.Errorf("%s: %d %s, want %d", test.path, status, body, test.want)
		}
	}
	// A page can always cancel a key, and ask again, but not write rows without end.
	for i := range 599 {
		if status, body, _ := s.send("POST", "/api/v1/keys/cancel/", fmt.Sprintf(`{"key":"%d"}`, i/2), "Cookie", cookie); status != http.StatusOK {
			t.Fatalf("request %d: %d %s", i, status, body)
		}
	}
	if status, body, _ := s.send("POST", "/api/v1/keys/cancel/", `{"key":"k"}`, "Cookie", cookie); status != http.StatusTooManyRequests {
		t.Errorf("the 301st key: %d %s", status, body)
	}
}
