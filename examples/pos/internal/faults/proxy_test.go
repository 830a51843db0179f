//go:build linux

package faults

import (
	"net"
	"sync"
	"testing"
)

// proxy forwards TCP connections until it is cut. A cut proxy keeps connections open and
// forwards no byte, like a network that drops packets.
type proxy struct {
	target   string
	listener net.Listener

	mu     sync.Mutex
	passes *sync.Cond
	isCut  bool
	closed bool
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{target: target, listener: l}
	p.passes = sync.NewCond(&p.mu)
	t.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.passes.Broadcast()
	})
	go p.serve()
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) cut(on bool) {
	p.mu.Lock()
	p.isCut = on
	p.mu.Unlock()
	p.passes.Broadcast()
}

// pass waits until the proxy forwards, and reports whether it still runs.
func (p *proxy) pass() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.isCut && !p.closed {
		p.passes.Wait()
	}
	return !p.closed
}

func (p *proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer client.Close()
			if !p.pass() {
				return
			}
			server, err := net.Dial("tcp", p.target)
			if err != nil {
				return
			}
			defer server.Close()
			done := make(chan struct{}, 2)
			for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
				go func() {
					p.copy(way[1], way[0])
					done <- struct{}{}
				}()
			}
			<-done
		}()
	}
}

func (p *proxy) copy(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if !p.pass() {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
