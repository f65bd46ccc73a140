package passer_test

import (
	"bytes"
	"encoding/gob"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"testing"

	"airdispatch/crypto"
	"airdispatch/internal/vectors"
	"airdispatch/message"
	"airdispatch/passer"
)

var update = flag.Bool("update", false, "add new test vectors")

// given is what the operations of the vectors are given. Where Size is there, zeros follow Bytes up to it.
type given struct {
	Bytes []byte `json:"bytes,omitempty"`
	Size  int    `json:"size,omitempty"`
	Text  string `json:"text,omitempty"`
	Name  string `json:"name,omitempty"`
}

// result is what an operation gives.
type result = map[string]any

func published() vectors.Set[given] {
	return vectors.Set[given]{Dir: "../testdata/vectors/passer", Update: *update, Ops: map[string]func(testing.TB, given) (any, error){
		"gob": func(_ testing.TB, in given) (any, error) {
			return frames(passer.NewGob(bytes.NewReader(append(bytes.Clone(in.Bytes), make([]byte, max(0, in.Size-len(in.Bytes)))...))))
		},
		"json": func(_ testing.TB, in given) (any, error) { return frames(passer.NewJSON(strings.NewReader(in.Text))) },
		"told": func(_ testing.TB, in given) (any, error) {
			framing, err := passer.Tell(in.Bytes)
			return result{"framing": framing}, err
		},
		"check_name": func(_ testing.TB, in given) (any, error) { return result{}, passer.CheckName(in.Name) },
	}}
}

// TestVectors: every published vector holds.
func TestVectors(t *testing.T) { published().Check(t, 100) }

// frames reads all messages of a direction.
func frames(in passer.Framing) (any, error) {
	out := []result{}
	for {
		m, err := in.ReadMessage()
		switch {
		case errors.Is(err, io.EOF):
			return result{"messages": out}, nil
		case errors.Is(err, message.TooLarge):
			return nil, err
		case err != nil:
			return nil, fmt.Errorf("%w: %w", message.Invalid, err)
		}
		sum := crypto.Sum(m.Data)
		out = append(out, result{"meta": m.Meta, "other_client": m.OtherClient, "connection_id": m.ConnectionID, "size": len(m.Data), "sha256": hex.EncodeToString(sum[:])})
	}
}

// kinds are messages of every kind.
func kinds() []Message {
	return []Message{
		{auth, "clientA", "", []byte("secret")}, {authOk, "clientA", "", nil}, {authFailure, "clientA", "", []byte("wrong name or secret")},
		{connSyn, "clientB", "clientA:1", []byte("chat")}, {connAck, "clientB", "clientA:1", nil}, {none, "clientB", "clientA:1", []byte{0, 1, 127, 128, 255}},
		{connClosed, "clientB", "clientA:1", nil}, {noSuchConnection, "clientB", "clientA:1", nil}, {unknownProto, "clientB", "clientA:1", nil},
		{clientClosed, "clientB", "", nil}, {wat, "", "", nil}, {255, "é", strings.Repeat("i", 128), nil}, {},
	}
}

