package backup

import (
	"context"
	"io"
	"time"
)

// Progress is the progress of a run.
type Progress struct {
	ID    string        // of the backup
	Stage string        // "dump", "verify", …; "restore" while a backup is loaded into a database
	Took  time.Duration // since the start of the stage
	Raw   int64         // bytes of the dump so far
	// Rows is the number of rows dumped so far. It is 0 if the source does not count rows
	// during a dump.
	Rows int64
	// Rate is the current speed of the dump in bytes per second.
	Rate float64
	// Expected is the size of the newest good dump in bytes, 0 if unknown.
	Expected int64
}

// Remaining estimates the rest of the dump time from the size of the last dump. It returns
// false if there is no estimate, or if the dump is already larger.
func (p Progress) Remaining() (time.Duration, bool) {
	if p.Stage != "dump" && p.Stage != "restore" || p.Rate <= 0 || p.Raw >= p.Expected {
		return 0, false
	}
	return time.Duration(float64(p.Expected-p.Raw) / p.Rate * float64(time.Second)), true
}

// progressEvery is the minimum time between two events of one stage.
const progressEvery = 200 * time.Millisecond

// progress creates the events of a run.
type progress struct {
	hook  func(Progress)
	now   Progress
	began time.Time // the stage
	told  time.Time
	raw   int64 // at the last event
}

func (p *progress) stage(name string) {
	if p == nil {
		return
	}
	p.began = time.Now()
	p.told, p.raw = p.began, p.now.Raw
	p.now.Stage, p.now.Rate, p.now.Took = name, 0, 0
	p.hook(p.now)
}

func (p *progress) wrote(n int) {
	p.now.Raw += int64(n)
	at := time.Now()
	since := at.Sub(p.told)
	if since < progressEvery {
		return
	}
	rate := float64(p.now.Raw-p.raw) / since.Seconds()
	if p.now.Rate > 0 { // smoothed, because the compressor takes its input in bursts
		rate = 0.8*p.now.Rate + 0.2*rate
	}
	p.told, p.raw = at, p.now.Raw
	p.now.Rate, p.now.Took = rate, at.Sub(p.began)
	p.hook(p.now)
}

// dumpWriter is the writer that a source dumps to. It fails when its context ends, and it
// reports progress.
type dumpWriter struct {
	ctx      context.Context
	to       io.Writer
	progress *progress // nil without a hook
}

func (w *dumpWriter) Write(b []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := w.to.Write(b)
	if w.progress != nil {
		w.progress.wrote(n)
	}
	return n, err
}

// RowsSoFar receives the number of rows from sources that count them.
func (w *dumpWriter) RowsSoFar(n int64) {
	if w.progress != nil {
		w.progress.now.Rows = n
	}
}
