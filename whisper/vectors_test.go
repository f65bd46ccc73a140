package whisper

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"airdispatch/crypto"
	"airdispatch/internal/vectors"
	"airdispatch/message"
)

var update = flag.Bool("update", false, "add new test vectors")

// given is what the operations of the vectors are given.
type given struct {
	Text string `json:"text,omitempty"`
	ID   string `json:"id,omitempty"`
	Addr string `json:"addr,omitempty"`
}

// result is what an operation gives.
type result = map[string]any

func published() vectors.Set[given] {
	return vectors.Set[given]{Dir: "../testdata/vectors/whisper", Update: *update, Ops: map[string]func(testing.TB, given) (any, error){
		"object": runObject, "passed_on": runPassedOn, "stream": runStream, "signed": runSigned,
		"marked": func(_ testing.TB, in given) (any, error) {
			return result{"ours": isMarked(in.ID, in.Addr)}, nil
		},
	}}
}

// TestVectors: every published vector holds.
func TestVectors(t *testing.T) { published().Check(t, 90) }

// parsed reads an object, and says so with a code where it cannot.
func parsed(in given) (*object, error) {
	o, err := parseObject([]byte(in.Text))
	if err != nil || o.ours != nil && !o.ours.sound() {
		return nil, fmt.Errorf("%w: %v", message.Invalid, err)
	}
	return o, nil
}

func runObject(_ testing.TB, in given) (any, error) {
	o, err := parsed(in)
	if err != nil {
		return nil, err
	}
	if e := o.ours; e != nil && e.Kind != "" {
		return result{"kind": e.Kind, "addr": e.Addr, "ids": e.IDs, "know": e.Know, "old": e.Old}, nil
	}
	return result{"id": o.ID, "addr": o.Addr, "nick": o.Nick, "body": o.Body, "timestamp": o.stamp, "file_type": o.FileType, "file": o.File}, nil
}

func runPassedOn(_ testing.TB, in given) (any, error) {
	o, err := parsed(in)
	if err != nil {
		return nil, err
	}
	o.completeNick()
	return result{"object": json.RawMessage(o.bytes(false))}, nil
}

func runStream(_ testing.TB, in given) (any, error) {
	values := newStream(strings.NewReader(in.Text))
	for n := 0; ; n++ {
		_, err := values.next()
		switch {
		case errors.Is(err, io.EOF):
			return result{"values": n}, nil
		case err != nil:
			return nil, fmt.Errorf("%w: %w", message.Invalid, err)
		}
	}
}

func runSigned(_ testing.TB, in given) (any, error) {
	o, err := parsed(in)
	if err != nil {
		return nil, err
	}
	if (prover{}).check(o); o.Forged {
		return nil, message.BadSignature
	}
	return result{"from": o.From}, nil
}

