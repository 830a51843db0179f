package s3store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
)

// errStalled means that the server moved no byte during the time limit.
var errStalled = errors.New("s3store: the server has stalled")

// watchdog cancels a transfer if no byte moves for some time. It pauses while the transfer
// waits for this process.
type watchdog struct {
	patience time.Duration
	mu       sync.Mutex
	timer    *time.Timer
	ended    bool
}

func newWatchdog(patience time.Duration, stop context.CancelCauseFunc) *watchdog {
	w := &watchdog{patience: patience}
	w.timer = time.AfterFunc(patience, func() {
		stop(fmt.Errorf("%w for %v: see whether it is up, or raise Stall or Timeout", errStalled, patience))
	})
	w.timer.Stop()
	return w
}

// start restarts the time limit of the server.
func (w *watchdog) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		w.timer.Reset(w.patience)
	}
}

func (w *watchdog) sleep() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
}

func (w *watchdog) done() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	w.timer.Stop()
}

// Read receives the bytes that were just sent, because minio.PutObjectOptions.Progress is
// an io.Reader.
func (w *watchdog) Read(p []byte) (int, error) {
	w.start()
	return len(p), nil
}

// reading returns r with a pause of the watchdog while r produces bytes.
func (w *watchdog) reading(r io.Reader) io.Reader { return watchedReader{r, w} }

type watchedReader struct {
	r     io.Reader
	watch *watchdog
}

func (r watchedReader) Read(p []byte) (int, error) {
	r.watch.sleep()
	n, err := r.r.Read(p)
	r.watch.start()
	return n, err
}

// counter counts the bytes of a producer.
type counter struct {
	to io.Writer
	n  int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.n += int64(n)
	return n, err
}

// download is a file that is being read. The watchdog runs only during a Read.
type download struct {
	object *minio.Object
	name   string
	left   int64 // bytes until the end of the file
	ctx    context.Context
	stop   context.CancelCauseFunc
	watch  *watchdog
}

func (d *download) Read(p []byte) (int, error) {
	d.watch.start()
	n, err := d.object.Read(p)
	d.watch.sleep()
	d.left -= int64(n)
	if err == io.EOF && d.left > 0 { //nolint:errorlint // exactly the end of a stream
		// Between a proxy and the client, a shorter body is a complete one.
		return n, fmt.Errorf("s3store: read %s: the content ended %d bytes too early: %w", d.name, d.left, io.ErrUnexpectedEOF)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = translate("read", d.name, cause(d.ctx, err))
	}
	return n, err
}

func (d *download) Close() error {
	d.watch.done()
	err := d.object.Close()
	d.stop(nil)
	return err
}

// cause returns the reason why a context ended, or err.
func cause(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if reason := context.Cause(ctx); reason != nil {
		return reason
	}
	return err
}
