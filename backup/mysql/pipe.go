package mysql

import (
	"io"
	"sync"
	"sync/atomic"

	"github.com/mainstay-go/mainstay/backup/driver"
)

const blockSize = 256 << 10

// pipe returns a writer that passes its bytes to w in another goroutine. Reading rows and
// compressing them then use two processors. flush waits for that goroutine and returns the
// first error of w. That goroutine also reports the rows to w.
func pipe(w io.Writer) (in *piping, flush func() error) {
	report := driver.RowsTo(w)
	p := &piping{blocks: make(chan []byte, 8), free: make(chan []byte, 10), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		for b := range p.blocks {
			if p.failure() == nil {
				if _, err := w.Write(b); err != nil {
					p.fail(err)
				}
			}
			report(p.rows.Load())
			p.free <- b[:0]
		}
	}()
	return p, func() error {
		if len(p.now) > 0 {
			p.blocks <- p.now
		}
		close(p.blocks)
		<-p.done
		return p.failure()
	}
}

type piping struct {
	now    []byte
	made   int
	blocks chan []byte
	free   chan []byte
	done   chan struct{}
	rows   atomic.Int64 // written so far
	mu     sync.Mutex
	err    error
}

func (p *piping) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

func (p *piping) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Write queues b, and returns an error of an earlier write.
func (p *piping) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		if p.now == nil {
			if p.made < cap(p.free) {
				p.made++
				p.now = make([]byte, 0, blockSize)
			} else {
				p.now = <-p.free
			}
		}
		k := min(len(b), cap(p.now)-len(p.now))
		p.now = append(p.now, b[:k]...)
		b = b[k:]
		if len(p.now) == cap(p.now) {
			p.blocks <- p.now
			p.now = nil
			if err := p.failure(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}
