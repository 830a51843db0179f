package rediscache

import (
	"testing"

	"github.com/mainstay-go/mainstay/internal/leakcheck"
)

// TestMain fails if a test leaves a goroutine behind.
func TestMain(m *testing.M) { leakcheck.MainOfServers(m) }
