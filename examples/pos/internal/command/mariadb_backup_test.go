package command

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// TestBackupOfMariaDB makes, verifies and restores backups beside a server that sells, with an
// account that is not the administrator's. It restores once more after the database was
// dropped.
func TestBackupOfMariaDB(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	db := testserver.MariaDB(t)
	db.CreateDatabase(t, "pos")
	db.Exec(t, "CREATE USER pos IDENTIFIED BY 'it''s a \\\\ secret #1'; GRANT ALL ON `pos%`.* TO pos;")
	database := "--database=mysql://pos:it%27s%20a%20%5C%20secret%20%231@" + db.Addr() + "/pos"
	data := t.TempDir()
	// Fewer than the demo's 10,000 sales, which take most of a run under the race detector.
	if code, stdout, stderr := pos(t, "", "seed", database, "--data", data, "--products=20", "--customers=5", "--sales=300"); code != 0 {
		t.Fatalf("seed: %d %s %s", code, stdout, stderr)
	}
	p := startPos(t, data, append(unlimited, database, "--backup-at=off", "--cashier-password="+cashierPassword)...)
	sold := func(database string) (n int64) {
		out := db.Exec(t, "SELECT COUNT(*) FROM "+database+".sales")
		if _, err := fmt.Sscan(out, &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	stop := make(chan struct{})
	accepted, wait := p.sellUntil(stop)
	waitFor(t, "the first sales", func() bool { return accepted.Load() > 5 })
	before := sold("pos")
	run := func(args ...string) string {
		t.Helper()
		code, stdout, stderr := pos(t, "", append(args, database, "--data", data)...)
		if code != 0 {
			t.Errorf("%v: %d %s %s", args, code, stdout, stderr)
		}
		return stdout
	}
	run("backup", "--compress", "--keep-days=30")
	run("backup", "verify")
	if out := run("backup", "verify", "--restore"); !strings.Contains(out, "5 assertions hold") {
		t.Errorf("restore test: %s", out)
	}
	after := sold("pos")
	if out := run("backup", "restore", "--to", "pos_second"); !strings.Contains(out, "restored as pos_second") {
		t.Errorf("restore: %s", out)
	}
	close(stop)
	wait()
	if n := sold("pos_second"); n < before || n > after {
		t.Errorf("%d sales in the backup, of between %d and %d", n, before, after)
	}
	run("backup", "list")
	run("backup", "check")
	run("health", "--only=database,backups")

	// The accounts, on a second server that has the database.
	if code, _, stderr := pos(t, "", "backup", "accounts", database, "--data", data); code != 2 || !strings.Contains(stderr, "holds no accounts") {
		t.Errorf("accounts that this account may not read: %d %s", code, stderr)
	}
	db.Exec(t, "GRANT SELECT ON mysql.* TO pos; CREATE USER clerk@'10.%' IDENTIFIED BY 'x'; GRANT SELECT (id), INSERT ON pos.sales TO clerk@'10.%'; CREATE USER stranger@'%'")
	run("backup")
	statements := run("backup", "accounts")
	second := testserver.MariaDB(t)
	if code, _, stderr := pos(t, "", "backup", "restore", "--to", "pos", "--database=mysql://"+second.User()+":"+second.Password()+"@"+second.Addr()+"/pos", "--data", data); code != 0 {
		t.Fatalf("restore on a second server: %d %s", code, stderr)
	}
	second.Exec(t, statements)
	for _, account := range []string{"pos@'%'", "clerk@'10.%'"} {
		if want, got := db.Exec(t, "SHOW GRANTS FOR "+account), second.Exec(t, "SHOW GRANTS FOR "+account); got != want {
			t.Errorf("%s has\n%swant\n%s", account, got, want)
		}
	}
	if strings.Contains(statements, "stranger") {
		t.Error("an account without rights on the database is in the backup")
	}

	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.cmd.Wait()
	last := sold("pos")
	db.Exec(t, "DROP DATABASE pos")
	run("backup", "restore", "--to", "pos")
	if again := sold("pos"); again != last {
		t.Errorf("%d sales restored after the loss, %d before", again, last)
	}
}
