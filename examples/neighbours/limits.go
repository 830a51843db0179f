// Package neighbours holds the code of docs/neighbours.md, docs/migrating.md and the guides, so
// that it is compiled.
package neighbours

import (
	"context"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/labstack/echo/v4"
	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

	"github.com/mainstay-go/mainstay/contrib/connectlimit"
	"github.com/mainstay-go/mainstay/contrib/echolimit"
	"github.com/mainstay-go/mainstay/contrib/ginlimit"
	"github.com/mainstay-go/mainstay/contrib/grpclimit"
	"github.com/mainstay-go/mainstay/ratelimit"
)

func withChi(router chi.Router, limiter ratelimit.Limiter, products http.Handler) error {
	address, err := ratelimit.ByIP(nil)
	if err != nil {
		return err
	}
	limit, err := ratelimit.NewMiddleware([]ratelimit.Rule{{Limiter: limiter, Key: address}}, nil)
	if err != nil {
		return err
	}
	router.With(limit.Wrap).Get("/products/", products.ServeHTTP)
	return nil
}

func withGin(engine *gin.Engine, limiter ratelimit.Limiter, right func(*gin.Context) bool) error {
	byClient := func(c *gin.Context) string { return c.ClientIP() }
	limit, err := ginlimit.New([]ginlimit.Rule{{Limiter: limiter, Key: byClient, FailuresOnly: true}}, nil)
	if err != nil {
		return err
	}
	engine.POST("/login", limit, func(c *gin.Context) {
		if right(c) {
			ratelimit.AdmissionFrom(c.Request.Context()).Succeed()
		}
	})
	return nil
}

func withEcho(e *echo.Echo, limiter ratelimit.Limiter, right func(echo.Context) bool) error {
	byClient := func(c echo.Context) string { return c.RealIP() }
	limit, err := echolimit.New([]echolimit.Rule{{Limiter: limiter, Key: byClient, FailuresOnly: true}})
	if err != nil {
		return err
	}
	e.POST("/login", func(c echo.Context) error {
		if !right(c) {
			return echo.NewHTTPError(http.StatusUnauthorized, "wrong password")
		}
		ratelimit.AdmissionFrom(c.Request().Context()).Succeed()
		return c.NoContent(http.StatusNoContent)
	}, limit)
	return nil
}

func withGRPC(limiter ratelimit.Limiter) (*grpc.Server, error) {
	byPeer := func(ctx context.Context, _ string) string {
		if p, ok := peer.FromContext(ctx); ok {
			return p.Addr.String()
		}
		return "unknown"
	}
	limit, err := grpclimit.New([]grpclimit.Rule{{Limiter: limiter, Key: byPeer}})
	if err != nil {
		return nil, err
	}
	return grpc.NewServer(grpc.UnaryInterceptor(limit.Unary), grpc.StreamInterceptor(limit.Stream)), nil
}

func withConnect(limiter ratelimit.Limiter) (connect.HandlerOption, error) {
	byPeer := func(_ context.Context, c connectlimit.Call) string { return c.Peer.Addr }
	limit, err := connectlimit.New([]connectlimit.Rule{{Limiter: limiter, Key: byPeer}})
	if err != nil {
		return nil, err
	}
	return connect.WithInterceptors(limit), nil
}

func fromHTTPRate(router chi.Router) error {
	limiter, err := ratelimit.NewMemory(ratelimit.Policy{Name: "api", Limit: 100, Window: time.Minute}, nil)
	if err != nil {
		return err
	}
	address, err := ratelimit.ByIP(nil)
	if err != nil {
		return err
	}
	limit, err := ratelimit.NewMiddleware([]ratelimit.Rule{{Limiter: limiter, Key: address}}, nil)
	if err != nil {
		return err
	}
	router.Use(limit.Wrap)
	return nil
}