// TestObjectVectors has what is said, in the original's form and in ours.
func TestObjectVectors(t *testing.T) {
	set := published()
	hash := func(text string) string {
		sum := crypto.Sum([]byte(text))
		return hex.EncodeToString(sum[:])
	}
	many := func(n int) string {
		b := []byte(`{"Body":"x"`)
		for i := range n - 1 {
			b = fmt.Appendf(b, `,"m%d":%d`, i, i)
		}
		return string(append(b, '}'))
	}
	sum := hash("192.0.2.1:5good7")
	for name, c := range map[string]struct {
		text string
		want message.Code
	}{
		"the original's":                {`{"ID":"75a49addd5224d8a","Addr":"192.0.2.1:55555","Body":"hello","omitempty":"phil","Timestamp":1795243332}`, 0},
		"the code lab's":                {`{"ID":"1122334455667788","Addr":"192.0.2.1:55555","Body":"lab"}`, 0},
		"ours":                          {`{"ID":"75a49addd5224d8a","Addr":"192.0.2.1:55555","Body":"\u003chi\u003e ü","omitempty":"phil","Nick":"phil","Timestamp":1795243332}`, 0},
		"the nickname's other key":      {`{"ID":"a","Body":"x","Nick":"phil"}`, 0},
		"two nicknames":                 {`{"ID":"a","Body":"x","omitempty":"x","Nick":"phil"}`, 0},
		"an empty nickname and another": {`{"ID":"a","Body":"x","omitempty":"phil","Nick":""}`, 0},
		"a nickname of 65 letters":      {`{"ID":"a","Body":"x","Nick":"` + strings.Repeat("ü", 64) + `y"}`, 0},
		"what nobody knows":             {`{"Mood":{"x":[1,2.50]},"ID":"a","Body":"x","id":7}`, 0},
		"members that are null":         {`{"ID":null,"Body":"x","Timestamp":null,"Nick":null,"FileContents":null}`, 0},
		"a member twice":                {`{"ID":"a","Body":"first","Body":"second"}`, 0},
		"without an id":                 {`{"Body":"x"}`, 0},
		"nothing said":                  {`{"ID":"a"}`, 0},
		"a time before 1970":            {`{"ID":"a","Body":"x","Timestamp":-5}`, 0},
		"a file":                        {`{"ID":"a","Body":"notes.txt","FileType":"text/plain","FileContents":"aGVsbG8="}`, 0},
		"an id of 128 bytes":            {`{"ID":"` + strings.Repeat("i", 128) + `","Body":"x"}`, 0},
		"an id that is a hash":          {`{"ID":"hash:sha256:` + sum + `","Addr":"192.0.2.1:5","Body":"good","Timestamp":7}`, 0},
		"that hash in capitals":         {`{"ID":"hash:sha256:` + strings.ToUpper(sum) + `","Addr":"192.0.2.1:5","Body":"good","Timestamp":7}`, 0},
		"a hash without a time":         {`{"ID":"hash:sha256:` + hash("x0") + `","Body":"x"}`, 0},
		"a hash that nobody knows":      {`{"ID":"hash:md5:00","Body":"x"}`, 0},
		"64 members":                    {many(64), 0},
		"65 members":                    {many(65), message.Invalid},
		"a hash of another body":        {`{"ID":"hash:sha256:` + sum + `","Addr":"192.0.2.1:5","Body":"evil","Timestamp":7}`, message.Invalid},
		"a hash of another time":        {`{"ID":"hash:sha256:` + sum + `","Addr":"192.0.2.1:5","Body":"good","Timestamp":8}`, message.Invalid},
		"a hash of another place":       {`{"ID":"hash:sha256:` + sum + `","Addr":"192.0.2.1:6","Body":"good","Timestamp":7}`, message.Invalid},
		"half a hash":                   {`{"ID":"hash:sha256:` + sum[:32] + `","Addr":"192.0.2.1:5","Body":"good","Timestamp":7}`, message.Invalid},
		"an id of 129 bytes":            {`{"ID":"` + strings.Repeat("i", 129) + `","Body":"x"}`, message.Invalid},
		"an address of 129 bytes":       {`{"ID":"a","Addr":"` + strings.Repeat("i", 129) + `","Body":"x"}`, message.Invalid},
		"an id that is a number":        {`{"ID":1,"Body":"x"}`, message.Invalid},
		"a body that is an object":      {`{"ID":"a","Body":{}}`, message.Invalid},
		"a time that is text":           {`{"ID":"a","Body":"x","Timestamp":"7"}`, message.Invalid},
		"a time with a fraction":        {`{"ID":"a","Body":"x","Timestamp":7.5}`, message.Invalid},
		"a time beyond 64 bits":         {`{"ID":"a","Body":"x","Timestamp":9223372036854775808}`, message.Invalid},
		"a file that is no base64":      {`{"ID":"a","Body":"x","FileContents":"aGVsbG8"}`, message.Invalid},
		"a list":                        {`[{"ID":"a","Body":"x"}]`, message.Invalid},
		"a number":                      {`7`, message.Invalid},
		"null":                          {`null`, message.Invalid},
		"an extension that is text":     {`{"ID":"a","Body":"x","Whisper":"hello"}`, message.Invalid},
		"an extension with ids as text": {`{"Whisper":{"Kind":"have","IDs":"a"}}`, message.Invalid},
		"hello":                         {`{"Whisper":{"Kind":"hello","Addr":"192.0.2.1:5000","IDs":["75a49addd5224d8a"],"Know":["192.0.2.2:5000","[2001:db8::1]:5000"]}}`, 0},
		"have":                          {`{"Whisper":{"Kind":"have","IDs":["a","b"]}}`, 0},
		"want":                          {`{"Whisper":{"Kind":"want","IDs":["a"]}}`, 0},
		"want, old":                     {`{"Whisper":{"Kind":"want","IDs":["a"],"Old":true}}`, 0},
		"prune":                         {`{"Whisper":{"Kind":"prune"}}`, 0},
		"part":                          {`{"Whisper":{"Kind":"part","Know":["192.0.2.2:5000"]}}`, 0},
		"a list of 128":                 {`{"Whisper":{"Kind":"have","IDs":["a"` + strings.Repeat(`,"a"`, 127) + `]}}`, 0},
		"a list of 129":                 {`{"Whisper":{"Kind":"have","IDs":["a"` + strings.Repeat(`,"a"`, 128) + `]}}`, message.Invalid},
		"129 places":                    {`{"Whisper":{"Kind":"have","Know":["a"` + strings.Repeat(`,"a"`, 128) + `]}}`, message.Invalid},
		"have an id of 129 bytes":       {`{"Whisper":{"Kind":"have","IDs":["` + strings.Repeat("i", 129) + `"]}}`, message.Invalid},
		"hello at a place of 129 bytes": {`{"Whisper":{"Kind":"hello","Addr":"` + strings.Repeat("i", 129) + `"}}`, message.Invalid},
	} {
		set.Offer(t, "objects/object", name, given{Text: c.text}, c.want)
	}
	for name, text := range map[string]string{
		"as it came":               `{"ID":"a","Addr":"192.0.2.1:5","Body":"x","omitempty":"phil","Nick":"phil","Timestamp":7}`,
		"with what nobody knows":   `{"ID":"a","Body":"x","Mood":{"x":[1,2,null]},"omitempty":""}`,
		"with the nickname's keys": `{"ID":"a","Body":"x","Nick":"phil"}`,
		"and the other one":        `{"ID":"a","Body":"x","omitempty":"phil"}`,
		"without our extension":    `{"ID":"a","Body":"x","Whisper":{"Chain":"AA==","Signature":"AA=="},"Timestamp":7}`,
	} {
		set.Offer(t, "objects/passed_on", name, given{Text: text}, 0)
	}
	for name, c := range map[string]struct {
		text string
		want message.Code
	}{
		"nothing": {"", 0}, "white space": {" \r\n\t", 0}, "one to a line": {"{\"ID\":\"a\"}\n{\"ID\":\"b\"}\n", 0}, "nothing between": {`{"ID":"a"}{"ID":"}"}`, 0},
		"what is no object": {`7 "x"[null]{}`, 0}, "a brace": {"}", message.Invalid}, "a key without a value": {`{"ID"}`, message.Invalid}, "cut": {`{} {"ID":"a"`, message.Invalid},
		"HTTP": {"GET / HTTP/1.1\r\n\r\n", message.Invalid}, "a comma too many": {`{"ID":"a",}`, message.Invalid}, "words of JavaScript": {`{"Timestamp":NaN}`, message.Invalid},
	} {
		set.Offer(t, "objects/stream", name, given{Text: c.text}, c.want)
	}
}

