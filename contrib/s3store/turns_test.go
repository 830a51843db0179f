package s3store

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/backup"
)

// A second upload waits for the first and is refused before its dump is made, also
// by a server that looks before it writes.
func TestOneUploadOfAName(t *testing.T) {
	t.Parallel()
	client := clientOf(t, start(t), secretKey)
	s := open(t, client, bucket(t, client, false), nil)
	writing, finish := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		_, err := s.Put(context.WithoutCancel(t.Context()), "a", func(w io.Writer) error {
			close(writing)
			<-finish
			_, err := io.WriteString(w, "first")
			return err
		})
		first <- err
	}()
	<-writing

	impatient, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	dumped := func(io.Writer) error { t.Error("a dump was made for nothing"); return nil }
	if _, err := s.Put(impatient, "a", dumped); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an upload that cannot wait: %v", err)
	}
	second := make(chan error, 1)
	go func() {
		_, err := s.Put(context.WithoutCancel(t.Context()), "a", dumped)
		second <- err
	}()
	close(finish)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if err := <-second; !errors.Is(err, backup.ErrExists) {
		t.Errorf("the second upload: %v", err)
	}
	if len(s.turns.busy) != 0 {
		t.Error("a turn never ended")
	}
}
