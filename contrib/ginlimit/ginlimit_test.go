package ginlimit_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/mainstay-go/mainstay/contrib/ginlimit"
	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/loginguard"
	"github.com/mainstay-go/mainstay/ratelimit/ratelimittest"
)

func TestOutcomes(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	ratelimittest.OutcomeSuite{
		Kinds: []string{
			"status", "error", "form", "redirect", "panic", "hijack", "abort", "abort with JSON", "abort with error", "json", "412", "events", "flush", "data from a reader", "nothing",
		},
		New: ratelimittest.HTTP(func(t testing.TB, l ratelimit.Limiter, reached func(context.Context, string)) http.Handler {
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
				case "abort":
					c.AbortWithStatus(http.StatusUnauthorized)
				case "abort with JSON":
					c.AbortWithStatusJSON(http.StatusOK, gin.H{"auth": 0})
				case "abort with error":
					_ = c.AbortWithError(http.StatusUnauthorized, errors.New("wrong password"))
				case "json":
					c.JSON(http.StatusOK, gin.H{"auth": 0})
				case "412":
					c.JSON(http.StatusPreconditionFailed, gin.H{"factor": 2})
				case "events":
					c.SSEvent("message", "wrong")
					c.Writer.Flush()
				case "flush":
					c.Writer.Flush()
				case "data from a reader":
					c.DataFromReader(http.StatusOK, 5, "text/plain", strings.NewReader("wrong"), nil)
				case "nothing":
				default:
					c.String(http.StatusOK, kind)
				}
			})
			return engine
		}),
	}.Run(t)
	if _, err := ginlimit.New([]ginlimit.Rule{{}}, nil); err == nil {
		t.Fatal("a rule without a limiter")
	}
	l, err := ratelimit.NewMemory(ratelimit.Login(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ginlimit.New([]ginlimit.Rule{{Limiter: l, Key: (*gin.Context).ClientIP, Delay: -1}}, nil); err == nil {
		t.Fatal("a negative delay")
	}
}

// A login guard in front of a gin handler counts failures, and its own response ends the chain.
func TestWrapLoginGuard(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	guard, err := loginguard.New(make([]byte, 32), &loginguard.Options{
		Account: func(r *http.Request) string { name, _, _ := r.BasicAuth(); return name },
		Denied: func(w http.ResponseWriter, _ *http.Request, d *ratelimit.Decision) {
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = io.WriteString(w, "in the form of the service: "+d.Binding().Policy)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	reached := 0
	engine := gin.New()
	engine.POST("/login", ginlimit.Wrap(guard.Wrap), func(c *gin.Context) {
		reached++
		if _, password, _ := c.Request.BasicAuth(); password != "right" {
			c.Status(http.StatusUnauthorized)
			return
		}
		ratelimit.AdmissionFrom(c.Request.Context()).Succeed()
		c.String(http.StatusOK, "welcome")
	}, func(c *gin.Context) { c.Header("X-Last", "reached") })
	try := func(password string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "/login", nil)
		r.SetBasicAuth("anna", password)
		w := httptest.NewRecorder()
		engine.ServeHTTP(w, r)
		return w
	}
	for range 5 {
		if w := try("wrong"); w.Code != http.StatusUnauthorized {
			t.Fatalf("status %d for a wrong password, want 401", w.Code)
		}
	}
	w := try("right")
	if w.Code != http.StatusTooManyRequests || w.Body.String() != "in the form of the service: login" || w.Header().Get("Retry-After") == "" {
		t.Fatalf("after five failures: %d %q %v", w.Code, w.Body, w.Header())
	}
	if reached != 5 || w.Header().Get("X-Last") != "" {
		t.Fatalf("a refused request reached a handler: %d requests, %v", reached, w.Header())
	}
}

// A middleware that replaces the response writer sees the status and the body of gin's handlers.
func TestWrapKeepsTheWriterOfTheMiddleware(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	limiter, err := ratelimit.NewMemory(ratelimit.Policy{Name: "login", Limit: 1, Window: time.Hour}, nil)
	if err != nil {
		t.Fatal(err)
	}
	address, err := ratelimit.ByIP(nil)
	if err != nil {
		t.Fatal(err)
	}
	limit, err := ratelimit.NewMiddleware([]ratelimit.Rule{{
		Limiter: limiter, Key: address, FailuresOnly: true, SuccessStatus: func(status int) bool { return status == http.StatusOK },
	}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	engine := gin.New()
	engine.GET("/:status", ginlimit.Wrap(limit.Wrap), func(c *gin.Context) {
		if c.Param("status") == "good" {
			c.String(http.StatusOK, "good")
			return
		}
		c.JSON(http.StatusUnauthorized, gin.H{"error": "wrong"})
	})
	for i, want := range []struct {
		path string
		code int
		body string
	}{{"/good", 200, "good"}, {"/good", 200, "good"}, {"/wrong", 401, `{"error":"wrong"}`}, {"/good", 429, ""}} {
		w := httptest.NewRecorder()
		engine.ServeHTTP(w, httptest.NewRequest(http.MethodGet, want.path, nil))
		if w.Code != want.code || want.body != "" && w.Body.String() != want.body {
			t.Fatalf("request %d to %s: %d %q, want %d %q", i, want.path, w.Code, w.Body, want.code, want.body)
		}
	}
}

// gin may change the status until the first byte. Only the status that is sent is a verdict.
func TestWrapSeesTheStatusThatIsSent(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	for name, test := range map[string]struct {
		handler gin.HandlerFunc
		want    int // requests of 20 that reach the handler
		code    int
	}{
		"changed before the body":     {func(c *gin.Context) { c.Status(200); c.AbortWithStatusJSON(401, gin.H{"error": "wrong"}) }, 5, 401},
		"changed before WriteHeader":  {func(c *gin.Context) { c.Status(200); c.AbortWithStatus(401) }, 5, 401},
		"changed, without a body":     {func(c *gin.Context) { c.Status(200); c.Status(401) }, 5, 401},
		"changed before a flush":      {func(c *gin.Context) { c.Status(200); c.Status(401); c.Writer.Flush() }, 5, 401},
		"an error for an outer layer": {func(c *gin.Context) { c.Status(200); _ = c.Error(errors.New("wrong")) }, 5, 401},
		"a panic":                     {func(c *gin.Context) { c.Status(200); panic("wrong") }, 5, 500},
		"nothing":                     {func(*gin.Context) {}, 5, 200},
		"success":                     {func(c *gin.Context) { c.Status(401); c.JSON(200, gin.H{}) }, 20, 200},
		"success without a body":      {func(c *gin.Context) { c.Status(204) }, 20, 204},
		"success, flushed":            {func(c *gin.Context) { c.Status(202); c.Writer.Flush() }, 20, 202},
		"success as a string":         {func(c *gin.Context) { _, _ = c.Writer.WriteString("ok") }, 20, 200},
	} {
		t.Run(name, func(t *testing.T) {
			limiter, err := ratelimit.NewMemory(ratelimit.Login(), nil)
			if err != nil {
				t.Fatal(err)
			}
			limit, err := ratelimit.NewMiddleware([]ratelimit.Rule{{
				Limiter: limiter, Key: func(*http.Request) string { return "k" },
				FailuresOnly: true, SuccessStatus: func(status int) bool { return status < 400 },
			}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			engine := gin.New()
			engine.Use(gin.CustomRecoveryWithWriter(io.Discard, func(c *gin.Context, _ any) { c.AbortWithStatus(500) }))
			engine.Use(func(c *gin.Context) {
				if c.Next(); len(c.Errors) > 0 {
					c.AbortWithStatus(401)
				}
			})
			reached := 0
			engine.POST("/", ginlimit.Wrap(limit.Wrap), func(c *gin.Context) {
				reached++
				test.handler(c)
			})
			for i := range 20 {
				w := httptest.NewRecorder()
				engine.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", nil))
				if want := test.code; i < test.want && w.Code != want {
					t.Fatalf("request %d: %d, want %d", i, w.Code, want)
				}
			}
			if reached != test.want {
				t.Fatalf("%d of 20 requests reached the handler, want %d", reached, test.want)
			}
		})
	}
}
