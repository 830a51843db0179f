package ginlimit_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/mainstay-go/mainstay/contrib/ginlimit"
	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/ratelimittest"
)

func TestOutcomes(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	ratelimittest.OutcomeSuite{
		Kinds: []string{"status", "error", "form", "redirect", "panic", "hijack"},
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
}
