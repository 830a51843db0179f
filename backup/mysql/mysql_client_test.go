//go:build engines

package backup

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

func TestMySQLAddresses(t *testing.T) {
	for text, want := range map[string]mysqlTarget{
		"mysql://me:p%40%3A%2F@db.example.org:3307/shop?tls=skip-verify": {user: "me", password: "p@:/", host: "db.example.org", port: "3307", database: "shop", tls: "skip-verify"},
		"mariadb://me@[::1]/shop":                   {user: "me", host: "::1", port: "3306", database: "shop"},
		"mysql://me@/d%2Fb?socket=/run/my.sock":     {user: "me", socket: "/run/my.sock", database: "d/b"},
		"me:p@:/?x(y)@tcp(h:1)/shop?parseTime=true": {user: "me", password: "p@:/?x(y)", host: "h", port: "1", database: "shop"},
		"me@tcp(h)/shop":                            {user: "me", host: "h", port: "3306", database: "shop"},
		"me@tcp([::1]:9)/shop":                      {user: "me", host: "::1", port: "9", database: "shop"},
		"me:@unix(/a/b.sock)/sh":                    {user: "me", socket: "/a/b.sock", database: "sh"},
		"me@/a%2Fb?tls=true":                        {user: "me", host: "127.0.0.1", port: "3306", database: "a/b", tls: "true"},
	} {
		got, err := parseMySQLAddress(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
		if !strings.Contains(text, "://") { // as the driver reads it
			config, err := mysql.ParseDSN(text)
			require.NoError(t, err, text)
			assert.Equal(t, []string{config.User, config.Passwd, config.DBName}, []string{got.user, got.password, got.database})
		}
	}
	for text, why := range map[string]string{
		"":                                      "must be a URL",
		"hunter2":                               "must be a URL",
		"postgres://u:hunter2@h/db":             "no URL",
		"mysql://u:hunter2@h:port/db":           "must be a URL",
		"u:hunter2@tcp(h/db":                    "must be a URL",
		"hunter2/db":                            "neither of tcp",
		"u:hunter2@h:3306/db":                   "must be a URL",
		"u:hunter2@pipe(x)/db":                  "neither of tcp",
		"mysql://u:hunter2@h":                   "names no database",
		"u:hunter2@tcp(h)/":                     "names no database",
		"mysql://h/db":                          "names no user",
		"mysql://u:hunter2%00@h/db":             "zero byte",
		"mysql://u:hunter2@h/db?tls=true":       "set MySQLOptions.CA",
		"u:hunter2@tcp(h)/db?tls=custom-config": "set MySQLOptions.CA",
	} {
		_, err := NewMySQL(mysqlConnect(t, "x@/y"), text, nil)
		require.ErrorContains(t, err, why, text)
		assert.NotContains(t, err.Error(), "hunter")
	}
	_, err := NewMySQL(nil, "u@/db", nil)
	assert.ErrorContains(t, err, "needs a *sql.DB")
	_, err = NewMySQL(mysqlConnect(t, "x@/y"), "u@/db", &MySQLOptions{QueryTimeout: -1})
	assert.ErrorContains(t, err, "negative")
}

func TestMySQLGrants(t *testing.T) {
	for _, c := range []struct {
		lines    string
		database string
		may      string
		routines bool
	}{
		{"GRANT ALL PRIVILEGES ON *.* TO `root`@`%` WITH GRANT OPTION", "shop", "SELECT EVENT", true},
		{"GRANT USAGE ON *.* TO `u`@`%`|GRANT SELECT, SHOW VIEW ON `shop`.* TO `u`@`%`", "shop", "SELECT SHOW-VIEW", false},
		{"GRANT SELECT ON `sh_p`.* TO `u`@`%`", "shop", "SELECT", false},
		{"GRANT SELECT ON `sh\\_p`.* TO `u`@`%`", "shop", "", false},
		{"GRANT SELECT ON `sh\\_p`.* TO `u`@`%`", "sh_p", "SELECT", false},
		{"GRANT SELECT ON `%`.* TO `u`@`%`|GRANT EVENT ON `shop`.* TO `u`@`%`", "shop", "EVENT", false},
		{"GRANT SELECT ON `%`.* TO `role`|GRANT EVENT ON `shop`.* TO `u`@`%`", "shop", "SELECT EVENT", false},
		{"GRANT SELECT ON `Shop`.* TO `u`@`%`", "shop", "", false},
		{"GRANT SELECT ON `shop`.`sales` TO `u`@`%`|GRANT SELECT (`a`, `b`), INSERT ON `shop`.* TO `u`@`%`", "shop", "INSERT", false},
		{"GRANT SELECT ON `mysql`.`proc` TO `u`@`%`", "shop", "", true},
		{"GRANT SELECT ON \"mysql\".* TO \"u\"@\"%\"", "shop", "", true},
		{"GRANT SHOW CREATE ROUTINE ON `shop`.* TO `u`@`%`", "shop", "SHOW-CREATE-ROUTINE", true},
		{"GRANT SHOW CREATE ROUTINE ON `other`.* TO `u`@`%`", "shop", "", false},
		{"GRANT SHOW_ROUTINE ON *.* TO `u`@`%`", "shop", "SHOW_ROUTINE", true},
		{"GRANT SELECT, EVENT ON *.* TO `u`@`%`|REVOKE SELECT ON `shop`.* FROM `u`@`%`", "shop", "EVENT", true},
		{"GRANT `r1` TO `u`@`%`|SET DEFAULT ROLE `r1` FOR `u`@`%`|GRANT EXECUTE ON PROCEDURE `shop`.`p` TO `u`@`%`|GRANT PROXY ON ''@'%' TO 'u'@'%'|GRANT SELECT (|GRANT", "shop", "", false},
	} {
		g := parseMySQLGrants(strings.Split(c.lines, "|"), c.database, false)
		for _, privilege := range []string{"SELECT", "SHOW VIEW", "EVENT", "INSERT", "SHOW CREATE ROUTINE", "SHOW_ROUTINE"} {
			want := false
			for _, word := range strings.Fields(c.may) {
				want = want || strings.ReplaceAll(word, "-", " ") == privilege || strings.HasPrefix(c.lines, "GRANT ALL")
			}
			assert.Equal(t, want, g.may(privilege), "%s: %s", c.lines, privilege)
		}
		assert.Equal(t, c.routines, g.routines, c.lines)
	}
	assert.True(t, parseMySQLGrants([]string{"GRANT SELECT ON `Shop`.* TO `u`@`%`"}, "shop", true).may("SELECT"), "names without case")
}

// Messages are capped, and rows are left out of them.
func TestMySQLMessages(t *testing.T) {
	for text, want := range map[string]string{
		"mariadb-dump: Deprecated program name. It will be removed\nmariadb-dump: Error 2013: Lost connection to server during query when dumping table `t` at row: 7\n": "Error 2013: Lost connection to server during query when dumping table `t` at row: 7 (the server ended the connection: look into its error log)",
		"mariadb-dump: Couldn't execute 'show create table `v`': View 'a.v' references invalid table(s) (1356)\n":                                                        "Couldn't execute 'show create table `v`': View 'a.v' references invalid table(s) (1356) (a view does not work, usually because what it reads was dropped: DROP VIEW or repair it)",
		"--------------\nINSERT INTO cards VALUES (4111111111111111)\n--------------\n\nERROR 1062 (23000) at line 2: Duplicate entry '4111' for key 'PRIMARY'\n":        "ERROR 1062 (23000) at line 2: Duplicate entry '…",
		"ERROR 1146 (42S02) at line 1: Table 'a.b' doesn't exist\n":                                                                                                      "ERROR 1146 (42S02) at line 1: Table 'a.b' doesn't exist",
		"nothing of the program's own": "",
	} {
		assert.Equal(t, want, mysqlMessages("mariadb-dump", []byte(text)))
	}
	long := mysqlMessages("mariadb", []byte("ERROR 1146 (42S02): "+strings.Repeat("é", 5000)))
	assert.Less(t, len(long), 400)
}

func TestMySQLClients(t *testing.T) {
	shell := testserver.Lookup(t, "sh", "dash")
	dir := t.TempDir()
	path := filepath.Join(dir, "mysqldump")
	require.NoError(t, os.WriteFile(path, []byte("#!"+shell+`
echo "mysqldump  Ver 8.4.1 for Linux on x86_64 (MySQL Community Server - GPL)"
echo "  --defaults-file=# Only read"; echo "  --default-character-set=name"; echo "  --no-tablespaces"
echo "  --set-gtid-purged[=name]"; echo "  --column-statistics"; echo "  --ssl-mode=name"; echo "  --get-server-public-key"
`), 0o700))
	t.Setenv("PATH", dir)
	c, err := findMySQLClient(t.Context(), "", "mariadb-dump", "mysqldump")
	require.NoError(t, err)
	assert.Equal(t, "mysqldump Ver 8.4.1 for Linux on x86_64 (MySQL Community Server - GPL)", c.version)
	m := &MySQL{target: mysqlTarget{database: "shop"}}
	args := strings.Join(m.dumpArguments(c), " ")
	assert.Contains(t, args, "--no-tablespaces --set-gtid-purged=OFF --column-statistics=0 -- shop")
	assert.False(t, c.knows("column"))
	assert.False(t, c.knows("tablespaces"))
	assert.Equal(t, []string{"ssl-mode=PREFERRED", "get-server-public-key"}, c.encryption("", MySQLOptions{}))
	assert.Equal(t, []string{"ssl-mode=REQUIRED"}, c.encryption("skip-verify", MySQLOptions{}))
	assert.Equal(t, []string{`ssl-ca="/a \"b"`, "ssl-mode=VERIFY_IDENTITY"}, c.encryption("true", MySQLOptions{CA: `/a "b`}))

	_, err = findMySQLClient(t.Context(), "", "mariadb", "mysql")
	assert.ErrorContains(t, err, "mariadb or mysql is not installed")
	_, err = findMySQLClient(t.Context(), shell, "mysql")
	assert.Error(t, err)
	_, err = findMySQLClient(t.Context(), filepath.Join(dir, "missing"), "mysql")
	assert.Error(t, err)
}

// The client programs check the server's certificate when the address asks for it.
func TestMySQLOverTLS(t *testing.T) {
	dir := t.TempDir()
	certificate, key := selfSigned(t, dir, "server")
	other, _ := selfSigned(t, dir, "other")
	server := testserver.MariaDB(t, "--ssl-cert="+certificate, "--ssl-key="+key, "--ssl-ca="+certificate)
	server.Exec(t, "CREATE DATABASE shop; CREATE TABLE shop.t (id int); INSERT INTO shop.t VALUES (1); CREATE USER safe IDENTIFIED BY 'pw' REQUIRE SSL; GRANT ALL ON *.* TO safe;")
	pool := x509.NewCertPool()
	text, err := os.ReadFile(certificate)
	require.NoError(t, err)
	require.True(t, pool.AppendCertsFromPEM(text))
	require.NoError(t, mysql.RegisterTLSConfig("backup-test", &tls.Config{RootCAs: pool, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}))
	t.Cleanup(func() { mysql.DeregisterTLSConfig("backup-test") })
	address := as(server, "safe", "pw", "shop") + "?tls=backup-test"

	_, counts := mysqlDumped(t, mysqlSource(t, address, &MySQLOptions{CA: certificate}))
	assert.Equal(t, []Table{{"t", 1}}, counts.Tables)
	_, err = mysqlSource(t, address, &MySQLOptions{CA: other}).Dump(t.Context(), io.Discard)
	assert.ErrorContains(t, err, "mariadb-dump: exit status 2")
	mysqlDumped(t, mysqlSource(t, as(server, "safe", "pw", "shop")+"?tls=skip-verify", nil))
}

func selfSigned(t *testing.T, dir, name string) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	certificate, key = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	require.NoError(t, os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	return certificate, key
}
