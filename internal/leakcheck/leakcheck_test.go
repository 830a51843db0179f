package leakcheck

import (
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) { Main(m) }

func TestLeft(t *testing.T) {
	stop := make(chan struct{})
	go leaky(stop)
	if left := Left(100 * time.Millisecond); len(left) != 1 || !strings.Contains(left[0], "leaky") {
		t.Errorf("one was left: %q", left)
	}
	go func() { time.Sleep(50 * time.Millisecond); close(stop) }()
	if left := Left(20 * time.Second); len(left) != 0 {
		t.Errorf("all have ended: %q", left)
	}
}

func leaky(stop chan struct{}) { <-stop }
