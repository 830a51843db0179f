package testserver

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// Ports come from below the range that systems use for outgoing connections. So a stopped
// server finds its port free when it starts again.
const (
	lowestPort  = 20000
	highestPort = 32000
)

var handedOut sync.Map // ports that this process has returned, in use or not

// FreePort returns a loopback port without a listener that this process has not returned
// before. Another process can still take it.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		if _, taken := handedOut.LoadOrStore(port, true); taken {
			continue
		}
		listener, err := net.Listen("tcp4", address(port))
		if err != nil {
			continue
		}
		listener.Close()
		return port
	}
	t.Fatal("testserver: no free loopback port")
	return 0
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
