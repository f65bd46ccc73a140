package whisper

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"airdispatch/crypto"
)

// Message is one thing that somebody said, as it is shown. Nothing in it is
// proved but From.
type Message struct {
	ID string
	// Addr is where its author listens, by its own word.
	Addr string
	Nick string
	Body string
	// Timestamp is in seconds since 1970 by the author's clock, zero where none came.
	Timestamp int64
	// FileType and File are a file that came along; its name is the body.
	FileType string
	File     []byte
	// From is the address of the identity whose signature was verified, or
	// empty. What claimed a signature that does not hold has Forged set.
	From   string
	Forged bool
	// Name is what the person here calls From; empty where it is nobody of theirs. Changed is set where From is
	// known here by other keys: somebody has made the identity's cards go another way, or the key was withdrawn.
	Name    string
	Changed bool
	// Own is true for what was said here.
	Own bool
}

// MaxFile is how many bytes a file has at most.
const MaxFile = 512 << 10

// The limits of what is read. An object holds a file in base64 and a little more.
const (
	maxObject = MaxFile/3*4 + 64<<10
	maxFields = 64
	maxID     = 128
	maxAddr   = 128
	maxNick   = 64
)

// The keys of the predecessor's objects. Its nickname goes by a key that was
// meant to be an option; those who mended that write Nick, so both are read and written.
const (
	keyID        = "ID"
	keyAddr      = "Addr"
	keyBody      = "Body"
	keyOldNick   = "omitempty"
	keyNick      = "Nick"
	keyTimestamp = "Timestamp"
	keyFileType  = "FileType"
	keyFile      = "FileContents"
	// keyOurs holds everything that only peers of this kind understand.
	keyOurs = "Whisper"
)

// errMalformed is an object that is JSON and no message; it is dropped.
var errMalformed = errors.New("whisper: not a message")

// field is one member of an object, as it came.
type field struct {
	key   string
	value json.RawMessage
}

// object is a JSON object with its members in order, so that what is not known
// here goes on to others as it came.
type object struct {
	fields []field
	Message
	ours *extension
	// stamp is the timestamp as it was written, for hashed ids.
	stamp string
	// lines are the object on the wire, for old peers and for ours, once they were made: dozens of neighbours
	// that read nothing shall not hold a copy each.
	lines [2][]byte
}

// parseObject reads one JSON object. Errors: errMalformed.
func parseObject(raw []byte) (*object, error) {
	if len(raw) > maxObject {
		return nil, errMalformed
	}
	if e := control(raw); e != nil {
		return &object{ours: e, stamp: "0"}, nil
	}
	fields, err := members(raw)
	if err != nil {
		return nil, err
	}
	o := &object{fields: fields, stamp: "0"}
	var nick, oldNick, file string
	texts := map[string]*string{
		keyID: &o.ID, keyAddr: &o.Addr, keyBody: &o.Body, keyNick: &nick, keyOldNick: &oldNick, keyFileType: &o.FileType, keyFile: &file,
	}
	for _, f := range fields {
		var into any
		switch text, ok := texts[f.key]; {
		case ok:
			into = text
		case f.key == keyTimestamp:
			into = &o.Timestamp
		case f.key == keyOurs:
			into = &o.ours
		default:
			continue
		}
		if err := json.Unmarshal(f.value, into); err != nil {
			return nil, errMalformed
		}
	}
	if o.Nick = nick; nick == "" {
		o.Nick = oldNick
	}
	o.stamp = strconv.FormatInt(o.Timestamp, 10)
	if len(o.ID) > maxID || len(o.Addr) > maxAddr || !o.readFile(file) || !o.hashed() {
		return nil, errMalformed
	}
	o.Nick = shorten(o.Nick, maxNick)
	return o, nil
}

// members cuts an object into its members; the last of several with one key counts.
func members(raw []byte) ([]field, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errMalformed
	}
	var fields []field
	at := make(map[string]int)
	for d.More() {
		t, err := d.Token()
		key, ok := t.(string)
		if err != nil || !ok {
			return nil, errMalformed
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, errMalformed
		}
		if n, twice := at[key]; twice {
			fields[n].value = v
			continue
		}
		at[key] = len(fields)
		fields = append(fields, field{key, v})
		if len(fields) > maxFields {
			return nil, errMalformed
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, errMalformed
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errMalformed
	}
	return fields, nil
}

// readFile decodes the file that came along; a false one makes the object malformed.
func (o *object) readFile(text string) bool {
	if text == "" {
		return true
	}
	if len(text) > base64.StdEncoding.EncodedLen(MaxFile) {
		return false
	}
	b, err := base64.StdEncoding.DecodeString(text)
	o.File = b
	return err == nil
}

// hashed checks an id of the form hash:sha256:HEX, which binds it to author,
// body and time. Hashes that are not known here make an id like any other.
func (o *object) hashed() bool {
	want, ok := strings.CutPrefix(o.ID, "hash:sha256:")
	if !ok {
		return true
	}
	got := crypto.Sum([]byte(o.Addr + o.Body + o.stamp))
	return strings.EqualFold(want, hex.EncodeToString(got[:]))
}

