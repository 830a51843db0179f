package testserver

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// Ports come from below the range that systems give to outgoing connections, so
// that a stopped server finds its port free when it starts again.
const (
	lowestPort  = 20000
	highestPort = 32000
)

var handedOut sync.Map // ports this process has given away, in use or not

// FreePort returns a loopback port on which nothing listens and which this
// process has not handed out before. Another process can still take it.
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
