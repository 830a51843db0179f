package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// axe runs axe-core on the current page and reports its serious and critical findings.
func (b *browser) axe(what string) {
	b.t.Helper()
	source, err := os.ReadFile("testdata/axe-core/axe.min.js")
	if err != nil {
		b.t.Fatal(err)
	}
	b.js(string(source))
	var text string
	b.call("POST", "/execute/async", map[string]any{"args": []any{}, "script": `const done = arguments[0];
		axe.run(document, {resultTypes: ["violations"]}).then((r) => done(JSON.stringify(r.violations.map((v) =>
			({id: v.id, impact: v.impact, help: v.help, at: v.nodes.slice(0, 3).map((n) => n.target.join(" ") + ": " + n.failureSummary)})))), (e) => done(String(e)))`}, &text)
	var found []struct {
		ID, Impact, Help string
		At               []string
	}
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		b.t.Fatalf("%s: %v in %s", what, err, text)
	}
	for _, v := range found {
		if v.Impact == "serious" || v.Impact == "critical" {
			b.t.Errorf("%s: %s (%s): %s\n%s", what, v.ID, v.Impact, v.Help, strings.Join(v.At, "\n"))
		}
	}
}

// scheme sets light or dark.
func (b *browser) scheme(name string) {
	b.t.Helper()
	b.devtools("Emulation.setEmulatedMedia", map[string]any{"features": []any{map[string]any{"name": "prefers-color-scheme", "value": name}}})
}

// fits checks that the page is not wider than the window.
func (b *browser) fits(what string) {
	b.t.Helper()
	if v := b.js(`if (document.documentElement.scrollWidth <= innerWidth) return "";
		return [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".scroll, nav")).slice(0, 3).map((e) => e.outerHTML.slice(0, 80)).join("; ")`); v != "" {
		b.t.Errorf("%s is wider than its window: %v", what, v)
	}
}

// touchable checks that each control is large enough for a finger.
func (b *browser) touchable(what string) {
	b.t.Helper()
	if v := b.js(`return [...document.querySelectorAll("button, input, select, summary, nav a")].filter((e) => e.checkVisibility() && e.type !== "checkbox" && !e.matches(".unseen"))
		.filter((e) => { const r = e.getBoundingClientRect(); return r.height < 43.5 || r.width < 43.5; }).map((e) => e.outerHTML.slice(0, 80) + " " + e.getBoundingClientRect().height).slice(0, 3).join("; ")`); v != "" {
		b.t.Errorf("%s: too small for a finger: %v", what, v)
	}
}

// windows are the window sizes of the tests. The last is a window of 1366 by 768 at a zoom of
// 200 %.
var windows = []struct {
	name          string
	width, height int
	scheme        string
}{{"phone", 320, 568, "dark"}, {"tablet", 768, 1024, "light"}, {"desk", 1366, 768, "light"}, {"zoom", 683, 384, "dark"}}

// TestPagesLookGood checks each page in each window size, with axe-core in two of them. A plain run
// has the first.
func TestPagesLookGood(t *testing.T) {
	testserver.NeedsLong(t)
	if testing.Short() || raceDetector {
		t.Skip("a browser")
	}
	s := startShop(t)
	b := openBrowser(t).with(t, s)
	s.post("/api/v1/sales/", map[string]any{"card": card, "items": []any{map[string]any{"product": 1, "quantity": 2}}})
	s.post("/api/v1/sales/", map[string]any{"items": []any{map[string]any{"product": 2, "quantity": 1}, map[string]any{"product": 3, "quantity": 1}}})
	s.post("/api/v1/topups/", map[string]any{"card": card, "amount": 500})
	look := func(name string) {
		t.Helper()
		for _, w := range windows[:testserver.Sample(1, len(windows))] {
			checked := w.name == "phone" || w.name == "desk"
			b.size(w.width, w.height)
			b.scheme(w.scheme)
			what := name + ", " + w.name
			b.picture(what)
			b.fits(what)
			if checked {
				b.touchable(what)
				b.axe(what)
			}
			if strings.HasPrefix(name, "till") {
				b.inView("#total")
				b.inView("#sell")
			}
		}
		b.size(1366, 900)
	}
	b.open("/")
	b.until("!document.getElementById('login').hidden")
	look("login")
	b.logInHere("admin", adminPassword)
	b.until("document.querySelectorAll('#products button').length > 0")
	look("till, empty")
	b.ring(1, 2, 3, 4, 5, 6)
	b.useCard(card)
	look("till, open")
	b.press()
	b.says("#outcome", "Sold for")
	look("till, done")
	for _, page := range []struct{ path, ready, more string }{
		{"/day/", "#hours svg", ""},
		{"/customers/", "#list button", "#list button"},
		{"/products/", "#list button", "#list button"},
		{"/reports/", "#list td", ""},
		{"/users/", "#audit td", "#list button"},
		{"/status/", "table", ""},
	} {
		b.open(page.path)
		b.until(fmt.Sprintf("document.querySelector('%s')", page.ready))
		look(strings.Trim(page.path, "/"))
		if page.more == "" {
			continue
		}
		b.click(page.more)
		b.until("document.querySelector('dialog[open], #topups:not([hidden])')")
		look(strings.Trim(page.path, "/") + ", more")
	}
}