// set puts a member in, in place of one with its key.
func (o *object) set(key string, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		return // strings and numbers have a form
	}
	o.lines = [2][]byte{}
	for n := range o.fields {
		if o.fields[n].key == key {
			o.fields[n].value = raw
			return
		}
	}
	o.fields = append(o.fields, field{key, raw})
}

// has reports whether a member is there.
func (o *object) has(key string) bool {
	for _, f := range o.fields {
		if f.key == key {
			return true
		}
	}
	return false
}

// bytes is the object on the wire, one line. What only our peers understand
// goes out with ours alone. Nobody may write into it.
func (o *object) bytes(ours bool) []byte {
	n := 0
	if ours && o.has(keyOurs) {
		n = 1
	}
	if o.lines[n] == nil {
		o.lines[n] = o.line(ours)
	}
	return o.lines[n]
}

// line makes that line.
func (o *object) line(ours bool) []byte {
	var b bytes.Buffer
	b.WriteByte('{')
	for _, f := range o.fields {
		if f.key == keyOurs && !ours {
			continue
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		key, _ := json.Marshal(f.key) // a string has a form
		b.Write(key)
		b.WriteByte(':')
		if json.Compact(&b, f.value) != nil {
			return nil // it was read as JSON, so it is
		}
	}
	b.WriteString("}\n")
	return b.Bytes()
}

// newObject makes the object of a message, with the predecessor's members in
// its order.
func newObject(m Message) *object {
	o := &object{Message: m, stamp: strconv.FormatInt(m.Timestamp, 10)}
	o.set(keyID, m.ID)
	o.set(keyAddr, m.Addr)
	o.set(keyBody, m.Body)
	o.set(keyOldNick, m.Nick)
	o.set(keyNick, m.Nick)
	o.set(keyTimestamp, m.Timestamp)
	if len(m.File) > 0 {
		o.set(keyFileType, m.FileType)
		o.set(keyFile, base64.StdEncoding.EncodeToString(m.File))
	}
	return o
}

// completeNick writes the nickname under the key that is missing, so that old
// and new peers both read it.
func (o *object) completeNick() {
	if o.Nick == "" {
		return
	}
	for _, key := range []string{keyOldNick, keyNick} {
		if !o.has(key) {
			o.set(key, o.Nick)
		}
	}
}

// ownID makes an id of the predecessor's form, 16 hexadecimal digits, whose last
// six follow from the others and the author's address: to old peers it is as
// random as theirs, and ours know by it that the author is of their kind.
func ownID(rand io.Reader, addr string) (string, error) {
	var b [8]byte
	if _, err := io.ReadFull(rand, b[:5]); err != nil {
		return "", fmt.Errorf("whisper: make an id: %w", err)
	}
	copy(b[5:], mark(b[:5], addr))
	return hex.EncodeToString(b[:]), nil
}

// mark is what follows in an id of ours.
func mark(head []byte, addr string) []byte {
	sum := crypto.Sum([]byte("airdispatch whisper " + string(head) + " " + addr))
	return sum[:3]
}

// isMarked reports whether the author of an id is one of ours. Of other ids one
// in 16 million looks so too.
func isMarked(id, addr string) bool {
	b, err := hex.DecodeString(id)
	return err == nil && len(b) == 8 && bytes.Equal(b[5:], mark(b[:5], addr))
}

// shorten cuts a text to so many runes.
func shorten(s string, limit int) string {
	n := 0
	for at := range s {
		if n == limit {
			return s[:at]
		}
		n++
	}
	return s
}

// stream cuts what a connection brings into JSON values, each bounded.
type stream struct {
	limit *io.LimitedReader
	d     *json.Decoder
}

func newStream(r io.Reader) *stream {
	limit := &io.LimitedReader{R: r, N: maxObject}
	return &stream{limit: limit, d: json.NewDecoder(limit)}
}

// next is the next value, whatever it is. An error ends the stream: it is over,
// no longer JSON, or the value is too large.
func (s *stream) next() (json.RawMessage, error) {
	s.limit.N = maxObject
	var raw json.RawMessage
	if err := s.d.Decode(&raw); err != nil {
		if s.limit.N <= 0 {
			return nil, fmt.Errorf("whisper: an object of more than %d bytes", maxObject)
		}
		return nil, fmt.Errorf("whisper: read: %w", err)
	}
	// Where the limit ends a number, it looks like a number that has ended.
	if s.limit.N <= 0 && len(raw) > maxObject/2 && raw[len(raw)-1] != '}' && raw[len(raw)-1] != ']' && raw[len(raw)-1] != '"' {
		return nil, fmt.Errorf("whisper: a number of more than %d bytes", len(raw))
	}
	return raw, nil
}
