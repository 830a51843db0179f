package export

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"time"
)

// ErrTruncated reports a download that failed after its first bytes were sent. The
// connection is then broken, so that the client notices that the file is incomplete. This
// does not work with a response writer that hides the connection: below such middleware,
// end the handler with panic(http.ErrAbortHandler).
var ErrTruncated = errors.New("export: the download was truncated")

// Options are the options of the functions that write.
type Options[T any] struct {
	// Every is the number of rows after which the output is flushed and Progress is
	// called. Default: 1,000.
	Every int
	// Progress receives the number of rows written and flushed so far, and the last of
	// these rows. It is called once more at the end if there are rows since its last call.
	// An error from it stops the stream. Default: nil.
	Progress func(rows int64, last T) error
	// Verbatim leaves the text of CSV cells and headers unchanged. Otherwise text that a
	// spreadsheet would run as a formula gets an apostrophe before it. Default: false.
	//
	// A spreadsheet that splits the file at another delimiter finds other cells. In a file
	// with commas, it may run the end of "a;=1+1" as a formula. Set Delimiter to the
	// delimiter of the readers: many European versions of Excel expect a semicolon.
	Verbatim bool
	// BOM writes a byte order mark before the CSV header, so that Excel reads UTF-8.
	// Default: false.
	BOM bool
	// Delimiter separates the cells of CSV. Default: a comma.
	Delimiter rune
}

func stream[T any](w io.Writer, rows iter.Seq2[T, error], o Options[T], write func(T) error, flush func() error) (int64, error) {
	if o.Every < 1 {
		o.Every = 1000
	}
	var n, reported int64
	var last T
	report := func() error {
		if err := flush(); err != nil {
			return err
		}
		if l, ok := w.(*lazyResponse); ok {
			l.flush()
		}
		reported = n
		if o.Progress == nil {
			return nil
		}
		return o.Progress(n, last)
	}
	for row, err := range rows {
		if err == nil {
			err = write(row)
		}
		if err != nil {
			if l, ok := w.(*lazyResponse); n == 0 || ok && !l.begun {
				return n, err // the response can still have another status
			}
			return n, errors.Join(err, flush())
		}
		n, last = n+1, row
		if n%int64(o.Every) == 0 {
			if err := report(); err != nil {
				return n, err
			}
		}
	}
	if n > reported {
		return n, report()
	}
	return n, flush()
}

// lazyResponse sends its headers with the first byte.
type lazyResponse struct {
	w                     http.ResponseWriter
	contentType, filename string
	begun                 bool
}

func (l *lazyResponse) begin() {
	if l.begun {
		return
	}
	l.begun = true
	l.w.Header().Set("Content-Type", l.contentType)
	l.w.Header().Set("X-Content-Type-Options", "nosniff")
	if l.filename != "" {
		l.w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": l.filename}))
	}
}

func (l *lazyResponse) Write(b []byte) (int, error) {
	l.begin()
	return l.w.Write(b)
}

func (l *lazyResponse) flush() {
	// A writer that cannot flush sends at a time of its own choice.
	_ = http.NewResponseController(l.w).Flush()
}

// end also completes an empty list. It breaks the connection of a truncated list: otherwise
// the server would send the end of a chunked body, and the file would look complete.
func (l *lazyResponse) end(err error) error {
	if err == nil {
		l.begin()
		return nil
	}
	if !l.begun {
		return err
	}
	_ = http.NewResponseController(l.w).SetWriteDeadline(time.Unix(1, 0))
	return fmt.Errorf("%w: %w", ErrTruncated, err)
}
