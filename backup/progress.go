package backup

import (
	"context"
	"io"
	"time"
)

// Progress is how far a run is.
type Progress struct {
	ID    string        // of the backup
	Stage string        // "dump", "verify", …; "restore" while a backup goes into a database
	Took  time.Duration // since the stage began
	Raw   int64         // bytes of the dump so far
	// Rows of the dump so far; 0 where the source does not count while it dumps.
	Rows int64
	// Rate is how many bytes of the dump a second are written at present.
	Rate float64
	// Expected is how many bytes the dump of the newest good backup had; 0 without one.
	Expected int64
}

// Remaining is how long the dump will go on if it becomes as large as the last one;
// false if that is not known or proven wrong.
func (p Progress) Remaining() (time.Duration, bool) {
	if p.Stage != "dump" && p.Stage != "restore" || p.Rate <= 0 || p.Raw >= p.Expected {
		return 0, false
	}
	return time.Duration(float64(p.Expected-p.Raw) / p.Rate * float64(time.Second)), true
}

// progressEvery is the least time between two events of one stage.
const progressEvery = 200 * time.Millisecond

// progress makes the events of a run.
type progress struct {
	hook  func(Progress)
	now   Progress
	began time.Time // the stage
	told  time.Time
	raw   int64 // when told
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

// anew is for a dump that begins again.
func (p *progress) anew() {
	if p != nil {
		p.now.Raw, p.now.Rows, p.now.Rate, p.raw = 0, 0, 0, 0
	}
}

func (p *progress) wrote(n int) {
	p.now.Raw += int64(n)
	at := time.Now()
	since := at.Sub(p.told)
	if since < progressEvery {
		return
	}
	rate := float64(p.now.Raw-p.raw) / since.Seconds()
	if p.now.Rate > 0 { // calmer than the compressor, which takes its input in gulps
		rate = 0.8*p.now.Rate + 0.2*rate
	}
	p.told, p.raw = at, p.now.Raw
	p.now.Rate, p.now.Took = rate, at.Sub(p.began)
	p.hook(p.now)
}

// dumpWriter is what a source writes to: it ends with its context and tells how far it is.
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

// RowsSoFar is for sources that count.
func (w *dumpWriter) RowsSoFar(n int64) {
	if w.progress != nil {
		w.progress.now.Rows = n
	}
}
