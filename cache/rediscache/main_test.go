package rediscache

import (
	"testing"

	"github.com/mainstay-go/mainstay/internal/leakcheck"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// TestMain fails if a test leaves a goroutine behind.
func TestMain(m *testing.M) {
	testserver.MostlyWaits(3)
	leakcheck.MainOfServers(m)
}
