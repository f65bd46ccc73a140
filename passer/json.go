package passer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"unicode/utf8"
)

// jsonCodec is the framing in JSON: objects, one after the other, with white space
// between them or not.
type jsonCodec struct{ r *bufio.Reader }

// read reads the next message, of at most limit bytes.
func (j *jsonCodec) read(limit int) (Message, error) {
	text, err := j.cut(limit)
	if err != nil {
		return Message{}, err
	}
	if !utf8.Valid(text) {
		return Message{}, errMalformed // encoding/json would make other text of it
	}
	var m Message
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if d.Decode(&m) != nil {
		return Message{}, errMalformed
	}
	if len(m.Data) == 0 {
		m.Data = nil
	}
	return m, m.check()
}

// cut takes one object off the stream: up to the brace that ends it. There is nothing
// inside of it that could have braces or brackets of its own but strings.
func (j *jsonCodec) cut(limit int) ([]byte, error) {
	var b []byte
	quoted, escaped := false, false
	for spaces := 0; ; {
		c, err := j.r.ReadByte()
		if err != nil {
			if len(b) > 0 {
				err = unexpected(err)
			}
			return nil, err
		}
		if len(b) == 0 {
			if spaces++; jsonSpace(c) && spaces <= limit {
				continue
			}
			if c != '{' {
				return nil, errMalformed
			}
			b = append(b, c)
			continue
		}
		if len(b) >= limit {
			return nil, errTooLarge
		}
		b = append(b, c)
		switch {
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '}':
			return b, nil
		case c == '{' || c == '[':
			return nil, errMalformed
		}
	}
}

// jsonSpace reports whether c may stand between objects.
func jsonSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// append adds a message on a line of its own.
func (j *jsonCodec) append(b []byte, m Message) []byte {
	if len(m.Data) == 0 {
		m.Data = nil // null, as the original has it
	}
	text, err := json.Marshal(m)
	if err != nil { // strings, a number and bytes: there is nothing that fails
		return b
	}
	return append(append(b, text...), '\n')
}

// A codec is one framing on one connection. read and append may be used at the same
// time by one goroutine each.
type codec interface {
	// read reads the next message, of at most limit bytes. Errors: io.EOF between
	// messages, errMalformed, errTooLarge.
	read(limit int) (Message, error)
	// append adds a message as it is sent.
	append(b []byte, m Message) []byte
}

// newCodec finds out the framing of a connection by its first byte: JSON begins with a
// brace or white space, gob with the length of a definition, which is neither.
func newCodec(r io.Reader) (codec, error) {
	in := bufio.NewReader(r)
	first, err := in.Peek(1)
	switch {
	case err != nil:
		return nil, err
	case first[0] == '{' || jsonSpace(first[0]):
		return &jsonCodec{in}, nil
	}
	return &gobCodec{r: in}, nil
}
