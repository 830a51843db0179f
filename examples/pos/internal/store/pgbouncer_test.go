package store

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// TestPgBouncer creates a shop through PgBouncer in transaction mode. It sells at the isolation
// level SERIALIZABLE, with more clients than connections.
func TestPgBouncer(t *testing.T) {
	testserver.NeedsLong(t)
	t.Parallel()
	program := testserver.Lookup(t, "pgbouncer", "pgbouncer")
	db := testserver.Postgres(t)
	db.CreateDatabase(t, "pos")
	db.Exec(t, "postgres", "ALTER DATABASE pos SET default_transaction_isolation = 'serializable'")
	host, port, _ := net.SplitHostPort(db.Addr())
	dir, err := os.MkdirTemp("", "pos-pgbouncer-") //nolint:usetesting // pgbouncer runs as another user
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	listen := testserver.FreePort(t)
	config := filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(config, []byte(fmt.Sprintf(`[databases]
pos = host=%s port=%s user=%s password=%s dbname=pos
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 5
max_client_conn = 100
`, host, port, db.User(), db.Password(), listen)), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{config}
	if os.Getuid() == 0 { // pgbouncer refuses to run as root
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		args = []string{"-u", "nobody", config}
	}
	cmd := exec.Command(program, args...)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	addr := "127.0.0.1:" + strconv.Itoa(listen)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", addr); err == nil {
			_ = conn.Close()
			break
		}
		if time.Now().After(end) {
			text, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Fatalf("pgbouncer does not listen: %s", text)
		}
	}
	on := at(t.TempDir())
	if err := on.Database.Set("postgres://" + db.User() + ":" + db.Password() + "@" + addr + "/pos?sslmode=disable"); err != nil {
		t.Fatal(err)
	}
	s := openShop(t, on, small)
	if _, _, err := s.ChangeStock(t.Context(), 22, 1000, "delivery", Once{User: Admin}); err != nil {
		t.Fatal(err)
	}
	before := s.number(t, "SELECT count(*) FROM sales")
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			for k := range 5 {
				if _, _, err := s.Sell(context.Background(), Cashier, nil, []Line{{int64(i%20 + 1), 1}, {22, 1}}, nil, Once{Key: fmt.Sprint(i, "-", k)}); err != nil {
					t.Errorf("sale %d of %d: %v", k, i, err)
				}
			}
		})
	}
	wg.Wait()
	if n := s.number(t, "SELECT count(*) FROM sales") - before; n != 120 {
		t.Errorf("%d of 120 sales", n)
	}
	void(t, s)
	lists(t, s)
}
