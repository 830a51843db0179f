package mysql

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/internal/client"
	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// restorer finds the program that restores.
func (m *Source) restorer(ctx context.Context, s mysqlServer) (mysqlClient, error) {
	if s.mariadb() {
		return findMySQLClient(ctx, m.opts.Restore, "mariadb", "mysql")
	}
	return findMySQLClient(ctx, m.opts.Restore, "mysql", "mariadb")
}

// Restore reads a dump into a new database of the server and compares what is in it
// with the dump. Without a target the name is that of the original and the time. Views,
// triggers, routines and events keep their definers; the warnings name those that do
// not exist on this server, and events, which run in the copy too.
func (m *Source) Restore(ctx context.Context, r io.Reader, o driver.RestoreOptions) (string, driver.Contents, error) {
	target := o.Target
	if target == "" { // a name has 64 characters
		target = fmt.Sprintf("%.40s_restore_%s", m.target.database, time.Now().UTC().Format("20060102t150405"))
	}
	on, program, options, err := m.toRestore(ctx)
	if err != nil {
		return "", driver.Contents{}, err
	}
	defer options.Remove()
	if err := m.exec(ctx, "CREATE DATABASE "+quoteMySQL(target)+m.likeOriginal(ctx)); err != nil {
		return "", driver.Contents{}, fmt.Errorf("backup: create the database %q (a restore never goes into an existing one): %w", target, err)
	}
	got, err := m.feed(ctx, program, options, r, target)
	if err != nil {
		return "", driver.Contents{}, errors.Join(err, m.drop(context.WithoutCancel(ctx), target))
	}
	got.ServerVersion, got.ClientVersion = on.version, program.version
	return target, got, nil
}

// toRestore finds what a restore needs; the options are to be removed.
func (m *Source) toRestore(ctx context.Context) (on mysqlServer, program mysqlClient, options optionFile, err error) {
	if on, err = m.server(ctx); err != nil {
		return on, program, options, err
	}
	if program, err = m.restorer(ctx, on); err != nil {
		return on, program, options, err
	}
	options, err = newOptionFile(m.target, program.encryption(m.target.tls, m.opts))
	return on, program, options, err
}

// feed reads a dump into a database and compares.
func (m *Source) feed(ctx context.Context, program mysqlClient, options optionFile, r io.Reader, target string) (driver.Contents, error) {
	// In this mode the program takes nothing in the dump for a command of its own.
	args := []string{"--binary-mode", "--batch", "--default-character-set=utf8mb4", "--max-allowed-packet=1G", "--database=" + target}
	if program.knows("sandbox") {
		args = append(args, "--sandbox")
	}
	in := &lexedReader{lexer: newMySQLLexer(), from: withoutSandboxLine(r)}
	err := program.run(ctx, client.Program{Stdin: in}, options, args...)
	damaged := in.ended || in.lexer.err != nil
	dump, damage := in.lexer.finish()
	switch {
	case damage != nil && (damaged || err == nil):
		// Whatever the program said of it.
		return driver.Contents{}, fmt.Errorf("backup: the dump is damaged or cut: %w", damage)
	case err != nil:
		return driver.Contents{}, err
	}
	inv, err := inventMySQL(ctx, m.db, target, m.opts.QueryTimeout)
	if err != nil {
		return driver.Contents{}, err
	}
	got, err := inv.contents(ctx, m.db, target)
	if err == nil {
		if err = different(dump.contents(), got); err != nil {
			err = fmt.Errorf("backup: the restored database is not what was in the dump: %w", err)
		}
	}
	if err != nil {
		return driver.Contents{}, err
	}
	got.Warnings = m.afterRestore(ctx, dump, got)
	return got, nil
}

// afterRestore tells what works differently in the copy.
func (m *Source) afterRestore(ctx context.Context, dump mysqlDump, got driver.Contents) []string {
	ctx, cancel := context.WithTimeout(ctx, m.opts.QueryTimeout)
	defer cancel()
	var warnings, unknown []string
	for _, definer := range slices.Sorted(maps.Keys(dump.definers)) {
		at := max(strings.LastIndexByte(definer, '@'), 0)
		var n int
		err := m.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM mysql.user WHERE User = ? AND Host = ?", definer[:at], strings.TrimPrefix(definer[at:], "@")).Scan(&n)
		if err == nil && n == 0 {
			unknown = append(unknown, quoteAccount(definer))
		}
	}
	if len(unknown) > 0 {
		warnings = append(warnings, fmt.Sprintf("views, triggers or routines belong to %s, which this server does not know: they fail until CREATE USER", server.ShortList(unknown)))
	}
	if got.Events > 0 {
		warnings = append(warnings, fmt.Sprintf("%d events run in the restored database as in the original: ALTER EVENT … DISABLE where that is not wanted", got.Events))
	}
	return warnings
}

// lexedReader reads a dump along on its way and stops at what is no dump.
type lexedReader struct {
	lexer *mysqlLexer
	from  io.Reader
	ended bool
}

func (r *lexedReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.ended = r.ended || err == io.EOF
	if _, _ = r.lexer.Write(p[:n]); r.lexer.err != nil {
		return 0, r.lexer.err
	}
	return n, err
}

var sandboxLine = []byte(`/*M!999999\-`)

// withoutSandboxLine leaves out the line by which newer dumps tell the client to keep to
// SQL. It is given that by an option; older ones take the line for a command.
func withoutSandboxLine(r io.Reader) io.Reader {
	b := bufio.NewReaderSize(r, 64<<10)
	if head, _ := b.Peek(len(sandboxLine)); bytes.Equal(head, sandboxLine) {
		_, _ = b.ReadSlice('\n')
	}
	return b
}

var charsetName = regexp.MustCompile(`^[a-z0-9_]+$`)

// likeOriginal gives a database the original's character set, which tables without one
// of their own would take. Where that cannot be asked, the server's applies.
func (m *Source) likeOriginal(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, m.opts.QueryTimeout)
	defer cancel()
	var charset, collation string
	err := m.db.QueryRowContext(ctx, `SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ?`, m.target.database).
		Scan(&charset, &collation)
	if err != nil || !charsetName.MatchString(charset) || !charsetName.MatchString(collation) {
		return ""
	}
	return " CHARACTER SET " + charset + " COLLATE " + collation
}

// drop removes a database that this package has created.
func (m *Source) drop(ctx context.Context, database string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := m.exec(ctx, "DROP DATABASE IF EXISTS "+quoteMySQL(database)); err != nil {
		return fmt.Errorf("backup: drop the database %q: %w", database, err)
	}
	return nil
}

func (m *Source) exec(ctx context.Context, statement string) error {
	_, err := m.db.ExecContext(ctx, statement)
	return err
}
