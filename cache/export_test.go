package cache

import "encoding/binary"

// NewerFormat is a sealed value as a later version of this package may write it.
func NewerFormat(sealed []byte) []byte {
	data := append(append([]byte{}, sealed...), "and more"...)
	data[2] = formatVersion + 1
	binary.LittleEndian.PutUint64(data[checksumAt:], checksum(data))
	return data
}