// TestGobVectors has what encoding/gob writes, what is written here, and what is refused.
func TestGobVectors(t *testing.T) {
	set := published()
	var theirs, own bytes.Buffer
	e, out := gob.NewEncoder(&theirs), passer.NewGob(nil)
	var first []byte
	for _, m := range kinds() {
		var one bytes.Buffer
		must(t, gob.NewEncoder(&one).Encode(m))
		set.Offer(t, "gob/gob", fmt.Sprintf("kind %d to %q", m.Meta, m.OtherClient), given{Bytes: one.Bytes()}, 0)
		must(t, e.Encode(m))
		own.Write(out.AppendMessage(nil, ours(m)))
		if first == nil {
			first = one.Bytes()
		}
	}
	set.Offer(t, "gob/gob", "all kinds by encoding/gob", given{Bytes: theirs.Bytes()}, 0)
	set.Offer(t, "gob/gob", "all kinds as this server writes them", given{Bytes: own.Bytes()}, 0)
	set.Offer(t, "gob/gob", "nothing", given{}, 0)
	definition := int(first[0]) + 1
	set.Offer(t, "gob/gob", "a definition and nothing else", given{Bytes: first[:definition]}, 0)
	type Packet struct {
		Meta         uint8
		OtherClient  string
		ConnectionID string
		Data         []byte
	}
	type Message2 struct {
		Meta         uint8
		OtherClient  string
		ConnectionID string
		Data         []byte
		More         int
	}
	type signed struct {
		Meta         int8
		OtherClient  string
		ConnectionID string
		Data         []byte
	}
	type order struct {
		OtherClient  string
		Meta         uint8
		ConnectionID string
		Data         []byte
	}
	type three struct {
		Meta         uint8
		OtherClient  string
		ConnectionID string
	}
	type aNameOfMoreThanThirtyTwoBytesInAll struct {
		Meta         uint8
		OtherClient  string
		ConnectionID string
		Data         []byte
	}
	var wide bytes.Buffer
	must(t, gob.NewEncoder(&wide).Encode(Packet{8, "c", "", nil}))
	set.Offer(t, "gob/gob", "a type of another name", given{Bytes: wide.Bytes()}, 0)
	for name, v := range map[string]any{
		"a field more": Message2{}, "a signed kind": signed{Meta: 1}, "another order": order{}, "a field less": three{}, "a long name": aNameOfMoreThanThirtyTwoBytesInAll{},
		"a number": 7, "text": "text", "a map": map[string]int{"a": 1}, "a list": []Message{{}},
	} {
		var b bytes.Buffer
		must(t, gob.NewEncoder(&b).Encode(v))
		set.Offer(t, "gob/gob", name, given{Bytes: b.Bytes()}, message.Invalid)
	}
	var two bytes.Buffer
	again := gob.NewEncoder(&two)
	must(t, errors.Join(again.Encode(Message{Meta: auth}), again.Encode(signed{Meta: 1})))
	frame := func(b ...byte) []byte { return append(append(bytes.Clone(first[:definition]), byte(len(b))), b...) }
	for name, c := range map[string]struct {
		in   given
		want message.Code
	}{
		"a second definition":        {given{Bytes: two.Bytes()}, message.Invalid},
		"a value before a type":      {given{Bytes: first[definition:]}, message.Invalid},
		"cut in a definition":        {given{Bytes: first[:20]}, message.Invalid},
		"cut in a value":             {given{Bytes: first[:len(first)-1]}, message.Invalid},
		"cut in a length":            {given{Bytes: append(bytes.Clone(first), 0xfe, 1)}, message.Invalid},
		"a length of nine bytes":     {given{Bytes: append(bytes.Clone(first), 0xf7)}, message.Invalid},
		"a length of too much":       {given{Bytes: append(bytes.Clone(first), 0xfc, 0x7f, 0xff, 0xff, 0xff)}, message.TooLarge},
		"a value of another type":    {given{Bytes: frame(0xff, 0x82, 1, 1, 0)}, message.Invalid},
		"no end of fields":           {given{Bytes: frame(0xff, 0x80+0, 1, 1)}, message.Invalid},
		"more behind the end":        {given{Bytes: frame(0xff, 0x80, 1, 1, 0, 0)}, message.Invalid},
		"a fifth field":              {given{Bytes: frame(0xff, 0x80, 5, 1, 0)}, message.Invalid},
		"a kind of 256":              {given{Bytes: frame(0xff, 0x80, 1, 0xfe, 1, 0, 0)}, message.Invalid},
		"a length beyond the value":  {given{Bytes: frame(0xff, 0x80, 2, 9, 'x', 0)}, message.Invalid},
		"a name that is no UTF-8":    {given{Bytes: frame(0xff, 0x80, 2, 1, 0xff, 0)}, message.Invalid},
		"a name that does not show":  {given{Bytes: frame(0xff, 0x80, 2, 1, 7, 0)}, message.Invalid},
		"a name of 65 bytes":         {given{Bytes: frame(append(append([]byte{0xff, 0x80, 2, 65}, strings.Repeat("n", 65)...), 0)...)}, message.TooLarge},
		"the most data":              {given{Bytes: append(bytes.Clone(first[:definition]), 0xfd, 0x10, 0, 8, 0xff, 0x80, 4, 0xfd, 0x10, 0, 0), Size: definition + 4 + 8 + 1<<20}, 0},
		"data of one byte too many":  {given{Bytes: append(bytes.Clone(first[:definition]), 0xfd, 0x10, 0, 9, 0xff, 0x80, 4, 0xfd, 0x10, 0, 1), Size: definition + 4 + 9 + 1<<20}, message.TooLarge},
		"a definition of 123 bytes":  {given{Bytes: []byte{0x7b}, Size: 124}, message.Invalid},
		"kinds in more bytes":        {given{Bytes: frame(0xff, 0x80, 1, 0xfe, 0, 8, 0)}, 0},
		"fields that are zero, said": {given{Bytes: frame(0xff, 0x80, 1, 0, 1, 0, 1, 0, 1, 0, 0)}, 0},
	} {
		set.Offer(t, "gob/gob", name, c.in, c.want)
	}
}

