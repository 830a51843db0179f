package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// driver is the chromedriver of all tests.
var driver struct {
	once sync.Once
	cmd  *exec.Cmd
	url  string
	err  error
}

func startDriver(t *testing.T) string {
	t.Helper()
	program := testserver.Lookup(t, "chromedriver", "chromium-driver")
	driver.once.Do(func() {
		cmd := exec.Command(program, "--port=0")
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			driver.err = err
			return
		}
		driver.cmd = cmd
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if _, port, ok := strings.Cut(lines.Text(), "successfully on port "); ok {
				driver.url = "http://127.0.0.1:" + strings.TrimSuffix(port, ".")
				break
			}
		}
		go func() { _, _ = io.Copy(io.Discard, out) }()
	})
	if driver.url == "" {
		t.Fatal("chromedriver did not start: ", driver.err)
	}
	return driver.url
}

func closeDriver() {
	if driver.cmd != nil {
		_ = driver.cmd.Process.Kill()
		_ = driver.cmd.Wait()
	}
}

// browser is a Chromium that the test controls over the WebDriver protocol.
type browser struct {
	t    *testing.T
	base string // of its session
	shop *shop
}

func openBrowser(t *testing.T, args ...string) *browser {
	t.Helper()
	chromium := testserver.Chromium(t)
	b := &browser{t: t, base: startDriver(t)}
	var made struct{ SessionID string }
	b.call("POST", "/session", map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{
		"browserName": "chrome", "unhandledPromptBehavior": "ignore", "goog:loggingPrefs": map[string]string{"browser": "ALL"},
		"goog:chromeOptions": map[string]any{"binary": chromium, "args": append([]string{
			"--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--lang=en-US", "--window-size=1366,900", "--no-first-run", "--disable-extensions",
		}, args...)},
	}}}, &made)
	b.base += "/session/" + made.SessionID
	t.Cleanup(func() {
		req, _ := http.NewRequest(http.MethodDelete, b.base, nil)
		if res, err := http.DefaultClient.Do(req); err == nil {
			res.Body.Close()
		}
	})
	return b
}

// with returns the same browser for a subtest and a shop, without state from earlier tests.
func (b *browser) with(t *testing.T, s *shop) *browser {
	t.Helper()
	if s.faults != nil {
		s.clear()
	}
	one, of := *b, *s
	one.t, of.t = t, t
	one.shop = &of
	one.call("POST", "/url", map[string]any{"url": "about:blank"}, nil)
	one.devtools("Network.enable", nil)
	one.devtools("Network.clearBrowserCookies", nil)
	one.devtools("Storage.clearDataForOrigin", map[string]any{"origin": s.url, "storageTypes": "all"})
	one.size(1366, 900)
	of.first = of.newest()
	return &one
}

// call sends a command of the protocol and reads its value.
func (b *browser) call(method, path string, body, into any) {
	b.t.Helper()
	if err := b.try(method, path, body, into); err != nil {
		b.t.Fatalf("%s: %v", path, err)
	}
}

func (b *browser) try(method, path string, body, into any) error {
	b.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if body == nil {
		text = nil
	}
	req, err := http.NewRequest(method, b.base+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var answer struct{ Value json.RawMessage }
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		var problem struct{ Error, Message string }
		_ = json.Unmarshal(answer.Value, &problem)
		message, _, _ := strings.Cut(problem.Message, "\n")
		return fmt.Errorf("%s: %s", problem.Error, message)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer.Value, into)
}

func (b *browser) devtools(command string, params any) {
	b.t.Helper()
	if params == nil {
		params = map[string]any{}
	}
	b.call("POST", "/goog/cdp/execute", map[string]any{"cmd": command, "params": params}, nil)
}

// open opens a page of the shop.
func (b *browser) open(path string) {
	b.t.Helper()
	b.call("POST", "/url", map[string]any{"url": b.shop.url + path}, nil)
}

func (b *browser) reload() {
	b.t.Helper()
	b.call("POST", "/refresh", map[string]any{}, nil)
}

