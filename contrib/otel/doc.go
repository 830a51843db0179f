// Package otel contains the packages that report Mainstay to OpenTelemetry. Each has a
// function New that returns the hooks of one package of the library:
//
//   - otelcache: cache.Options.Trace
//   - otelratelimit: ratelimit.Options.Trace and redislimit.Options.Trace
//   - otelhealth: health.Options.Trace and alert.Options.Trace
//   - otelbackup: backup.Options.Trace
//   - otelpagination: the Trace of paginators and keysets
//
// A service without hooks has no overhead. Names follow the semantic conventions of
// OpenTelemetry. Units are seconds or annotations, and error.type is the class of an error.
// No key, address or error text is recorded.
package otel
