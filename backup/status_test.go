package backup

import (
	"testing"
	"time"
)

func TestLastGood(t *testing.T) {
	source := newFake(1000)
	j, _ := newTestJob(t, source, nil)
	if at, found, err := j.LastGood(t.Context()); found || err != nil || !at.IsZero() {
		t.Fatalf("without a backup: %v, %v, %v", at, found, err)
	}
	good := mustBackup(t, j)
	source.contents.Tables[0].Rows = 1
	if _, err := j.Backup(t.Context()); err == nil {
		t.Fatal("a table that lost its rows is not suspect")
	}
	at, found, err := j.LastGood(t.Context())
	if err != nil || !found || !at.Equal(good.Started) {
		t.Fatalf("%v, %v, %v: want the start of the good backup, %v", at, found, err, good.Started.Format(time.RFC3339Nano))
	}
}
