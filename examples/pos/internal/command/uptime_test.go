package command

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
)

// TestUptimePages logs in to the uptime pages as a browser does, and fetches each of them.
func TestUptimePages(t *testing.T) {
	s := openTestShop(t)
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
	if _, body := do(client.Get(s.url + "/uptime")); !strings.Contains(body, `type="password"`) {
		t.Error("the page has no login form")
	}
	path, body := do(client.PostForm(s.url+"/uptime/login", url.Values{"password": {opsToken}}))
	if path != "/uptime/" || strings.Contains(body, `type="password"`) || !strings.Contains(body, "database") {
		t.Errorf("after the login: %s has no details", path)
	}
	for page, want := range map[string]string{"json": `"checks"`, "feed": "<feed", "badge/database.svg": "<svg"} {
		for _, end := range []string{"", "/"} {
			if _, body := do(client.Get(s.url + "/uptime/" + page + end)); !strings.Contains(body, want) {
				t.Errorf("/uptime/%s%s has no %s", page, end, want)
			}
		}
	}
}
