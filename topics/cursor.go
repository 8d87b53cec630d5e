package topics

import (
	"encoding/binary"
	"math"
	"unicode/utf8"
)

// The major types of CBOR that devices use, RFC 8949 section 3.1.
const (
	majorUint   = 0
	majorNegint = 1
	majorBytes  = 2
	majorText   = 3
	majorArray  = 4
	majorMap    = 5
)

// cursor takes CBOR items of known types off the front of rest. Whatever is not as asked for sets bad; what it returns
// then means nothing, and asking on does no harm.
type cursor struct {
	rest []byte
	bad  bool
}

// done says whether everything was read, and right.
func (c *cursor) done() bool { return !c.bad && len(c.rest) == 0 }

// head takes the head of an item of a major type and returns its argument.
func (c *cursor) head(major byte) uint64 {
	if len(c.rest) == 0 || c.rest[0]>>5 != major {
		c.bad = true
		return 0
	}
	info := c.rest[0] & 31
	c.rest = c.rest[1:]
	if info < 24 {
		return uint64(info)
	}
	n := 1 << (info - 24) // bytes of the argument
	if info > 27 || len(c.rest) < n {
		c.bad = true
		return 0
	}
	var wide [8]byte
	copy(wide[8-n:], c.rest[:n])
	c.rest = c.rest[n:]
	return binary.BigEndian.Uint64(wide[:])
}

func (c *cursor) uint() uint64 { return c.head(majorUint) }

func (c *cursor) uint32() uint32 {
	n := c.uint()
	c.bad = c.bad || n > math.MaxUint32
	return uint32(n)
}

func (c *cursor) int() int64 {
	major := byte(majorUint)
	if len(c.rest) > 0 && c.rest[0]>>5 == majorNegint {
		major = majorNegint
	}
	n := c.head(major)
	c.bad = c.bad || n > math.MaxInt64
	if major == majorNegint {
		return -1 - int64(n)
	}
	return int64(n)
}

func (c *cursor) bool() bool {
	const no, yes = 0xf4, 0xf5
	if len(c.rest) == 0 || c.rest[0] != no && c.rest[0] != yes {
		c.bad = true
		return false
	}
	v := c.rest[0] == yes
	c.rest = c.rest[1:]
	return v
}

// str takes a string of a major type. It is part of the body.
func (c *cursor) str(major byte) []byte {
	n := c.head(major)
	if n > uint64(len(c.rest)) {
		c.bad = true
		return nil
	}
	s := c.rest[:n]
	c.rest = c.rest[n:]
	return s
}

// text takes UTF-8. It is part of the body.
func (c *cursor) text() []byte {
	s := c.str(majorText)
	c.bad = c.bad || !utf8.Valid(s)
	return s
}

// count takes the head of an array or a map of at most limit elements.
func (c *cursor) count(major byte, limit int) int {
	n := c.head(major)
	if n > uint64(limit) {
		c.bad = true
	}
	if c.bad {
		return 0
	}
	return int(n)
}

// members is a map with integer keys from 1 to 23, each at most once, under way.
type members struct {
	key  byte
	left int
	seen uint32
}

// members takes the head of such a map.
func (c *cursor) members() members { return members{left: c.count(majorMap, MaxMembers)} }

// next takes the next key. False: there is none, or c is bad.
func (m *members) next(c *cursor) bool {
	if m.left == 0 || c.bad {
		return false
	}
	m.left--
	n := c.uint()
	if n == 0 || n > 23 || m.seen>>n&1 == 1 {
		c.bad = true
		return false
	}
	m.key = byte(n)
	m.seen |= 1 << n
	return !c.bad
}
