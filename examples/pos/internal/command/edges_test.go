package command

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

// TestPasswordOfASetting starts a server again after a manager has changed a password that a
// setting gave, and then with another setting.
func TestPasswordOfASetting(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	start := func(cashier string) *process {
		return launchPos(t, data, "--demo=off", "--cashier-password", cashier, "--admin-password", adminPassword, "--rate-login=off")
	}
	accepts := func(p *process, password string) bool {
		t.Helper()
		p.token = ""
		status, _, _ := p.send("POST", "/api/v1/login/", `{"username":"cashier","password":"`+password+`"}`)
		return status == http.StatusOK
	}
	stop := func(p *process) {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
	p := start(cashierPassword)
	_, body, _ := p.send("POST", "/api/v1/login/", `{"username":"admin","password":"`+adminPassword+`"}`)
	p.token = field(t, body, "token").(string)
	if status, body, _ := p.send("PATCH", "/api/v1/users/cashier/", `{"password":"a-new-password"}`); status != http.StatusOK {
		t.Fatal(status, string(body))
	}
	stop(p)
	p = start(cashierPassword)
	if accepts(p, cashierPassword) || !accepts(p, "a-new-password") {
		t.Error("a restart has undone the change of a password")
	}
	stop(p)
	if p = start("a-third-password"); accepts(p, "a-new-password") || !accepts(p, "a-third-password") {
		t.Error("a changed setting has no effect")
	}
}

// TestInterruptedFirstStart starts on a database that has only the first table.
func TestInterruptedFirstStart(t *testing.T) {
	for statement, exit := range map[string]int{
		"CREATE TABLE meta (name VARCHAR(190) NOT NULL PRIMARY KEY, value TEXT NOT NULL)": 0,
		"CREATE TABLE notes (id INTEGER PRIMARY KEY)":                                     2,
		"CREATE TABLE users (id INTEGER PRIMARY KEY)":                                     2,
	} {
		data := t.TempDir()
		db, err := sql.Open("sqlite", filepath.Join(data, "pos.db"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
		_ = db.Close()
		if code, _, said := pos(t, "", "seed", "--data", data, "--products=5", "--customers=2", "--sales=2"); code != exit {
			t.Errorf("%s: exit code %d: %s", statement, code, said)
		}
	}
}

// TestDatabaseOfSomethingElse starts on databases with tables of another program, also with names
// that a shop uses. They stay as they are.
func TestDatabaseOfSomethingElse(t *testing.T) {
	t.Parallel()
	postgres, mariadb := testserver.Postgres(t), testserver.MariaDB(t)
	for i, tables := range [][]string{{"invoices"}, {"sale_items", "sales", "users"}, {"meta", "sale_items"}, {"meta", "products"}, {"categories", "products", "stock"}} {
		name := fmt.Sprint("other", i)
		data := t.TempDir()
		db, err := sql.Open("sqlite", filepath.Join(data, "pos.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		postgres.CreateDatabase(t, name)
		mariadb.Exec(t, "CREATE DATABASE "+name)
		for _, table := range tables {
			postgres.Exec(t, name, "CREATE TABLE "+table+" (id INT PRIMARY KEY)")
			mariadb.Exec(t, "CREATE TABLE "+name+"."+table+" (id INT PRIMARY KEY)")
			if _, err := db.ExecContext(t.Context(), "CREATE TABLE "+table+" (id INT PRIMARY KEY)"); err != nil {
				t.Fatal(err)
			}
		}
		for j, flags := range [][]string{
			{"--data", data},
			{"--data", t.TempDir(), "--database=" + postgres.DSN(name)},
			{"--data", t.TempDir(), "--database=mysql://" + mariadb.User() + ":" + mariadb.Password() + "@" + mariadb.Addr() + "/" + name},
		} {
			for k, command := range []string{"seed", "analyze"} {
				if (i+j+k)%testserver.Sample(3, 1) != 0 { // each is a process
					continue
				}
				code, _, said := pos(t, "", append([]string{command}, flags...)...)
				if code != 2 || !strings.Contains(said, "something else") && !strings.Contains(said, "there is no shop") {
					t.Errorf("%s on %v: exit code %d: %s", command, tables, code, said)
				}
			}
		}
		var inSQLite string
		if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM sqlite_master WHERE type = 'table'").Scan(&inSQLite); err != nil {
			t.Fatal(err)
		}
		for _, n := range []string{
			inSQLite,
			postgres.Exec(t, name, "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"),
			mariadb.Exec(t, "SELECT count(*) FROM information_schema.tables WHERE table_schema = '"+name+"'"),
		} {
			if strings.TrimSpace(n) != fmt.Sprint(len(tables)) {
				t.Errorf("%v: %s tables", tables, n)
			}
		}
	}
}

// TestReportsOfChangedHistory fills the past beside a server that has cached a report of it.
func TestReportsOfChangedHistory(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := startPos(t, data, "--demo=off", "--cashier-password", cashierPassword, "--admin-password", adminPassword, "--rate-api=off")
	_, body, _ := p.send("POST", "/api/v1/login/", `{"username":"admin","password":"`+adminPassword+`"}`)
	p.token = field(t, body, "token").(string)
	past := "/api/v1/reports/sales/?from=2020-01-01&to=" + time.Now().Add(-24*time.Hour).Format(time.DateOnly)
	if before := p.get(past)["count"]; before != 0.0 {
		t.Fatal(before)
	}
	if code, _, said := pos(t, "", "seed", "--data", data, "--products=20", "--customers=5", "--sales=50"); code != 0 {
		t.Fatal(said)
	}
	for deadline := time.Now().Add(5 * time.Second); p.get(past)["count"] == 0.0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the report is the one from before")
		}
	}
}

// TestNames gives people and things names that cannot be told from others, and finds them by
// names with accents.
func TestNames(t *testing.T) {
	t.Parallel()
	postgres := testserver.Postgres(t)
	postgres.CreateDatabase(t, "pos")
	for _, flags := range [][]string{nil, {"--database=" + postgres.DSN("pos")}} {
		m := openTestShop(t, append(flags, unlimited...)...).asManager()
		user := func(name string) int {
			body, _ := json.Marshal(map[string]string{"username": name, "password": "12345678", "role": "cashier"})
			status, _, _ := m.send("POST", "/api/v1/users/", string(body))
			return status
		}
		for _, name := range []string{"cashier\u034f", "cashier\u3164", "cashier\ufe0f", "\u3164", "cashier\u115f", "Jose\u0301", "c\u0430shier", "Settings", "a  b", "\u2800"} {
			if status := user(name); status != http.StatusBadRequest {
				t.Errorf("%q: %d", name, status)
			}
		}
		for _, name := range []string{"Jos\u00e9", "a b", "Мария", "李"} {
			if status := user(name); status != http.StatusCreated {
				t.Errorf("%q: %d", name, status)
			}
		}
		for path, body := range map[string]string{"/api/v1/products/3/": `{"name":"\u200b"}`, "/api/v1/products/3/stock/": `{"change":1,"reason":"\u200b"}`} {
			method := map[bool]string{true: "POST", false: "PATCH"}[strings.HasSuffix(path, "stock/")]
			if status, _, _ := m.send(method, path, body); status != http.StatusBadRequest {
				t.Errorf("%s: %d", body, status)
			}
		}
		m.send("PATCH", "/api/v1/products/3/", `{"name":"Ñoquis de Álava"}`)
		m.send("PATCH", "/api/v1/products/4/", `{"name":"Straße № 7 Νίκος"}`)
		long := strings.Repeat("\ufdfa", 63) // one letter that folds to 18
		if status, _, _ := m.send("PATCH", "/api/v1/products/5/", `{"name":"`+long+`"}`); status != http.StatusOK {
			t.Errorf("a long name: %d", status)
		}
		for _, search := range []string{"%C3%91oquis", "%C3%B1oquis", "noquis", "%C3%A1lava", "ALAVA", "STRASSE", "stra%C3%9Fe", url.QueryEscape("no 7"), url.QueryEscape("ΝΙΚΟΣ"), "%EF%B7%BA"} {
			if n := m.get("/api/v1/products/?search=" + search)["count"]; n != 1.0 {
				t.Errorf("%s: %v products", search, n)
			}
		}
		for _, path := range []string{"GET /api/v1/users/%00/sessions/", "PATCH /api/v1/users/%ff/", "DELETE /api/v1/users/a%00/sessions/"} {
			method, path, _ := strings.Cut(path, " ")
			if status, _, _ := m.send(method, path, map[string]string{"PATCH": `{"active":true}`}[method]); status != http.StatusNotFound {
				t.Errorf("%s: %d", fmt.Sprint(method, " ", path), status)
			}
		}
	}
}
