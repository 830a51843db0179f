// Package grpchealth serves the gRPC health protocol (grpc.health.v1) from a health
// registry.
//
//	grpchealth.Register(server, reg, map[string]string{
//		"pos.v1.Sales": "database",
//	})
//
// The service "" is SERVING while /ready/ would return 200. The map defines all other
// services. The rest of the registry stays hidden, because the protocol does not identify
// its clients.
package grpchealth

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/mainstay-go/mainstay/health"
)

// watchInterval is the interval at which a Watch reads the state. The state also changes
// with time alone, so there is no event to wait for. A read costs microseconds.
const watchInterval = time.Second

// Server implements grpc.health.v1.Health. It is safe for concurrent use.
type Server struct {
	healthpb.UnimplementedHealthServer
	reg      *health.Registry
	services map[string]string

	stopOnce sync.Once
	stopped  chan struct{}
}

// New returns a Server. Each key of services is the full name of a gRPC service, and each
// value a check or a group of the registry. An unknown check or group is an error. A
// service is SERVING unless its check, or any check of its group, has failed twice in a row
// or has no result yet. A service is unknown while the registry has no such check or group,
// because it was removed.
func New(reg *health.Registry, services map[string]string) (*Server, error) {
	snap := reg.Snapshot()
	for service, name := range services {
		_, check := snap.Check(name)
		_, group := snap.Group(name)
		if !check && !group || service == "" {
			return nil, fmt.Errorf("grpchealth: service %q: the registry has no check or group %q", service, name)
		}
	}
	return &Server{reg: reg, services: maps.Clone(services), stopped: make(chan struct{})}, nil
}

// Register creates a Server and registers it.
func Register(r grpc.ServiceRegistrar, reg *health.Registry, services map[string]string) (*Server, error) {
	s, err := New(reg, services)
	if err != nil {
		return nil, err
	}
	healthpb.RegisterHealthServer(r, s)
	return s, nil
}

// Shutdown sets every service to NOT_SERVING permanently and notifies the watchers. Call it
// together with Registry.Drain, before GracefulStop.
func (s *Server) Shutdown() { s.stopOnce.Do(func() { close(s.stopped) }) }

// Check implements the protocol. It returns NOT_FOUND for unknown services.
func (s *Server) Check(ctx context.Context, req *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	st := s.status(s.reg.Fresh(ctx), req.GetService())
	if st == healthpb.HealthCheckResponse_SERVICE_UNKNOWN {
		return nil, status.Error(codes.NotFound, "unknown service")
	}
	return &healthpb.HealthCheckResponse{Status: st}, nil
}

// List implements the protocol.
func (s *Server) List(ctx context.Context, _ *healthpb.HealthListRequest) (*healthpb.HealthListResponse, error) {
	snap := s.reg.Fresh(ctx)
	all := map[string]*healthpb.HealthCheckResponse{"": {Status: s.status(snap, "")}}
	for service := range s.services {
		all[service] = &healthpb.HealthCheckResponse{Status: s.status(snap, service)}
	}
	return &healthpb.HealthListResponse{Statuses: all}, nil
}

// Watch implements the protocol. It sends the state at once, and after each change within a
// second.
func (s *Server) Watch(req *healthpb.HealthCheckRequest, stream grpc.ServerStreamingServer[healthpb.HealthCheckResponse]) error {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	stopped := s.stopped
	last := healthpb.HealthCheckResponse_ServingStatus(-1)
	for {
		if st := s.status(s.reg.Fresh(stream.Context()), req.GetService()); st != last {
			if err := stream.Send(&healthpb.HealthCheckResponse{Status: st}); err != nil {
				return status.Error(codes.Canceled, "the watcher has gone")
			}
			last = st
		}
		select {
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		case <-stopped:
			stopped = nil // wake up only once; the state stays
		case <-ticker.C:
		}
	}
}

func (s *Server) status(snap *health.Snapshot, service string) healthpb.HealthCheckResponse_ServingStatus {
	name, known := s.services[service]
	switch {
	case service != "" && !known:
		return healthpb.HealthCheckResponse_SERVICE_UNKNOWN
	case s.isStopped() || snap.Phase == health.Draining:
		return healthpb.HealthCheckResponse_NOT_SERVING
	case service == "":
		return serving(snap.Ready != health.Fail)
	}
	if c, ok := snap.Check(name); ok {
		return serving(usable(c))
	}
	group, ok := snap.Group(name)
	if !ok { // removed since New
		return healthpb.HealthCheckResponse_SERVICE_UNKNOWN
	}
	for _, c := range group.Checks {
		if !usable(c) {
			return serving(false)
		}
	}
	return serving(true)
}

func (s *Server) isStopped() bool {
	select {
	case <-s.stopped:
		return true
	default:
		return false
	}
}

// usable applies the rule of /ready/. Two failures in a row count, and a single one does
// not. Without a usable result since the start, a check is not healthy.
func usable(c health.CheckState) bool {
	if c.Prompt == health.Unknown {
		return c.Status == health.Pass || c.Status == health.Warn
	}
	return c.Prompt != health.Fail
}

func serving(ok bool) healthpb.HealthCheckResponse_ServingStatus {
	if ok {
		return healthpb.HealthCheckResponse_SERVING
	}
	return healthpb.HealthCheckResponse_NOT_SERVING
}
