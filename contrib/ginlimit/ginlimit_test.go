package ginlimit_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/mainstay-go/mainstay/contrib/ginlimit"
	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/ratelimittest"
)

func TestOutcomes(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	ratelimittest.OutcomeSuite{
		Kinds: []string{"status", "error", "form", "redirect", "panic", "hijack"},
		New: func(t testing.TB, l ratelimit.Limiter, reached func(context.Context, string)) func(string) (bool, time.Duration) {
			limit, err := ginlimit.New([]ginlimit.Rule{{Limiter: l, Key: func(c *gin.Context) string { return ratelimit.Key("ip", c.ClientIP()) }, FailuresOnly: true}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			engine := gin.New()
			engine.Use(gin.CustomRecoveryWithWriter(io.Discard, func(c *gin.Context, _ any) { c.AbortWithStatus(500) }))
			engine.Use(func(c *gin.Context) { // an error becomes a status after all middleware has returned
				c.Next()
				if len(c.Errors) > 0 && !c.Writer.Written() {
					c.AbortWithStatus(http.StatusUnauthorized)
				}
			})
			engine.POST("/:kind", limit, func(c *gin.Context) {
				kind := c.Param("kind")
				reached(c.Request.Context(), kind)
				switch kind {
				case "status":
					c.Status(http.StatusUnauthorized)
				case "error":
					_ = c.Error(errors.New("wrong password"))
				case "redirect":
					c.Redirect(http.StatusSeeOther, "/login")
				case "panic":
					panic("wrong")
				case "hijack":
					if conn, _, err := c.Writer.Hijack(); err == nil {
						_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
						conn.Close()
					}
				default:
					c.String(http.StatusOK, kind)
				}
			})
			return sender(t, engine)
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
	gin.SetMode(gin.ReleaseMode)
	l, err := ratelimit.NewMemory(ratelimit.Login(), nil)
	if err != nil {
		t.Fatal(err)
	}
	limit, err := ginlimit.New([]ginlimit.Rule{{Limiter: l, Key: func(*gin.Context) string { return "" }}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	engine := gin.New()
	engine.GET("/", limit, func(*gin.Context) { t.Error("let through") })
	w := httptest.NewRecorder()
	engine.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusInternalServerError {
		t.Fatal(w.Code)
	}
	if _, err := ginlimit.New([]ginlimit.Rule{{}}, nil); err == nil {
		t.Fatal("a rule without a limiter")
	}
}
