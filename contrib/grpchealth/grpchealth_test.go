package grpchealth_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/mainstay-go/mainstay/contrib/grpchealth"
	"github.com/mainstay-go/mainstay/health"
)

const (
	serving    = healthpb.HealthCheckResponse_SERVING
	notServing = healthpb.HealthCheckResponse_NOT_SERVING
	unknown    = healthpb.HealthCheckResponse_SERVICE_UNKNOWN
)

// dial starts a gRPC server on loopback and returns a client of its health
// service.
func dial(t *testing.T, reg *health.Registry, services map[string]string) (healthpb.HealthClient, *grpchealth.Server) {
	t.Helper()
	server := grpc.NewServer()
	s, err := grpchealth.Register(server, reg, services)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return healthpb.NewHealthClient(conn), s
}

func registry(t *testing.T, bad *atomic.Bool) *health.Registry {
	t.Helper()
	db := health.Func("database", time.Second, func(context.Context) error {
		if bad.Load() {
			return errors.New("down")
		}
		return nil
	})
	db.FailAfter, db.RecoverAfter, db.Interval = 1, 1, 10*time.Millisecond
	fine := health.Func("fine", time.Second, func(context.Context) error { return nil })
	db.Groups, fine.Groups = []string{"all"}, []string{"all"}
	reg, err := health.New([]health.Check{db, fine}, &health.Options{
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

func TestCheckListAndShutdown(t *testing.T) {
	var bad atomic.Bool
	reg := registry(t, &bad)
	client, s := dial(t, reg, map[string]string{"pos.Sales": "database", "pos.Menu": "fine", "pos.All": "all"})
	check := func(service string) healthpb.HealthCheckResponse_ServingStatus {
		t.Helper()
		resp, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil {
			t.Fatal(err)
		}
		return resp.GetStatus()
	}
	want := func(states map[string]healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		list, err := client.List(t.Context(), &healthpb.HealthListRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if len(list.GetStatuses()) != len(states) {
			t.Fatalf("lists %v", list)
		}
		for service, state := range states {
			if got := check(service); got != state {
				t.Errorf("Check %q: %v, want %v", service, got, state)
			}
			if got := list.GetStatuses()[service].GetStatus(); got != state {
				t.Errorf("List %q: %v, want %v", service, got, state)
			}
		}
	}
	type states = map[string]healthpb.HealthCheckResponse_ServingStatus
	want(states{"": serving, "pos.Sales": serving, "pos.Menu": serving, "pos.All": serving})
	bad.Store(true)
	if _, err := reg.RunOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(states{"": notServing, "pos.Sales": notServing, "pos.Menu": serving, "pos.All": notServing})
	for _, service := range []string{"nothing", "database", "fine", "all"} {
		_, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		if status.Code(err) != codes.NotFound {
			t.Errorf("%q: %v, want NotFound: only named services can be seen", service, err)
		}
	}
	bad.Store(false)
	s.Shutdown()
	s.Shutdown()
	if _, err := reg.RunOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(states{"": notServing, "pos.Sales": notServing, "pos.Menu": notServing, "pos.All": notServing})
}

func TestWatch(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for seconds; run it without -short")
	}
	var bad atomic.Bool
	reg := registry(t, &bad)
	client, s := dial(t, reg, map[string]string{"pos.Sales": "database"})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	watch := func(service string) func(healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		stream, err := client.Watch(ctx, &healthpb.HealthCheckRequest{Service: service})
		if err != nil {
			t.Fatal(err)
		}
		return func(want healthpb.HealthCheckResponse_ServingStatus) {
			t.Helper()
			resp, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			if resp.GetStatus() != want {
				t.Fatalf("%q: %v, want %v", service, resp.GetStatus(), want)
			}
		}
	}
	sales, none := watch("pos.Sales"), watch("none")
	sales(serving)
	none(unknown)
	bad.Store(true)
	sales(notServing)
	bad.Store(false)
	sales(serving)
	s.Shutdown()
	sales(notServing)
}

// A service whose check or last check of its group was removed is not SERVING.
func TestRemovedCheck(t *testing.T) {
	var bad atomic.Bool
	reg := registry(t, &bad)
	client, s := dial(t, reg, map[string]string{"pos.Sales": "database", "pos.All": "all", "pos.Ready": "ready"})
	want := func(sales, all, ready healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		list, err := client.List(t.Context(), &healthpb.HealthListRequest{})
		if err != nil {
			t.Fatal(err)
		}
		got := list.GetStatuses()
		if got["pos.Sales"].GetStatus() != sales || got["pos.All"].GetStatus() != all || got["pos.Ready"].GetStatus() != ready {
			t.Errorf("got %v, want %v, %v, %v", got, sales, all, ready)
		}
	}
	want(serving, serving, serving)
	if err := reg.Remove("database"); err != nil {
		t.Fatal(err)
	}
	want(unknown, serving, serving)
	if _, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: "pos.Sales"}); status.Code(err) != codes.NotFound {
		t.Errorf("%v", err)
	}
	if err := reg.Remove("fine"); err != nil {
		t.Fatal(err)
	}
	want(unknown, unknown, serving)
	s.Shutdown()
	want(notServing, notServing, notServing)
}

func TestDrainIsNotServing(t *testing.T) {
	var bad atomic.Bool
	reg := registry(t, &bad)
	client, _ := dial(t, reg, nil)
	reg.Drain()
	resp, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil || resp.GetStatus() != notServing {
		t.Fatalf("%v, %v", resp, err)
	}
}

func TestNewRefusesUnknownNames(t *testing.T) {
	var bad atomic.Bool
	reg := registry(t, &bad)
	for _, services := range []map[string]string{{"a": "nothing"}, {"": "database"}} {
		if _, err := grpchealth.New(reg, services); err == nil {
			t.Errorf("%v: no error", services)
		}
	}
}
