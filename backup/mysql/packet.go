package mysql

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// setLongest is the key of driver.Contents.Settings for the length of the longest statement.
const setLongest = "longest_statement"

// largestPacket is the maximum of max_allowed_packet.
const largestPacket = 1 << 30

// fits reports whether a server takes a statement. A packet has one byte more.
func fits(statement, packet int64) bool { return statement+1 <= packet }

// raisePacket says how a server takes a statement of this length.
func raisePacket(statement int64) string {
	needed := (statement + 1 + 1023) / 1024 * 1024 // the server rounds down
	if needed > largestPacket {
		return fmt.Sprintf("no value of max_allowed_packet is large enough (the maximum is %d): shorten that row, and back up again", largestPacket)
	}
	return fmt.Sprintf("SET GLOBAL max_allowed_packet = %d", needed)
}

// tooLong is the error for a statement that the server does not take.
func tooLong(what string, statement, packet int64) error {
	return fmt.Errorf("backup: %s has %d bytes, and the server takes %d: %s, and restore again", what, statement, packet, raisePacket(statement))
}

// takes fails if the server or the pool would reject the longest statement of the dump. It
// runs before the first change. Without it, a restore would fail after hours, and often with a
// lost connection as the only reason.
func (r *restoring) takes(ctx context.Context) error {
	n, err := strconv.ParseInt(r.o.Want.Settings[setLongest], 10, 64)
	if err != nil || len(r.o.Tables) > 0 { // an older dump, or perhaps none of these tables
		return nil
	}
	if !fits(n, r.server.packet) {
		return tooLong("the longest statement of the dump", n, r.server.packet)
	}
	if n < 4<<20 { // every driver and proxy takes it
		return nil
	}
	s, err := r.m.open(ctx, "")
	if err != nil {
		return err
	}
	defer s.end()
	const begin, end = "DO 1 /* ", " */"
	var trial strings.Builder // one copy of a length that may be 1 GiB
	trial.Grow(int(n))
	trial.WriteString(begin)
	for trial.Len() < int(n)-len(end) {
		trial.WriteByte('.')
	}
	trial.WriteString(end)
	if err := s.exec(ctx, trial.String()); err != nil {
		return fmt.Errorf("backup: the longest statement of the dump has %d bytes, and a trial of that length failed: %w (a pool takes all that its server does with maxAllowedPacket=0 in its address; see also a proxy between them)", n, err)
	}
	return nil
}
