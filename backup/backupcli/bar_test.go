package backupcli

import (
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/backup"
)

func TestBarLine(t *testing.T) {
	for want, p := range map[string]backup.Progress{
		"preflight …":   {Stage: "preflight"},
		"dump  1.0 KiB": {Stage: "dump", Raw: 1 << 10},
		"dump  0 B":     {Stage: "dump"},
		"dump  [==========          ] 50%  50.0 MiB  7 rows  10.0 MiB/s  5s left": {
			Stage: "dump", Raw: 50 << 20, Rows: 7, Rate: 10 << 20, Expected: 100 << 20, Took: 5 * time.Second,
		},
		"dump  [=================== ] 99%  300.00 GiB  123456789012 rows  1023.9 MiB/s": {
			Stage: "dump", Raw: 300 << 30, Rows: 123456789012, Rate: 1023.9 * (1 << 20), Expected: 100 << 20, Took: time.Hour,
		},
	} {
		if got := line(p); got != want || len([]rune(got)) > columns {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