// TestJSONVectors has the other framing, what tells both apart, and names.
func TestJSONVectors(t *testing.T) {
	set := published()
	var own bytes.Buffer
	out := passer.NewJSON(nil)
	for _, m := range kinds() {
		b := out.AppendMessage(nil, ours(m))
		set.Offer(t, "json/json", fmt.Sprintf("kind %d to %q", m.Meta, m.OtherClient), given{Text: string(b)}, 0)
		own.Write(b)
	}
	for name, c := range map[string]struct {
		text string
		want message.Code
	}{
		"all kinds":               {own.String(), 0},
		"nothing":                 {"", 0},
		"white space":             {" \r\n\t", 0},
		"nothing between":         {`{}{"Meta":1} {"Data":null}`, 0},
		"spaces inside":           {"{ \"Meta\" : 8 ,\n\"OtherClient\" : \"c\" }", 0},
		"braces in a name":        {`{"OtherClient":"a}\"{[é"}`, 0},
		"a letter in its number":  {`{"OtherClient":"\u00e9"}`, 0},
		"members that are null":   {`{"Meta":null,"OtherClient":null,"ConnectionID":null,"Data":null}`, 0},
		"no data":                 {`{"Data":""}`, 0},
		"a kind of 256":           {`{"Meta":256}`, message.Invalid},
		"a kind below zero":       {`{"Meta":-1}`, message.Invalid},
		"a kind with a fraction":  {`{"Meta":1.5}`, message.Invalid},
		"a kind that is text":     {`{"Meta":"8"}`, message.Invalid},
		"an object inside":        {`{"Meta":{}}`, message.Invalid},
		"a list inside":           {`{"Data":[1]}`, message.Invalid},
		"a name that is a number": {`{"OtherClient":7}`, message.Invalid},
		"no base64":               {`{"Data":"!"}`, message.Invalid},
		"base64 without its end":  {`{"Data":"Mw"}`, message.Invalid},
		"another member":          {`{"Other":1}`, message.Invalid},
		"what does not show":      {`{"OtherClient":"\u0007"}`, message.Invalid},
		"a line separator":        {`{"ConnectionID":"a\u2028"}`, message.Invalid},
		"a name of 65 bytes":      {`{"OtherClient":"` + strings.Repeat("n", 65) + `"}`, message.TooLarge},
		"an id of 129 bytes":      {`{"ConnectionID":"` + strings.Repeat("n", 129) + `"}`, message.TooLarge},
		"a list":                  {`[]`, message.Invalid},
		"nonsense":                {`nonsense`, message.Invalid},
		"cut":                     {`{"Meta":8`, message.Invalid},
		"something behind":        {`{} x`, message.Invalid},
		"a comma too many":        {`{"Meta":8,}`, message.Invalid},
	} {
		set.Offer(t, "json/json", name, given{Text: c.text}, c.want)
	}
	var b bytes.Buffer
	must(t, gob.NewEncoder(&b).Encode(Message{}))
	for name, first := range map[string][]byte{"gob": b.Bytes(), "a brace": []byte("{}"), "a line feed": []byte("\n{"), "a space": []byte(" "), "the longest definition": {122}, "HTTP": []byte("GET /"), "zero": {0}, "a high byte": {0xff}} {
		set.Offer(t, "json/told", "told by "+name, given{Bytes: first}, 0)
	}
	for name, c := range map[string]struct {
		name string
		want message.Code
	}{
		"letters": {"clientA", 0}, "other letters": {"é", 0}, "64 bytes": {strings.Repeat("n", 64), 0}, "nothing": {"", message.Invalid}, "65 bytes": {strings.Repeat("n", 65), message.Invalid},
		"a colon": {"a:b", message.Invalid}, "a space": {"a b", message.Invalid}, "a line feed": {"a\n", message.Invalid}, "an address": {(message.Address{1}).String(), message.Invalid},
		"an address in capitals": {strings.ToUpper((message.Address{1}).String()), message.Invalid},
	} {
		set.Offer(t, "names/check_name", name, given{Name: c.name}, c.want)
	}
}
