// Package otel holds the packages that report Mainstay to OpenTelemetry. Each has a function New that returns the hooks
// of one package of the library:
//
//   - otelcache: cache.Options.Trace
//   - otelratelimit: ratelimit.Options.Trace and redislimit.Options.Trace
//   - otelhealth: health.Options.Trace and alert.Options.Trace
//   - otelbackup: backup.Options.Trace
//   - otelpagination: the Trace of paginators and keysets
//
// A service that passes no hooks pays nothing. Names follow the semantic conventions of OpenTelemetry: units in seconds
// or annotations, error.type for the class of an error. No key, address or error text is recorded.
package otel
