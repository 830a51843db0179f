package otel_test

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/contrib/otel/otelcache"
)

func Example() {
	// A service gives its own providers, with exporters.
	tracing, meters := trace.NewTracerProvider(), metric.NewMeterProvider()
	hooks, err := otelcache.New(tracing, meters)
	if err != nil {
		fmt.Println(err)
		return
	}
	products, err := cache.New(nil, "products", time.Minute, &cache.Options[string]{Trace: hooks})
	if err != nil {
		fmt.Println(err)
		return
	}
	name, err := products.GetOrLoad(context.Background(), "42", func(context.Context) (string, error) { return "Apple", nil })
	fmt.Println(name, err) // the span cache.load and a data point of mainstay.cache.reads are recorded
	// Output: Apple <nil>
}
