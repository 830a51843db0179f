package echolimit_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/mainstay-go/mainstay/contrib/echolimit"
	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/ratelimittest"
)

func TestOutcomes(t *testing.T) {
	ratelimittest.OutcomeSuite{
		Kinds: []string{
			"status", "error", "any error", "handled error", "form", "redirect", "panic", "hijack", "json", "412", "events", "stream", "nothing",
		},
		New: ratelimittest.HTTP(func(t testing.TB, l ratelimit.Limiter, reached func(context.Context, string)) http.Handler {
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
				case "any error":
					return errors.New("wrong password") // the error handler of the service makes a 200 of it
				case "handled error":
					c.Error(echo.NewHTTPError(http.StatusUnauthorized, "wrong password"))
					return nil
				case "json":
					return c.JSON(http.StatusOK, map[string]int{"auth": 0})
				case "412":
					return c.JSON(http.StatusPreconditionFailed, map[string]int{"factor": 2})
				case "events":
					c.Response().Header().Set(echo.HeaderContentType, "text/event-stream")
					_, err := io.WriteString(c.Response(), "data: wrong\n\n")
					c.Response().Flush()
					return err
				case "stream":
					return c.Stream(http.StatusOK, "text/plain", strings.NewReader("wrong"))
				case "nothing":
					return nil
				}
				return c.String(http.StatusOK, kind)
			}, limit)
			e.HTTPErrorHandler = func(err error, c echo.Context) {
				if _, ok := errors.AsType[*echo.HTTPError](err); ok || c.Response().Committed {
					e.DefaultHTTPErrorHandler(err, c)
					return
				}
				_ = c.JSON(http.StatusOK, map[string]int{"auth": 0})
			}
			return e
		}),
	}.Run(t)
	if _, err := echolimit.New([]echolimit.Rule{{}}); err == nil {
		t.Fatal("a rule without a limiter")
	}
	l, err := ratelimit.NewMemory(ratelimit.Login(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := echolimit.New([]echolimit.Rule{{Limiter: l, Key: echo.Context.RealIP, Delay: -1}}); err == nil {
		t.Fatal("a negative delay")
	}
}

// Behind echo.WrapMiddleware a status is a verdict only once it is sent, and an error is none.
func TestWrapMiddlewareSeesTheStatusThatIsSent(t *testing.T) {
	l, err := ratelimit.NewMemory(ratelimit.Login(), nil)
	if err != nil {
		t.Fatal(err)
	}
	limit, err := ratelimit.NewMiddleware([]ratelimit.Rule{{
		Limiter: l, Key: func(*http.Request) string { return "k" },
		FailuresOnly: true, SuccessStatus: func(status int) bool { return status < 400 },
	}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	e := echo.New()
	reached := 0
	e.POST("/", func(c echo.Context) error {
		reached++
		c.Response().Status = http.StatusOK
		if reached%2 == 0 {
			return c.NoContent(http.StatusUnauthorized)
		}
		return echo.NewHTTPError(http.StatusUnauthorized, "wrong password")
	}, echo.WrapMiddleware(limit.Wrap))
	for range 20 {
		e.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", nil))
	}
	if reached != 5 {
		t.Fatalf("%d of 20 wrong passwords reached the handler, want 5", reached)
	}
}
