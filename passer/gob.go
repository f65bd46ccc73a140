package passer

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"slices"
)

// The types that gob knows by number, and the first number that a program gives to
// a type of its own, which is what old clients and old servers gave to theirs.
const (
	gobUint, gobBytes, gobString = 3, 5, 6
	gobFirst                     = 64
	// gobLast is more types than any program has.
	gobLast = 1 << 20
)

// maxGobType bounds the name of the type in a definition. With it a definition is
// always shorter than 0x7b bytes, so that a length never looks like the '{' of JSON.
const maxGobType = 32

// maxGobDefinition is what a definition of the type may have.
const maxGobDefinition = 0x7a

// gobFields are the fields of Message in their order, and their types.
var gobFields = [...]struct {
	name string
	kind int64
}{{"Meta", gobUint}, {"OtherClient", gobString}, {"ConnectionID", gobString}, {"Data", gobBytes}}

// gobCodec is the framing in gob. Each direction is a stream of its own, which begins
// with the definition of the type.
type gobCodec struct {
	r *bufio.Reader
	// heard is the number that the client gave to the type; 0 before it has.
	heard int64
	// told says that the definition was sent.
	told bool
}

// read reads the next message, of at most limit bytes.
func (g *gobCodec) read(limit int) (Message, error) {
	for {
		n, err := gobLength(g.r)
		if err != nil {
			return Message{}, err
		}
		if g.heard == 0 && n > maxGobDefinition {
			return Message{}, errMalformed
		}
		if n > uint64(limit) {
			return Message{}, errTooLarge
		}
		b, err := take(g.r, int(n))
		if err != nil {
			return Message{}, err
		}
		p := &gobParser{rest: b}
		id := p.int()
		if g.heard != 0 {
			return g.value(p, id)
		}
		if id > -gobFirst || id < -gobLast || !p.definition(-id) || !p.done() {
			return Message{}, errMalformed
		}
		g.heard = -id
	}
}

// value reads a message of the type that was defined.
func (g *gobCodec) value(p *gobParser, id int64) (Message, error) {
	var m Message
	if id != g.heard {
		return m, errMalformed
	}
	p.fields(func(field uint64) bool {
		switch field {
		case 0:
			n := p.uint()
			m.Meta = Meta(n)
			return n <= 0xff
		case 1:
			m.OtherClient = string(p.bytes())
		case 2:
			m.ConnectionID = string(p.bytes())
		case 3:
			m.Data = p.bytes()
		default:
			return false
		}
		return true
	})
	if !p.done() {
		return Message{}, errMalformed
	}
	return m, m.check()
}

// take reads n bytes. The memory for them grows with what has come.
func take(r *bufio.Reader, n int) ([]byte, error) {
	var b []byte
	for len(b) < n {
		step := min(n-len(b), max(len(b), 4<<10))
		at := len(b)
		b = slices.Grow(b, step)[:at+step]
		if _, err := io.ReadFull(r, b[at:]); err != nil {
			return nil, unexpected(err)
		}
	}
	return b, nil
}

// unexpected is the error of an end inside a frame.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// gobLength reads the number in front of a frame. io.EOF is an end between frames.
func gobLength(r *bufio.Reader) (uint64, error) {
	first, err := r.ReadByte()
	if err != nil || first <= 0x7f {
		return uint64(first), err
	}
	var b [8]byte
	n := -int(int8(first))
	if n > len(b) {
		return 0, errMalformed
	}
	if _, err := io.ReadFull(r, b[8-n:]); err != nil {
		return 0, unexpected(err)
	}
	return binary.BigEndian.Uint64(b[:]), nil
}

// gobParser reads what stands in a frame. After a fault every call returns nothing.
type gobParser struct {
	rest []byte
	bad  bool
}

// done reports whether everything was read, and was right.
func (p *gobParser) done() bool { return !p.bad && len(p.rest) == 0 }

// uint reads a number: one byte below 0x80, or the negated count of its bytes and these.
func (p *gobParser) uint() uint64 {
	b := p.cut(1)
	if b == nil || b[0] <= 0x7f {
		if b == nil {
			return 0
		}
		return uint64(b[0])
	}
	n := -int(int8(b[0]))
	if n > 8 {
		p.bad = true
		return 0
	}
	var out uint64
	for _, c := range p.cut(n) {
		out = out<<8 | uint64(c)
	}
	return out
}

// int reads a number whose lowest bit says that the others are complemented.
func (p *gobParser) int() int64 {
	u := p.uint()
	if u&1 != 0 {
		return ^int64(u >> 1)
	}
	return int64(u >> 1)
}

