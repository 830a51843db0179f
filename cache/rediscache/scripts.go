package rediscache

import (
	"encoding/binary"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/zeebo/xxh3"

	"github.com/mainstay-go/mainstay/cache/driver"
)

// A value has a header of fixed size in the same key. Each script then touches one key and
// works while the slot of the key migrates. The header has three bytes of magic, "1" if a
// process waits for the lease, and "1" if a call has expired the value. Then come the end
// of the lease in milliseconds on the clock of the server (14 digits), the token of the
// lease (16), and a hash of the value (8, zeros if there is a lease and no value). So
// Delete is DEL, which ends the lease. Set takes the lease from any load and stores its
// value under it. The leases follow Facebook's memcache (Nishtala et al., NSDI 2013).
const (
	magic      = "MS\x01"
	headerSize = 43
	sumAt      = 35
	noLease    = "00" + "00000000000000" + "0000000000000000"
)

var (
	// KEYS value; ARGV token, milliseconds, hash of the value that the caller read, magic,
	// "1" for a writer, who takes the lease from any load. It returns 1, 2 if the value is
	// another one, or minus the milliseconds of the other lease.
	leaseScript = redis.NewScript(`
local head = redis.pcall('GETRANGE', KEYS[1], 0, 42)
if type(head) ~= 'string' then redis.call('DEL', KEYS[1]) head = '' end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease = string.format('%014.0f', now + ARGV[2]) .. ARGV[1]
if #head < 43 or string.sub(head, 1, 3) ~= ARGV[4] then
  if ARGV[5] ~= '1' and ARGV[3] ~= string.rep('\0', 8) then return 2 end
  redis.call('SET', KEYS[1], ARGV[4] .. '00' .. lease .. string.rep('\0', 8), 'PX', ARGV[2])
  return 1
end
if ARGV[5] ~= '1' then
  if string.sub(head, 36, 43) ~= ARGV[3] then return 2 end
  local left = tonumber(string.sub(head, 6, 19)) - now
  if left > 0 and string.sub(head, 20, 35) ~= ARGV[1] and string.sub(head, 20, 20) ~= '~' then
    redis.pcall('SETRANGE', KEYS[1], 3, '1')
    return -left
  end
end
redis.call('SETRANGE', KEYS[1], 5, lease)
local left = redis.call('PTTL', KEYS[1])
if left >= 0 and left < tonumber(ARGV[2]) then
  redis.call('SETRANGE', KEYS[1], 4, '1')
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 1`)
	// KEYS value; ARGV token, milliseconds
	extendScript = redis.NewScript(`
local head = redis.pcall('GETRANGE', KEYS[1], 0, 34)
if type(head) ~= 'string' or string.sub(head, 20, 35) ~= ARGV[1] then return 0 end
local time = redis.call('TIME')
local until_ = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2]
redis.call('SETRANGE', KEYS[1], 5, string.format('%014.0f', until_))
local left = redis.call('PTTL', KEYS[1])
if left >= 0 and left < tonumber(ARGV[2]) then
  redis.call('SETRANGE', KEYS[1], 4, '1')
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 1`)
	// KEYS value; ARGV token, value with header, milliseconds
	fillScript = redis.NewScript(`
local head = redis.pcall('GETRANGE', KEYS[1], 0, 34)
if type(head) ~= 'string' or string.sub(head, 20, 35) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
if string.sub(head, 4, 4) == '1' then return 2 end
return 1`)
	// KEYS value; ARGV token, header without a lease
	releaseScript = redis.NewScript(`
local head = redis.pcall('GETRANGE', KEYS[1], 0, 34)
if type(head) ~= 'string' or string.sub(head, 20, 35) ~= ARGV[1] then return 0 end
if redis.call('STRLEN', KEYS[1]) == 43 then
  redis.call('DEL', KEYS[1])
else
  redis.call('SETRANGE', KEYS[1], 5, string.rep('0', 30))
  redis.call('SETRANGE', KEYS[1], 3, '0')
end
if string.sub(head, 4, 4) == '1' then return 2 end
return 1`)
	// KEYS value; ARGV milliseconds, magic
	expireScript = redis.NewScript(`
local size = redis.pcall('STRLEN', KEYS[1])
if type(size) ~= 'number' or size <= 43 or redis.call('GETRANGE', KEYS[1], 0, 2) ~= ARGV[2] then
  redis.call('DEL', KEYS[1])
  return 0
end
redis.call('SETRANGE', KEYS[1], 3, '01' .. string.rep('0', 30))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1`)
	// KEYS tag; ARGV new state, milliseconds or 0. The state of a tag is a random text
	// under its own key. Invalidating deletes it. A state that was evicted, expired or lost
	// with its server is never mistaken for a valid state. A counter would be.
	stateScript = redis.NewScript(`
local state = redis.pcall('GET', KEYS[1])
if type(state) == 'table' then redis.call('DEL', KEYS[1]) state = false end
if not state then
  if ARGV[2] == '0' then redis.call('SET', KEYS[1], ARGV[1]) else redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
  return ARGV[1]
end
local left = redis.call('PTTL', KEYS[1])
if left >= 0 then
  if ARGV[2] == '0' then redis.call('PERSIST', KEYS[1])
  elseif left < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
end
return state`)
	// KEYS log; ARGV field, message, length. A script that has already written may continue
	// to write when the server is full.
	appendScript = redis.NewScript(`
redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', ARGV[3])
return redis.call('XADD', KEYS[1], 'NOMKSTREAM', '*', ARGV[1], ARGV[2])`)
	// KEYS log; ARGV field, length, milliseconds. It creates the log, also in the place of a key of another type.
	helloScript = redis.NewScript(`
local trimmed = redis.pcall('XTRIM', KEYS[1], 'MAXLEN', '~', ARGV[2])
if type(trimmed) == 'table' then
  if not string.find(trimmed.err, 'WRONGTYPE', 1, true) then return trimmed end
  redis.call('DEL', KEYS[1])
end
local id = redis.call('XADD', KEYS[1], '*', ARGV[1], '')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return id`)
)

// sumOf returns the identity of a value. It is never 0.
func sumOf(value []byte) uint64 { return xxh3.Hash(value) | 1 }

// sealed returns the value with its header.
func sealed(value []byte) []byte {
	b := make([]byte, 0, headerSize+len(value))
	b = append(append(b, magic...), noLease...)
	b = binary.BigEndian.AppendUint64(b, sumOf(value))
	return append(b, value...)
}

func seenBytes(seen uint64) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], seen)
	return string(b[:])
}

// unsealed splits a stored value into the result of a Get. A foreign value is returned
// unchanged, without Seen, so that a load may replace it.
func unsealed(op *driver.Op, data []byte) {
	op.Value, op.Seen, op.Expired = data, 0, false
	if len(data) < headerSize || string(data[:len(magic)]) != magic {
		return
	}
	op.Seen = binary.BigEndian.Uint64(data[sumAt:headerSize])
	op.Expired = data[4] == '1'
	if op.Value = data[headerSize:]; op.Seen == 0 {
		op.Value = nil // a lease and no value
	}
}

// persistent reports whether a tag represents a whole cache. Its state has no expiry, so
// that it outlives each value.
func persistent(tag string) bool { return strings.HasPrefix(tag, "all:") }