// TestMarkVectors has the ids of our kind.
func TestMarkVectors(t *testing.T) {
	set := published()
	const addr = "192.0.2.1:5000"
	id, err := ownID(strings.NewReader("01234"), addr)
	if err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string]given{
		"ours":                   {ID: id, Addr: addr},
		"ours in capitals":       {ID: strings.ToUpper(id), Addr: addr},
		"ours at another place":  {ID: id, Addr: "192.0.2.1:5001"},
		"the original's":         {ID: "75a49addd5224d8a", Addr: addr},
		"shorter":                {ID: id[2:], Addr: addr},
		"longer":                 {ID: id + "00", Addr: addr},
		"no hexadecimal digits":  {ID: "g" + id[1:], Addr: addr},
		"nothing":                {},
		"ours without a place":   {ID: hex.EncodeToString(append([]byte("abcde"), mark([]byte("abcde"), "")...))},
		"ours at an IPv6 place":  {ID: hex.EncodeToString(append([]byte{0, 255, 1, 2, 3}, mark([]byte{0, 255, 1, 2, 3}, "[2001:db8::1]:5000")...)), Addr: "[2001:db8::1]:5000"},
		"the last digit another": {ID: id[:15] + strconv.FormatInt((int64(id[15])&7)^1, 16), Addr: addr},
	} {
		set.Offer(t, "ids/marked", name, in, 0)
	}
}

