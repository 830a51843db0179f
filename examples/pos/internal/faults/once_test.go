//go:build linux

package faults

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// mailbox is a mail server that stores the subjects of received messages.
type mailbox struct {
	addr string

	mu       sync.Mutex
	subjects []string
}

func newMailbox(t *testing.T) *mailbox {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	m := &mailbox{addr: l.Addr().String()}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go m.serve(conn)
		}
	}()
	return m
}

func (m *mailbox) serve(conn net.Conn) {
	defer conn.Close()
	say := func(line string) { fmt.Fprint(conn, line+"\r\n") }
	say("220 test")
	lines := bufio.NewScanner(conn)
	data := false
	for lines.Scan() {
		line := lines.Text()
		switch {
		case data && line == ".":
			data = false
			say("250 kept")
		case data:
			if subject, ok := strings.CutPrefix(line, "Subject: "); ok {
				m.mu.Lock()
				m.subjects = append(m.subjects, subject)
				m.mu.Unlock()
			}
		case strings.HasPrefix(line, "DATA"):
			data = true
			say("354 go on")
		case strings.HasPrefix(line, "QUIT"):
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

func (m *mailbox) all() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string{}, m.subjects...)
}

// TestOnce runs three replicas with separate data folders. Only one of them makes the due
// backup. With POS_FAULTS set, Redis stops for two minutes, which causes one message. Then the
// replica that made the backup dies, which must not cause a second backup.
func TestOnce(t *testing.T) {
	long := os.Getenv("POS_FAULTS") != ""
	if !long {
		testserver.NeedsLong(t)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	db, redis, mail := openDatabase(t, "postgres"), openRedis(t, "alone"), newMailbox(t)
	var replicas []*replica
	due := time.Now().UTC().Add(-time.Minute).Format("15:04")
	for range 3 {
		replicas = append(replicas, startReplica(t, program, "--database", db.url, "--redis", redis.url, "--timezone=UTC",
			"--backup-at", due,
			"--smtp", "smtp://"+mail.addr+"?from=pos@example.com&to=shop@example.com&tls=none"))
	}
	made := func() (by []*replica) {
		for _, r := range replicas {
			found, _ := filepath.Glob(filepath.Join(r.args[1], "backups", "*.dump*"))
			for range found {
				by = append(by, r)
			}
		}
		return by
	}
	for end := time.Now().Add(time.Minute); len(made()) == 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no replica made the backup")
		}
	}
	if long {
		time.Sleep(40 * time.Second) // for messages of the start
		start := len(mail.all())
		redis.master().Kill()
		time.Sleep(2 * time.Minute)
		if got := mail.all()[start:]; len(got) != 1 {
			t.Errorf("%d messages while Redis was down: %q", len(got), got)
		}
		redis.master().Restart()
		for end := time.Now().Add(7 * time.Minute); len(mail.all()) < start+2 && time.Now().Before(end); { // messages of an alert are 5 minutes apart
			time.Sleep(time.Second)
		}
		if got := mail.all()[start:]; len(got) != 2 {
			t.Errorf("%d messages after Redis was back: %q", len(got), got)
		}
		made()[0].kill()
		time.Sleep(50 * time.Second) // longer than the lease of the dead replica
		t.Logf("FAULTS | 3 replicas | %d backups | messages: %q", len(made()), mail.all())
	} else {
		time.Sleep(2 * time.Second)
	}
	if n := len(made()); n != 1 {
		var files []string
		for _, r := range replicas {
			found, _ := filepath.Glob(filepath.Join(r.args[1], "backups", "*"))
			files = append(files, found...)
		}
		t.Errorf("%d backups: %q", n, files)
	}
}
