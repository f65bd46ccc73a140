package message

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"airdispatch/crypto"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// file is a sound attachment.
func file(name string) Attachment {
	return Attachment{Name: name, MediaType: "text/plain", Size: 3, Blob: ID{7}, Key: bytes.Repeat([]byte{9}, 32)}
}

func TestContent(t *testing.T) {
	c := &Content{}
	if body, typ := c.Body(); body != "" || typ != "" || c.Subject() != "" {
		t.Error("empty content says something")
	}
	c.Set(TypeSubject, []byte("one"))
	c.Set(TypeText, []byte("plain"))
	c.Set(TypeSubject, []byte("two\xff"))
	if body, typ := c.Body(); body != "plain" || typ != TypeText || c.Subject() != "two\uFFFD" || len(c.Components) != 2 {
		t.Errorf("got %q, %q", body, c.Subject())
	}
	c.Set(TypeMarkdown, []byte("*rich*"))
	if body, typ := c.Body(); body != "*rich*" || typ != TypeMarkdown {
		t.Errorf("got %q", body)
	}
	c.Set(TypeSubject, nil)
	if _, ok := c.Component(TypeSubject); ok {
		t.Error("a removed subject")
	}
	cite := Citation{Ref: Ref{From: user(t, "ann").Address(), MID: MID{1}}, Version: 3, ID: ID{5}}
	if err := c.Cite(TypeReplyTo, cite); err != nil {
		t.Fatal(err)
	}
	blob := file("")
	c.Components = append(c.Components, Component{Type: "example/data", Data: []byte("not sent"), Blob: &blob})
	c.Attachments = []Attachment{file("a.txt")}
	vec(t, "contents/parse_content", "subject, body, citation, blob and attachment", inputs{Bytes: must(MarshalContent(c))(t)}, 0)
	back := must(ParseContent(must(MarshalContent(c))(t)))(t)
	if got, ok := back.Citation(TypeReplyTo); !ok || got != cite {
		t.Errorf("cites %+v", got)
	}
	if blobs := back.Blobs(); len(blobs) != 2 || blobs[0].Name != "attachment" || blobs[1].Name != "a.txt" || back.Components[len(back.Components)-1].Data != nil {
		t.Errorf("blobs %+v", blobs)
	}
	for name, data := range map[string][]byte{
		"no message": {0xff}, "empty": {}, "half": must(proto.Marshal(&wirev1.Citation{From: cite.Ref.From.Bytes()}))(t),
	} {
		if _, ok := (&Content{Components: []Component{{Type: TypeThread, Data: data}}}).Citation(TypeThread); ok {
			t.Errorf("%s: a citation", name)
		}
	}
	if _, ok := c.Citation(TypeThread); ok {
		t.Error("a citation out of nothing")
	}
}

