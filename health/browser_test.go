package health_test

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// browser is a headless Chromium that is spoken to over a pair of pipes, in the
// DevTools protocol: the page is measured as it is served, with its policy.
type browser struct {
	t       *testing.T
	in      *os.File
	out     *bufio.Reader
	session string
	last    int
}

func newBrowser(t *testing.T, flags ...string) *browser {
	t.Helper()
	binary := testserver.Chromium(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	theirIn, in, err := os.Pipe()
	require.NoError(t, err)
	out, theirOut, err := os.Pipe()
	require.NoError(t, err)
	profile, err := os.MkdirTemp("", "mainstay-chromium-") //nolint:usetesting // t.TempDir fails the test while something still writes there
	require.NoError(t, err)
	cmd := exec.CommandContext(ctx, binary, append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--user-data-dir=" + profile, "--remote-debugging-pipe",
	}, flags...)...)
	cmd.ExtraFiles = []*os.File{theirIn, theirOut} // descriptors 3 and 4
	cmd.WaitDelay = 5 * time.Second
	require.NoError(t, cmd.Start())
	theirIn.Close()
	theirOut.Close()
	b := &browser{t: t, in: in, out: bufio.NewReader(out)}
	t.Cleanup(func() {
		in.Close() // the browser ends with its pipe
		_ = cmd.Wait()
		out.Close()
		cancel()
		// The browser's children write for a moment longer than it lives.
		require.Eventually(t, func() bool { return os.RemoveAll(profile) == nil }, time.Minute, 20*time.Millisecond)
	})
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	b.call("Page.enable", nil, nil)
	return b
}

// call sends a command and reads its answer; events in between are passed over.
func (b *browser) call(method string, params map[string]any, result any) {
	b.t.Helper()
	b.last++
	message := map[string]any{"id": b.last, "method": method, "params": params}
	if b.session != "" {
		message["sessionId"] = b.session
	}
	text, err := json.Marshal(message)
	require.NoError(b.t, err)
	_, err = b.in.Write(append(text, 0))
	require.NoError(b.t, err)
	for {
		answer := b.read()
		if answer.ID != b.last {
			continue
		}
		require.Empty(b.t, answer.Error.Message, method)
		if result != nil {
			require.NoError(b.t, json.Unmarshal(answer.Result, result))
		}
		return
	}
}

type browserMessage struct {
	ID     int
	Method string
	Result json.RawMessage
	Error  struct{ Message string }
}

func (b *browser) read() browserMessage {
	b.t.Helper()
	text, err := b.out.ReadBytes(0)
	require.NoError(b.t, err, "the browser has gone")
	var m browserMessage
	require.NoError(b.t, json.Unmarshal(text[:len(text)-1], &m))
	return m
}

// open loads a page at a width in CSS pixels and a colour scheme.
func (b *browser) open(url string, width int, scheme string) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false}, nil)
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []any{map[string]any{"name": "prefers-color-scheme", "value": scheme}}}, nil)
	b.call("Page.navigate", map[string]any{"url": url}, nil)
	for b.read().Method != "Page.loadEventFired" {
	}
}

// evaluate runs JavaScript that the page itself does not have and may not have.
func (b *browser) evaluate(script string, result any) {
	b.t.Helper()
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct{ Text string }
	}
	b.call("Runtime.evaluate", map[string]any{"expression": script, "returnByValue": true}, &answer)
	require.Nil(b.t, answer.ExceptionDetails, "%s", answer.Result.Value)
	require.NoError(b.t, json.Unmarshal(answer.Result.Value, result))
}

// tab presses the key that moves the focus.
func (b *browser) tab() {
	b.t.Helper()
	key := map[string]any{"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}
	for _, kind := range []string{"rawKeyDown", "keyUp"} {
		key["type"] = kind
		b.call("Input.dispatchKeyEvent", key, nil)
	}
}
