package echolimit_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/mainstay-go/mainstay/contrib/echolimit"
	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/ratelimittest"
)

func TestOutcomes(t *testing.T) {
	ratelimittest.OutcomeSuite{
		Kinds: []string{"status", "error", "form", "redirect", "panic", "hijack"},
		New: func(t testing.TB, l ratelimit.Limiter, reached func(context.Context, string)) func(string) (bool, time.Duration) {
			limit, err := echolimit.New([]echolimit.Rule{{Limiter: l, Key: func(c echo.Context) string { return ratelimit.Key("ip", c.RealIP()) }, FailuresOnly: true}})
			if err != nil {
				t.Fatal(err)
			}
			e := echo.New()
			e.Logger.SetOutput(io.Discard)
			e.Use(middleware.RecoverWithConfig(middleware.RecoverConfig{DisablePrintStack: true}))
			e.POST("/:kind", func(c echo.Context) error {
				kind := c.Param("kind")
				reached(c.Request().Context(), kind)
				switch kind {
				case "status":
					return c.NoContent(http.StatusUnauthorized)
				case "error":
					return echo.NewHTTPError(http.StatusUnauthorized, "wrong password")
				case "redirect":
					return c.Redirect(http.StatusSeeOther, "/login")
				case "panic":
					panic("wrong")
				case "hijack":
					if conn, _, err := c.Response().Hijack(); err == nil {
						_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
						conn.Close()
					}
					return nil
				}
				return c.String(http.StatusOK, kind)
			}, limit)
			return sender(t, e)
		},
	}.Run(t)
}

func sender(t testing.TB, h http.Handler) func(string) (bool, time.Duration) {
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	client := server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return func(kind string) (bool, time.Duration) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/"+kind, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			return false, 0
		}
		resp.Body.Close()
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return resp.StatusCode == http.StatusTooManyRequests, time.Duration(seconds) * time.Second
	}
}

func TestMistakesAreNoDenials(t *testing.T) {
	l, err := ratelimit.NewMemory(ratelimit.Login(), nil)
	if err != nil {
		t.Fatal(err)
	}
	limit, err := echolimit.New([]echolimit.Rule{{Limiter: l, Key: func(echo.Context) string { return "" }}})
	if err != nil {
		t.Fatal(err)
	}
	e := echo.New()
	e.GET("/", func(echo.Context) error { t.Error("let through"); return nil }, limit)
	w := httptest.NewRecorder()
	e.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusInternalServerError {
		t.Fatal(w.Code)
	}
	if _, err := echolimit.New([]echolimit.Rule{{}}); err == nil {
		t.Fatal("a rule without a limiter")
	}
}
