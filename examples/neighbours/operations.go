package neighbours

import (
	"context"
	"database/sql"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel"
	"google.golang.org/grpc"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/backupcli"
	"github.com/mainstay-go/mainstay/backup/mysql"
	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/contrib/grpchealth"
	"github.com/mainstay-go/mainstay/contrib/otel/otelcache"
	"github.com/mainstay-go/mainstay/contrib/prommetrics"
	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/pagination"
)

func withOpenTelemetry() (*cache.Typed[Sale], error) {
	hooks, err := otelcache.New(otel.GetTracerProvider(), otel.GetMeterProvider())
	if err != nil {
		return nil, err
	}
	return cache.New(nil, "sales", time.Minute, &cache.Options[Sale]{Trace: hooks})
}

func withPrometheus(registry *prometheus.Registry, checks *health.Registry, sales *cache.Typed[Sale]) {
	registry.MustRegister(prommetrics.Health(checks), prommetrics.Named[cache.Stats]("cache", "cache", sales))
}

func withGRPCHealth(server *grpc.Server, checks *health.Registry) error {
	_, err := grpchealth.Register(server, checks, map[string]string{"pos.v1.Sales": "database"})
	return err
}

func fromHealthGo(mux *http.ServeMux, db *sql.DB) (*health.Registry, error) {
	checks, err := health.New([]health.Check{
		health.Database("database", db, nil),
	}, nil)
	if err != nil {
		return nil, err
	}
	checks.Mount(mux) // GET /health/, /ready/ and /alive/
	return checks, nil
}

func fromDumpScript(ctx context.Context, db *sql.DB) int {
	return backupcli.Run(ctx, os.Args[1:], func(_ context.Context, o backup.Options) (*backup.Job, func(), error) {
		source, err := mysql.New(db, "shop", nil)
		if err != nil {
			return nil, nil, err
		}
		folder, err := backup.NewFolder("/var/backups/shop")
		if err != nil {
			return nil, nil, err
		}
		job, err := backup.New("shop", source, folder, &o)
		return job, func() {}, err
	}, nil)
}

func fromDjango() (*pagination.PageNumber, error) {
	return pagination.NewPageNumber(pagination.Standard, nil) // page and page_size; count, next, previous and results
}
