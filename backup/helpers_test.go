package backup

import "log/slog"

var silent = slog.New(slog.DiscardHandler)

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
