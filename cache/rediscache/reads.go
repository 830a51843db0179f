package rediscache

import (
	"context"
	"errors"
	"unsafe"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache/driver"
)

// Most round trips only read. They need no pipeline, no script and no message: one GET, or
// one MGET for all callers that share the round trip.

// plainRead reports whether GET or MGET can execute the operation.
func plainRead(op *driver.Op) bool {
	return op.Err == nil && (op.Kind == driver.Get || op.Kind == driver.TagState && op.TTL <= 0)
}

// reads executes reads without a pipeline: one read, or many on the same server. It leaves
// lists with other operations to the pipeline.
func (s *Store) reads(ctx context.Context, ops []driver.Op) (done bool, err error) {
	if !s.single && len(ops) > 1 || s.pending.count.Load() > 0 {
		return false, nil
	}
	for i := range ops {
		if !plainRead(&ops[i]) {
			return false, nil
		}
	}
	if len(ops) == 1 {
		data, err := s.client.Get(ctx, s.place(&ops[0])).Bytes()
		return true, taken(&ops[0], data, err)
	}
	args := make([]any, 1, len(ops)+1)
	args[0] = "mget"
	var tags [8]struct { // states that many callers read
		name string
		at   int
	}
	known := 0
	var few [4]int
	at := few[:0]
next:
	for i := range ops {
		op := &ops[i]
		if op.Kind == driver.TagState {
			for k := range known {
				if tags[k].name == op.Key {
					at = append(at, tags[k].at)
					continue next
				}
			}
			if known < len(tags) {
				tags[known].name, tags[known].at = op.Key, len(args)-1
				known++
			}
		}
		at, args = append(at, len(args)-1), append(args, s.place(op))
	}
	command := redis.NewSliceCmd(ctx, args...)
	err = s.client.Process(ctx, command)
	if err != nil {
		return !isReply(err), err // a rejected MGET is repeated as GETs
	}
	found := command.Val()
	for i := range ops { // each Get owns its text
		text, ok := found[at[i]].(string)
		switch op := &ops[i]; {
		case op.Kind == driver.TagState:
			op.Token = text
		case !ok:
			op.Value = nil
		default:
			unsealed(op, unsafe.Slice(unsafe.StringData(text), len(text)))
		}
	}
	return true, nil
}

// taken stores the reply of one read. It returns an error of the connection.
func taken(op *driver.Op, data []byte, err error) error {
	switch {
	case err == nil && op.Kind == driver.TagState:
		op.Token = string(data)
	case err == nil:
		unsealed(op, data)
	case errors.Is(err, redis.Nil), redis.HasErrorPrefix(err, "WRONGTYPE"): // a load repairs the latter
		op.Value, op.Token = nil, ""
	case isReply(err):
		op.Err = wrap(err)
	default:
		return err
	}
	return nil
}
