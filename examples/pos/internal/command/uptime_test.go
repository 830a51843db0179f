package command

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
)

// TestUptimePages logs in to the uptime pages as a browser does, and fetches each of them.
func TestUptimePages(t *testing.T) {
	seeUptimePages(t, openTestShop(t).url, opsToken)
}

// TestUptimePagesGeneratedToken does the same with the token that the first start printed.
func TestUptimePagesGeneratedToken(t *testing.T) {
	s, _, err := settings.Load([]string{"--data", demoShop(t), "--backup-at=off"}, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	var out strings.Builder
	srv, err := newServer(t.Context(), Env{Stdout: &out}, s, st, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer srv.close()
	_, token, ok := strings.Cut(out.String(), "pos: ops token: ")
	if !ok {
		t.Fatalf("the first start printed %q", out.String())
	}
	web := httptest.NewServer(srv.handler)
	defer web.Close()
	seeUptimePages(t, web.URL, strings.TrimSpace(token))
}

func seeUptimePages(t *testing.T, address, token string) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar}
	do := func(resp *http.Response, err error) (path, body string) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		read, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d, %v", resp.Request.URL.Path, resp.StatusCode, err)
		}
		return resp.Request.URL.Path, string(read)
	}
	if _, body := do(client.Get(address + "/uptime")); !strings.Contains(body, `type="password"`) {
		t.Error("the page has no login form")
	}
	path, body := do(client.PostForm(address+"/uptime/login", url.Values{"password": {token}}))
	if path != "/uptime/" || strings.Contains(body, `type="password"`) || !strings.Contains(body, "database") {
		t.Errorf("after the login: %s has no details", path)
	}
	for page, want := range map[string]string{"json": `"checks"`, "feed": "<feed", "badge/database.svg": "<svg"} {
		for _, end := range []string{"", "/"} {
			if _, body := do(client.Get(address + "/uptime/" + page + end)); !strings.Contains(body, want) {
				t.Errorf("/uptime/%s%s has no %s", page, end, want)
			}
		}
	}
	path, body = do(client.PostForm(address+"/uptime/announce", url.Values{"text": {"closed on Friday"}, "hours": {"24"}}))
	if path != "/uptime/" || !strings.Contains(body, "<p>closed on Friday</p>") {
		t.Errorf("%s does not show the announcement", path)
	}
}
