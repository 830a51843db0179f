package command

import (
	"context"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/internal/testserver"
)

// TestAlertsOfEveryReplica lets a check of the second replica fail. The message names that
// replica, and any replica accepts the link that acknowledges the alert. Both report a failure
// of the database once.
func TestAlertsOfEveryReplica(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	db := testserver.Postgres(t)
	db.CreateDatabase(t, "pos")
	inbox := newReceivingServer(t)
	open := func(addr string) *shop {
		s := openTestShop(t, append([]string{
			"--database=" + db.DSN("pos"), "--receivers=webhook+" + inbox.URL + "/webhook", "--public-url=https://pos.example.org", "--addr=" + addr,
		}, unlimited...)...)
		if s.parts.jobs()["alerts"] == nil {
			t.Error("a replica does not report its checks")
		}
		return s
	}
	one, two := open("127.0.0.1:8081"), open("127.0.0.1:8082")
	state := map[*shop]health.Status{one: health.Pass, two: health.Fail}
	look := func(s *shop, check string) {
		t.Helper()
		var snap *health.Snapshot
		for range 3 {
			var err error
			if snap, err = s.parts.health.RunOnce(t.Context(), check); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.parts.alerts.Once(t.Context(), snap); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []*shop{one, two} {
		if err := s.parts.health.Add(health.Check{Name: "fridge", Timeout: time.Second, Checker: health.CheckerFunc(func(context.Context) health.Result {
			return health.Result{Status: state[s], Summary: "21 degrees"}
		})}); err != nil {
			t.Fatal(err)
		}
		look(s, "fridge")
	}
	look(one, "fridge") // reads the state that the other replica has written
	got := inbox.to("/webhook")
	if len(got) != 1 || !strings.Contains(got[0].body, ":8082") {
		t.Fatalf("%d messages: %+v", len(got), got)
	}
	alerts := one.parts.alerts.Alerts().Open
	if len(alerts) != 1 {
		t.Fatalf("the other replica knows %d alerts", len(alerts))
	}
	link, err := url.Parse(alerts[0].Actions[0].URL)
	if err != nil {
		t.Fatal(err)
	}
	if status, body, _ := one.send("POST", link.RequestURI(), ""); status != 200 {
		t.Errorf("the link at the other replica: %d %s", status, body)
	}
	one.parts.leads.Store(true)
	db.Kill()
	for _, s := range []*shop{two, one, two} {
		look(s, "database")
	}
	if got := inbox.to("/webhook"); len(got) != 2 || !strings.Contains(got[1].body, "database") {
		t.Errorf("%d messages after the database failed: %+v", len(got), got)
	}
}

// TestEachOutageOfTheDatabase has one alarm and one end, although the state of the alerts is in
// the database that fails.
func TestEachOutageOfTheDatabase(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	db := testserver.Postgres(t)
	db.CreateDatabase(t, "pos")
	inbox := newReceivingServer(t)
	s := openTestShop(t, append([]string{"--database=" + db.DSN("pos"), "--receivers=webhook+" + inbox.URL + "/webhook"}, unlimited...)...)
	s.parts.leads.Store(true)
	look := func(want int, word string) {
		t.Helper()
		for range 3 {
			snap, err := s.parts.health.RunOnce(t.Context(), "database")
			if err == nil {
				err = s.parts.alerts.Once(t.Context(), snap)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if got := inbox.to("/webhook"); len(got) != want || want > 0 && !strings.Contains(got[want-1].body, word) {
			t.Fatalf("%d messages instead of %d, the last with %q: %+v", len(got), want, word, got)
		}
	}
	look(0, "")
	for outage := range 2 {
		db.Kill()
		look(2*outage+1, "[UNHEALTHY]")
		db.Restart()
		waitFor(t, "the database", func() bool { _, err := s.store.Now(t.Context()); return err == nil })
		look(2*outage+2, "[RECOVERED]")
	}
}

// TestHourlyCommandWithoutTheDatabase runs "health --notify" before, during and after an outage
// of the database. The command cannot create its checks then, and sends one message about that
// and one about the end.
func TestHourlyCommandWithoutTheDatabase(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	db := testserver.Postgres(t)
	db.CreateDatabase(t, "pos")
	inbox := newReceivingServer(t)
	flags := append([]string{"--database=" + db.DSN("pos"), "--receivers=webhook+" + inbox.URL + "/webhook", "--data=" + t.TempDir()}, unlimited...)
	s := openTestShop(t, flags...)
	hour := func(want, messages int, word string) {
		t.Helper()
		env := Env{Stdout: t.Output(), Stderr: t.Output(), Getenv: func(string) string { return "" }}
		code := checkHealth(t.Context(), env, append(flags, "--notify", "--only=database", "--retries=1", "--retry-wait=10ms"))
		got := inbox.to("/webhook")
		if code != want || len(got) != messages || messages > 0 && !strings.Contains(got[messages-1].body, word) {
			t.Fatalf("exit code %d instead of %d, %d messages instead of %d, the last with %q: %+v", code, want, len(got), messages, word, got)
		}
	}
	hour(0, 0, "")
	for outage := range 2 {
		db.Kill()
		hour(3, 2*outage+1, "[UNHEALTHY] pos: health-command")
		hour(3, 2*outage+1, "")
		db.Restart()
		waitFor(t, "the database", func() bool { _, err := s.store.Now(t.Context()); return err == nil })
		hour(0, 2*outage+2, "[RECOVERED] pos: health-command")
		hour(0, 2*outage+2, "")
	}
}

// TestBackupsOfAnotherReplica runs the check of the backups on the replica that did not make
// the backup.
func TestBackupsOfAnotherReplica(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	db := testserver.Postgres(t)
	db.CreateDatabase(t, "pos")
	flags := append([]string{"--database=" + db.DSN("pos")}, unlimited...)
	one := openTestShop(t, append(flags, "--addr=127.0.0.1:8081", "--backup-at=02:00")...)
	two := openTestShop(t, append(flags, "--addr=127.0.0.1:8082", "--backup-at=02:00")...)
	check := func(s *shop, want health.Status) {
		t.Helper()
		snap, err := s.parts.health.RunOnce(t.Context(), "backups")
		if err != nil {
			t.Fatal(err)
		}
		if c := snap.Checks[0]; c.Status != want {
			t.Errorf("%+v, want %v", c, want)
		}
	}
	check(two, health.Fail)
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() { _ = one.parts.nightly.Run(ctx) })
	waitFor(t, "a backup", func() bool {
		last, err := lastBackup(t.Context(), one.store)
		return err == nil && !last.Time.IsZero()
	})
	stop()
	work.Wait()
	check(one, health.Pass)
	check(two, health.Pass)
}