func TestContentRefusals(t *testing.T) {
	component := func(typ string) *wirev1.Content { return &wirev1.Content{Components: []*wirev1.Component{{Type: typ}}} }
	attached := func(edit func(a *wirev1.Attachment)) *wirev1.Content {
		w := file("a").wire()
		edit(w)
		return &wirev1.Content{Attachments: []*wirev1.Attachment{w}}
	}
	repeat := func(n, m int) *wirev1.Content {
		w := &wirev1.Content{}
		for range n {
			w.Components = append(w.Components, &wirev1.Component{Type: "a/b"})
		}
		for range m {
			w.Attachments = append(w.Attachments, file("a").wire())
		}
		return w
	}
	blobs := repeat(1, MaxBlobs)
	blobs.Components[0].Blob = file("a").wire()
	for name, c := range map[string]struct {
		w    *wirev1.Content
		want Code
	}{
		"no type":             {component(""), Invalid},
		"type without slash":  {component("text"), Invalid},
		"slash at the edge":   {component("/text/"), Invalid},
		"type with a space":   {component("a/b c"), Invalid},
		"type not ASCII":      {component("a/ä"), Invalid},
		"type too long":       {component("a/" + strings.Repeat("b", 99)), Invalid},
		"short key":           {attached(func(a *wirev1.Attachment) { a.Key = a.Key[1:] }), Invalid},
		"short hash":          {attached(func(a *wirev1.Attachment) { a.Hash = a.Hash[1:] }), Invalid},
		"too large":           {attached(func(a *wirev1.Attachment) { a.Size = MaxBlob + 1 }), TooLarge},
		"size of 2^64-1":      {attached(func(a *wirev1.Attachment) { a.Size = 1<<64 - 1 }), TooLarge},
		"257 components":      {repeat(MaxComponents+1, 0), TooLarge},
		"257 attachments":     {repeat(0, MaxComponents+1), TooLarge},
		"257 blobs":           {blobs, TooLarge},
		"a blob of no form":   {&wirev1.Content{Components: []*wirev1.Component{{Type: "a/b", Blob: &wirev1.Attachment{}}}}, Invalid},
		"many fields":         {repeat(maxContentFields+1, 0), TooLarge},
		"as much as there is": {repeat(MaxComponents, MaxComponents), 0},
	} {
		t.Run(name, func(t *testing.T) {
			if name != "as much as there is" {
				vec(t, "contents/parse_content", name, inputs{Bytes: bytesOf(t, c.w)}, c.want)
			}
			c2, err := ParseContent(bytesOf(t, c.w))
			if c.want != 0 || err != nil {
				refused(t, err, c.want)
				return
			}
			if _, err := MarshalContent(c2); err != nil {
				t.Error(err)
			}
		})
	}
	_, err := ParseContent(make([]byte, MaxPayload+1))
	refused(t, err, TooLarge)
	_, err = ParseContent([]byte{0x0a, 5, 1})
	refused(t, err, Invalid)

	// What a reader refuses is not written either.
	bad := file("a")
	bad.Key = nil
	negative := file("a")
	negative.Size = -1
	many := &Content{Components: make([]Component, MaxComponents+1)}
	tooManyBlobs := &Content{Components: []Component{{Type: "a/b", Blob: &bad}}}
	for range MaxBlobs {
		tooManyBlobs.Attachments = append(tooManyBlobs.Attachments, file("a"))
	}
	for name, x := range map[string]struct {
		c    *Content
		want Code
	}{
		"no type": {&Content{Components: []Component{{}}}, Invalid}, "no key": {&Content{Attachments: []Attachment{bad}}, Invalid}, "negative": {&Content{Attachments: []Attachment{negative}}, TooLarge},
		"too many": {many, TooLarge}, "too many blobs": {tooManyBlobs, TooLarge}, "not UTF-8": {&Content{Attachments: []Attachment{{Name: "\xff", Key: bad.Key}}}, Invalid},
		"a name that is not UTF-8": {&Content{Attachments: []Attachment{{Name: "\xff", Key: file("").Key}}}, Invalid},
	} {
		if _, err := MarshalContent(x.c); CodeOf(err) != x.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMediaTypes(t *testing.T) {
	for in, want := range map[string]string{
		"text/plain": "text/plain", "text/html; charset=utf-8": "text/html; charset=utf-8", "": "", "a\r\nSet-Cookie: x": "", "ä/b": "", strings.Repeat("a", 101): "",
	} {
		w := file("a").wire()
		w.MediaType = in
		c := must(ParseContent(must(proto.Marshal(&wirev1.Content{Attachments: []*wirev1.Attachment{w}}))(t)))(t)
		if got := c.Attachments[0].MediaType; got != want {
			t.Errorf("%q became %q", in, got)
		}
	}
}

func TestAttachmentNames(t *testing.T) {
	for in, want := range map[string]string{
		"letter.txt": "letter.txt", "Übung 1.pdf": "Übung 1.pdf", "日本.txt": "日本.txt", "a.tar.gz": "a.tar.gz",
		"": "attachment", ".": "attachment", "..": "attachment", "/": "_", "...": "attachment", " . ": "attachment",
		"/etc/passwd": "passwd", "../../x": "x", `C:\Users\x.doc`: "x.doc", `..\x`: "x", "a/": "a", "C:x": "C_x", "x:stream": "x_stream",
		".bashrc": "bashrc", " x ": "x", "x. .": "x", "-rf": "_-rf", "--help": "_--help",
		"a\x00b": "a_b", "a\nb": "a_b", "a\x1b[31mb": "a_[31mb", "a\u202egpj.exe": "a_gpj.exe", "a\u200bb": "a_b", "\u2066x": "_x", "a\u180eb": "a_b", "a\u3164": "a_", "\xffx": "_x",
		"a*b?c\"d<e>f|g": "a_b_c_d_e_f_g",
		"CON":            "_CON", "nul": "_nul", "com1.txt": "_com1.txt", "LPT9.tar.gz": "_LPT9.tar.gz", "Aux .x": "_Aux .x", "prn.": "_prn", "COM²": "_COM²", "conin$": "_conin$", "clock$.x": "_clock$.x", "nul ": "_nul",
		"com": "com", "com10": "com10", "console": "console", "lptx": "lptx", "com1x.txt": "com1x.txt", "null": "null", "com0": "_com0", ".nul": "_nul",
		strings.Repeat("a", 300): strings.Repeat("a", 200), strings.Repeat("ä", 150): strings.Repeat("ä", 100), strings.Repeat("a", 199) + "ä": strings.Repeat("a", 199), strings.Repeat("a", 199) + ". .x": strings.Repeat("a", 199),
	} {
		if utf8.ValidString(in) {
			vec(t, "contents/attachment_name", "name: "+in, inputs{Text: in}, 0)
		}
		if got := AttachmentName(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestAttachmentKeys(t *testing.T) {
	a := must(NewAttachment("../x", "text/plain", from("file")))(t)
	if a.Name != "x" || len(a.Key) != 32 {
		t.Errorf("got %+v", a)
	}
	sealed := must(must(a.PayloadKey())(t).Seal(crypto.SuiteChaCha, []byte("data")))(t)
	if plain := must(must(a.PayloadKey())(t).Open(crypto.SuiteChaCha, sealed))(t); string(plain) != "data" {
		t.Errorf("got %q", plain)
	}
	_, err := Attachment{Key: a.Key[1:]}.PayloadKey()
	refused(t, err, Invalid)
	_, err = NewAttachment("x", "", strings.NewReader("short"))
	refused(t, err, Internal)
}

func TestKeyrings(t *testing.T) {
	ann := user(t, "ann")
	pem := must(MarshalKeyring(ann.Keyring))(t)
	k := must(ParseKeyring(append([]byte("\n"), append(pem, '\n')...)))(t)
	if k.Address() != ann.Address() || k.Signer.Public() != ann.Signer.Public() || len(k.Rotation) != 1 || len(k.Boxes) != 2 {
		t.Errorf("got %+v", k)
	}
	if !bytes.Contains(pem, []byte(ann.Address().String())) {
		t.Error("a key file does not say whose it is")
	}
	for _, n := range []int{0, 40, 72, 104, 136} {
		if _, err := NewKeyring(RoleUser, make([]byte, 32), testTime(), io.LimitReader(from("x"), int64(n))); (err == nil) != (n >= 128) {
			t.Errorf("from %d random bytes: %v", n, err)
		}
	}
	if _, err := NewKeyring(RoleUser, make([]byte, 31), testTime(), from("x")); err == nil {
		t.Error("a paper key of 31 bytes")
	}
	_, err := NewKeyring(0, make([]byte, 32), testTime(), from("x"))
	refused(t, err, Invalid)
}

func TestKeyringRefusals(t *testing.T) {
	ann, bob := user(t, "ann"), user(t, "bob")
	seed := func(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }
	for name, c := range map[string]struct {
		edit func(w *wirev1.Keyring)
		want Code
	}{
		"no cards":               {func(w *wirev1.Keyring) { w.Cards = nil }, Invalid},
		"a bad signature":        {func(w *wirev1.Keyring) { w.Cards[0].Signature[0] ^= 1 }, BadSignature},
		"no device key":          {func(w *wirev1.Keyring) { w.Signer = nil }, Invalid},
		"another's device key":   {func(w *wirev1.Keyring) { w.Signer = bob.Signer.Seed() }, Invalid},
		"a short rotation key":   {func(w *wirev1.Keyring) { w.Rotation[0] = w.Rotation[0][1:] }, Invalid},
		"another's rotation key": {func(w *wirev1.Keyring) { w.Rotation = append(w.Rotation, seed(1)) }, Invalid},
		"another's box":          {func(w *wirev1.Keyring) { w.Boxes = append(w.Boxes, &wirev1.BoxSeed{Kind: 1, Seed: seed(1)}) }, Invalid},
		"an unknown box":         {func(w *wirev1.Keyring) { w.Boxes[0].Kind = 9 }, Invalid},
		"a short box":            {func(w *wirev1.Keyring) { w.Boxes[0].Seed = nil }, Invalid},
		"too many keys":          {func(w *wirev1.Keyring) { w.Rotation = make([][]byte, maxSeeds+1) }, TooLarge},
		"no rotation key":        {func(w *wirev1.Keyring) { w.Rotation = nil }, 0},
		"no box":                 {func(w *wirev1.Keyring) { w.Boxes = nil }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := &wirev1.Keyring{
				Cards: []*wirev1.Signed{proto.CloneOf(ann.Chain.Signed(0)[0])}, Signer: ann.Signer.Seed(), Rotation: [][]byte{ann.Rotation[0].Seed()},
				Boxes: []*wirev1.BoxSeed{{Kind: 2, Seed: ann.Boxes[0].Seed()}, {Kind: 1, Seed: ann.Boxes[1].Seed()}},
			}
			c.edit(w)
			_, err := ParseKeyring(pemOf(must(proto.Marshal(w))(t)))
			if c.want != 0 || err != nil {
				refused(t, err, c.want)
			}
		})
	}
	good := must(MarshalKeyring(ann.Keyring))(t)
	for name, b := range map[string][]byte{
		"nothing": nil, "no PEM": []byte("hello"), "half": good[:len(good)/2], "something before": append([]byte("x\n"), good...), "something after": append(bytes.Clone(good), 'x'),
		"twice": append(bytes.Clone(good), good...), "another type": bytes.ReplaceAll(good, []byte("KEYRING"), []byte("KEYLESS")), "no message": pemOf([]byte{0xff}),
	} {
		if _, err := ParseKeyring(b); CodeOf(err) != Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := ParseKeyring(make([]byte, maxKeyring+1))
	refused(t, err, TooLarge)
}