// TestSignatureVectors has signed messages, sound and tampered with.
func TestSignatureVectors(t *testing.T) {
	set := published()
	if !set.Update {
		return
	}
	ann, eve := newKeyring(t), newKeyring(t)
	sign, err := newProver(ann)
	if err != nil {
		t.Fatal(err)
	}
	other, err := newProver(eve)
	if err != nil {
		t.Fatal(err)
	}
	offer := func(name string, m Message, change func(*object), want message.Code) {
		t.Helper()
		o := newObject(m)
		o.ours = sign.sign(m)
		change(o)
		if o.ours != nil {
			o.set(keyOurs, o.ours)
		}
		set.Offer(t, "signatures/signed", name, given{Text: strings.TrimSpace(string(o.bytes(true)))}, want)
	}
	m := Message{ID: "75a49addd5224d8a", Addr: "192.0.2.1:5000", Nick: "ann", Body: "mine, ü", Timestamp: 1795243332}
	file := m
	file.FileType, file.File = "text/plain", []byte("file")
	early := m
	early.Timestamp = -1
	none := func(*object) {}
	offer("a message", m, none, 0)
	offer("a file", file, none, 0)
	offer("before 1970", early, none, 0)
	offer("without a nickname", Message{ID: "a", Body: "x"}, none, 0)
	offer("not signed", m, func(o *object) { o.ours = nil }, 0)
	for name, change := range map[string]func(o *object){
		"another body":        func(o *object) { o.set(keyBody, "yours") },
		"another nickname":    func(o *object) { o.set(keyNick, "eve") },
		"another time":        func(o *object) { o.set(keyTimestamp, 7) },
		"another file":        func(o *object) { o.set(keyFile, "AAAA") },
		"another file's type": func(o *object) { o.set(keyFileType, "image/png") },
		"another id":          func(o *object) { o.set(keyID, "x") },
		"another place":       func(o *object) { o.set(keyAddr, "192.0.2.1:5001") },
		"parts moved":         func(o *object) { o.set(keyNick, "an"); o.set(keyBody, "nmine, ü") },
		"another identity":    func(o *object) { o.ours.Chain = other.sign(Message{}).Chain },
		"another key":         func(o *object) { e := other.sign(m); e.Chain = o.ours.Chain; o.ours = e },
		"no chain":            func(o *object) { o.ours.Chain = nil },
		"no cards":            func(o *object) { o.ours.Chain = []byte{0x0a} },
		"half a signature":    func(o *object) { o.ours.Signature = o.ours.Signature[:96] },
		"one byte too many":   func(o *object) { o.ours.Signature = append(o.ours.Signature, 0) },
		"of another kind": func(o *object) {
			o.ours.Signature = append(ann.Signer.Public().Bytes(), ann.Signer.Sign("access", signedBytes(m))...)
		},
	} {
		offer(name, m, change, message.BadSignature)
	}
	in := given{Text: `{"ID":"a","Body":"x","Whisper":{"Chain":"` + base64.StdEncoding.EncodeToString([]byte("x")) + `","Signature":7}}`}
	set.Offer(t, "signatures/signed", "a signature that is a number", in, message.Invalid)
}
