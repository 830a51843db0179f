package backupcli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/mattn/go-isatty"

	"github.com/mainstay-go/mainstay/backup"
)

// bar shows the progress of a run on one line of a terminal, and erases the line at the
// end.
type bar struct {
	to    io.Writer
	drawn bool
}

// newBar returns nil if stderr is not a terminal.
func newBar(to io.Writer) *bar {
	file, ok := to.(*os.File)
	if !ok || !isatty.IsTerminal(file.Fd()) || os.Getenv("TERM") == "dumb" {
		return nil
	}
	return &bar{to: to}
}

// columns is the width that every terminal has. It is one less than 80, so that the line
// does not wrap.
const columns = 79

// draw overwrites the line. It erases with blanks, because not every terminal supports
// escape sequences.
func (b *bar) draw(_ context.Context, p backup.Progress) {
	b.drawn = true
	fmt.Fprintf(b.to, "\r%-*.*s", columns, columns, line(p))
}

// clear erases the line before other output.
func (b *bar) clear() {
	if b != nil && b.drawn {
		b.drawn = false
		fmt.Fprintf(b.to, "\r%*s\r", columns, "")
	}
}

// line returns the text of the bar.
func line(p backup.Progress) string {
	if p.Stage != "dump" && p.Stage != "restore" {
		return p.Stage + " …"
	}
	const width = 20
	var parts []string
	if p.Expected > 0 {
		// The size of the last backup is an estimate. A larger dump must not show 100 %
		// early.
		done := min(float64(p.Raw)/float64(p.Expected), 0.99)
		full := int(done * width)
		parts = append(parts, fmt.Sprintf("[%s%s] %2.0f%%", strings.Repeat("=", full), strings.Repeat(" ", width-full), done*100))
	}
	parts = append(parts, bytesOf(p.Raw))
	if p.Rows > 0 {
		parts = append(parts, fmt.Sprintf("%d rows", p.Rows))
	}
	if p.Rate > 0 {
		parts = append(parts, bytesOf(int64(p.Rate))+"/s")
	}
	if left, known := p.Remaining(); known && p.Took >= 2*time.Second {
		parts = append(parts, left.Round(time.Second).String()+" left")
	}
	return p.Stage + "  " + strings.Join(parts, "  ")
}
