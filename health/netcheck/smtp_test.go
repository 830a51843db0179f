package netcheck

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/health"
)

// What a mail server can do instead of answering.
func TestSMTPFaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		says string // and then nothing more
		want string
	}{
		"turns away":         {"554 go away\r\n", "no greeting"},
		"is no mail server":  {"SSH-2.0-OpenSSH_9.2\r\n", "no greeting"},
		"refuses everything": {"220 hello\r\n502 what?\r\n502 what?\r\n502 what?\r\n", "no answer to NOOP"},
		"never greets":       {"", ""},
		"falls silent":       {"220 hello\r\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			served := make(chan struct{})
			go func() {
				defer close(served)
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				_, _ = io.WriteString(conn, c.says)
				_, _ = io.Copy(io.Discard, conn) // until the check gives up
			}()
			// The checker itself must end with its context: the runner's timeout would
			// leave it behind, stuck.
			check := SMTP("mail", listener.Addr().String(), nil)
			timeout := 2 * time.Second // for the answers, on a busy machine too
			if c.want == "" {
				timeout = 300 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			got := check.Checker.Check(ctx)
			require.Equal(t, health.Fail, got.Status)
			require.Contains(t, got.Summary, c.want)
			require.NoError(t, listener.Close())
			<-served
		})
	}
}
