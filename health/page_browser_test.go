package health_test

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// chromium runs the browser once, headless, with a profile of its own, and
// returns what it printed.
func chromium(t *testing.T, binary string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	profile := t.TempDir()
	cmd := exec.CommandContext(ctx, binary, append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--hide-scrollbars", "--user-data-dir=" + profile,
	}, args...)...)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.Output()
	require.NoError(t, err)
	return string(out)
}

func shownRegistry(t *testing.T) *health.Registry {
	t.Helper()
	down := health.Func("database", time.Second, func(context.Context) error {
		return errors.New("dial tcp 10.0.0.5:3306: connect: " + strings.Repeat("refused", 40))
	})
	disk := health.Gauge("a-name-that-is-longer-than-a-phone-is-wide-when-it-is-upright", func(context.Context) (float64, error) {
		return 85, nil
	}, &health.GaugeOptions{Unit: "percent", Limits: health.Limits{Warn: 80, Fail: 90}})
	r, err := health.New([]health.Check{
		down, disk,
		health.Func("fine", time.Second, func(context.Context) error { return nil }),
	}, &health.Options{Authorize: func(*http.Request) bool { return true }, Service: "pos-1"})
	require.NoError(t, err)
	_, err = r.RunOnce(t.Context())
	require.NoError(t, err)
	return r
}

// The page as a browser shows it, with the policy it is served with: were the
// style sheet's hash wrong, the picture would be white and black.
func TestPageInABrowser(t *testing.T) {
	binary := testserver.Chromium(t)
	server := httptest.NewServer(shownRegistry(t).Handler())
	defer server.Close()
	for scheme, c := range map[string]struct {
		flag             string
		ground, headline color.RGBA
	}{
		"light": {"--blink-settings=preferredColorScheme=1", color.RGBA{0xf4, 0xf5, 0xf7, 255}, color.RGBA{0xbf, 0x1a, 0x1f, 255}},
		"dark":  {"--blink-settings=preferredColorScheme=0", color.RGBA{0x0f, 0x13, 0x17, 255}, color.RGBA{0xff, 0x8a, 0x80, 255}},
	} {
		file := filepath.Join(t.TempDir(), scheme+".png")
		chromium(t, binary, c.flag, "--window-size=1000,800", "--screenshot="+file, server.URL+"/status/")
		picture := readPNG(t, file)
		require.Equal(t, c.ground, rgba(picture, 2, 2), "%s: ground", scheme)
		require.Positive(t, count(picture, c.headline), "%s: colour of the failing headline", scheme)
	}
}

// The layout at the width of a small phone, at two sizes of text: nothing is
// wider than the screen.
func TestPageFitsAPhone(t *testing.T) {
	binary := testserver.Chromium(t)
	r := shownRegistry(t)
	mux := http.NewServeMux()
	mux.HandleFunc("/page", func(w http.ResponseWriter, req *http.Request) {
		rec := httptest.NewRecorder()
		r.ServeStatus(rec, req)
		body := rec.Body.String()
		if req.URL.Query().Has("large") { // as a reader's own setting would do
			body = strings.Replace(body, "</head>", "<style>html{font-size:200%}</style></head>", 1)
		}
		// Without the policy of the real page, which no frame may hold.
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, body)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, `<!doctype html><iframe src="/page?refresh=0" width="320" height="600"></iframe>
<iframe src="/page?refresh=0&large" width="320" height="600"></iframe>
<iframe src="/page?refresh=0" width="1000" height="600"></iframe><p id="out"></p>
<script>onload=()=>{for(const f of document.querySelectorAll("iframe")){const d=f.contentDocument,e=d.documentElement;
const links=[...d.querySelectorAll("a")].filter(a=>a.tabIndex!==0||!a.textContent.trim()).length;
out.textContent+=f.width+":"+e.scrollWidth+":"+e.clientWidth+":"+d.querySelectorAll("tbody tr").length+":"+links+";"}}</script>`)
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	out := chromium(t, binary, "--virtual-time-budget=5000", "--window-size=1400,1400", "--dump-dom", server.URL)
	found := regexp.MustCompile(`(\d+):(\d+):(\d+):(\d+):(\d+);`).FindAllStringSubmatch(out, -1)
	require.Len(t, found, 3)
	for _, m := range found {
		require.Equal(t, m[3], m[2], "a frame of %s: content is wider than the screen", m[1])
		require.Equal(t, "3", m[4], "rows")
		require.Equal(t, "0", m[5], "links that the keyboard does not reach or that say nothing")
	}
}

func readPNG(t *testing.T, file string) image.Image {
	t.Helper()
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	picture, err := png.Decode(f)
	require.NoError(t, err)
	return picture
}

func rgba(p image.Image, x, y int) color.RGBA {
	return color.RGBAModel.Convert(p.At(x, y)).(color.RGBA)
}

func count(p image.Image, c color.RGBA) (n int) {
	for y := p.Bounds().Min.Y; y < p.Bounds().Max.Y; y++ {
		for x := p.Bounds().Min.X; x < p.Bounds().Max.X; x++ {
			if rgba(p, x, y) == c {
				n++
			}
		}
	}
	return n
}