// size sets the viewport in CSS pixels.
func (b *browser) size(width, height int) {
	b.t.Helper()
	b.devtools("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false})
}

// offline disconnects the browser from the network.
func (b *browser) offline(yes bool) {
	b.t.Helper()
	b.devtools("Network.emulateNetworkConditions", map[string]any{"offline": yes, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1})
}

// js runs a script in the page and returns its value.
func (b *browser) js(script string, args ...any) any {
	b.t.Helper()
	if args == nil {
		args = []any{}
	}
	var v any
	b.call("POST", "/execute/sync", map[string]any{"script": script, "args": args}, &v)
	return v
}

// is evaluates a condition.
func (b *browser) is(condition string) bool {
	b.t.Helper()
	v, _ := b.js("return Boolean(" + condition + ")").(bool)
	return v
}

// until waits for a condition of the page.
func (b *browser) until(condition string) {
	b.t.Helper()
	b.wait(condition, func() bool {
		var v any
		err := b.try("POST", "/execute/sync", map[string]any{"script": "return Boolean(" + condition + ")", "args": []any{}}, &v)
		return err == nil && v == true
	})
}

// wait waits for any condition.
func (b *browser) wait(what string, done func() bool) {
	b.t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(15 * time.Millisecond) {
		if time.Now().After(end) {
			b.picture("failed")
			b.t.Fatalf("waited in vain for %s; the page says %q", what, b.text("body"))
		}
	}
}

// text returns the text of an element that a user sees.
func (b *browser) text(css string) string {
	b.t.Helper()
	v, _ := b.js("const e = document.querySelector(arguments[0]); return e ? e.innerText : ''", css).(string)
	return strings.TrimSpace(v)
}

func (b *browser) says(css, text string) {
	b.t.Helper()
	b.wait(fmt.Sprintf("%s to say %q", css, text), func() bool { return strings.Contains(b.text(css), text) })
}

const elementKey = "element-6066-11e4-a52e-4f735466cecf"

// on waits for an element and sends a command to it.
func (b *browser) on(css, command string, body any) {
	b.t.Helper()
	var last error
	b.wait(css+" for "+command, func() bool {
		var e map[string]string
		if last = b.try("POST", "/element", map[string]any{"using": "css selector", "value": css}, &e); last == nil {
			last = b.try("POST", "/element/"+e[elementKey]+"/"+command, body, nil)
		}
		return last == nil
	})
}

func (b *browser) click(css string) { b.t.Helper(); b.on(css, "click", map[string]any{}) }

// write replaces the text of a field by typing.
func (b *browser) write(css, text string) {
	b.t.Helper()
	b.on(css, "clear", map[string]any{})
	b.on(css, "value", map[string]any{"text": text})
}

// Keys of the protocol.
const (
	enter = "\uE007"
	tab   = "\uE004"
	f2    = "\uE032"
	f4    = "\uE034"
	f9    = "\uE039"
	right = "\uE014"
	down  = "\uE015"
)

// keys presses keys at the focus, like a keyboard or a scanner.
func (b *browser) keys(text string) {
	b.t.Helper()
	var actions []map[string]any
	for _, r := range text {
		actions = append(actions, map[string]any{"type": "keyDown", "value": string(r)}, map[string]any{"type": "keyUp", "value": string(r)})
	}
	b.call("POST", "/actions", map[string]any{"actions": []any{map[string]any{"type": "key", "id": "keyboard", "actions": actions}}}, nil)
}

// focus returns the id of the element that has the focus.
func (b *browser) focus() string {
	b.t.Helper()
	v, _ := b.js("return document.activeElement.id || document.activeElement.tagName").(string)
	return v
}

// picture stores a screenshot of the page if POS_PICTURES names a folder.
func (b *browser) picture(name string) {
	b.t.Helper()
	dir := os.Getenv("POS_PICTURES")
	if dir == "" {
		return
	}
	var shot string
	b.call("GET", "/screenshot", nil, &shot)
	data, err := base64.StdEncoding.DecodeString(shot)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, strings.ReplaceAll(b.t.Name(), "/", "_")+"_"+name+".png"), data, 0o600)
	}
	if err != nil {
		b.t.Error(err)
	}
}

// logIn opens a page and logs in.
func (b *browser) logIn(path, user, password string) {
	b.t.Helper()
	b.open(path)
	b.logInHere(user, password)
}

func (b *browser) logInHere(user, password string) {
	b.t.Helper()
	b.write("[name=username]", user)
	b.write("[name=password]", password)
	b.click("#login button")
	b.until("!document.getElementById('account').hidden")
}