// bytes reads a length and that many bytes, which remain part of the frame.
func (p *gobParser) bytes() []byte {
	n := p.uint()
	if n > uint64(len(p.rest)) {
		p.bad = true
		return nil
	}
	return p.cut(int(n))
}

// cut takes n bytes off the front; nil, and a fault, where there are not so many.
func (p *gobParser) cut(n int) []byte {
	if p.bad || n > len(p.rest) {
		p.bad = true
		return nil
	}
	b := p.rest[:n:n]
	p.rest = p.rest[n:]
	return b
}

// fields reads a struct: the step to the next field and its value, until a step of 0. each
// reads one value and reports whether there is such a field.
func (p *gobParser) fields(each func(field uint64) bool) {
	for next := uint64(0); !p.bad; {
		step := p.uint()
		if step == 0 {
			return
		}
		if step > 16 || !each(next+step-1) {
			p.bad = true
			return
		}
		next += step
	}
}

// definition reads the definition of the type of Message, under the number id, and
// reports whether it is that: a struct of exactly these fields in this order.
func (p *gobParser) definition(id int64) bool {
	common, listed := false, false
	structs := 0
	p.fields(func(field uint64) bool {
		if field != 2 { // of wireType: StructT
			return false
		}
		structs++
		p.fields(func(field uint64) bool {
			switch field {
			case 0:
				common = p.pair(func(name string, number int64) bool { return len(name) <= maxGobType && number == id })
				return common
			case 1:
				listed = p.list()
				return listed
			}
			return false
		})
		return true
	})
	return !p.bad && structs == 1 && common && listed
}

// list reads the fields of a definition.
func (p *gobParser) list() bool {
	if p.uint() != uint64(len(gobFields)) {
		return false
	}
	for _, f := range gobFields {
		if !p.pair(func(name string, kind int64) bool { return name == f.name && kind == f.kind }) {
			return false
		}
	}
	return true
}

// pair reads a struct of a name and a number, both there.
func (p *gobParser) pair(fits func(name string, number int64) bool) bool {
	var name string
	var number int64
	seen := 0
	p.fields(func(field uint64) bool {
		seen++
		switch field {
		case 0:
			name = string(p.bytes())
		case 1:
			number = p.int()
		default:
			return false
		}
		return true
	})
	return !p.bad && seen == 2 && fits(name, number)
}

// append adds a message in the form that a client reads, behind the definition the
// first time.
func (g *gobCodec) append(b []byte, m Message) []byte {
	if !g.told {
		g.told = true
		b = gobFrame(b, gobDefinition())
	}
	v := gobInt(nil, gobFirst)
	at, last := 0, -1
	put := func(there bool, value func()) {
		if there {
			v = gobAppend(v, uint64(at-last))
			last = at
			value()
		}
		at++
	}
	put(m.Meta != 0, func() { v = gobAppend(v, uint64(m.Meta)) })
	put(m.OtherClient != "", func() { v = gobText(v, m.OtherClient) })
	put(m.ConnectionID != "", func() { v = gobText(v, m.ConnectionID) })
	put(len(m.Data) != 0, func() { v = gobText(v, m.Data) })
	return gobFrame(b, append(v, 0))
}

// gobDefinition is the definition of Message, as encoding/gob writes it in a program whose
// first type it is.
func gobDefinition() []byte {
	d := gobInt(nil, -gobFirst)
	d = append(d, 3, 1, 1) // wireType.StructT, its CommonType, the Name in that
	d = gobText(d, "Message")
	d = append(d, 1) // Id
	d = gobInt(d, gobFirst)
	d = append(d, 0, 1) // the end of CommonType; Field
	d = gobAppend(d, uint64(len(gobFields)))
	for _, f := range gobFields {
		d = append(d, 1) // Name
		d = gobText(d, f.name)
		d = append(d, 1) // Id
		d = gobInt(d, f.kind)
		d = append(d, 0)
	}
	return append(d, 0, 0) // the ends of StructT and wireType
}

// gobFrame adds a frame with its length.
func gobFrame(b, frame []byte) []byte { return gobText(b, frame) }

// gobAppend adds a number.
func gobAppend(b []byte, u uint64) []byte {
	if u <= 0x7f {
		return append(b, byte(u))
	}
	var all [8]byte
	binary.BigEndian.PutUint64(all[:], u)
	n := 8
	for all[8-n] == 0 {
		n--
	}
	return append(append(b, byte(-n)), all[8-n:]...)
}

// gobInt adds a number with a sign.
func gobInt(b []byte, i int64) []byte {
	u := uint64(i) << 1
	if i < 0 {
		u = ^u
	}
	return gobAppend(b, u)
}

// gobText adds a length and bytes.
func gobText[T string | []byte](b []byte, text T) []byte {
	return append(gobAppend(b, uint64(len(text))), text...)
}
