package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"google.golang.org/protobuf/proto"

	"airdispatch/prove/tricks"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// cases are those in a room.
func (v *chatter) cases() (out []attack) {
	add := func(name string, do func(ctx context.Context) error) {
		out = append(out, attack{"whisper: " + name, do})
	}
	for name, text := range map[string]string{
		"object": strings.TrimSpace(string(object("75a49addd5224d8a", "127.0.0.1:9", "mallory", never))), "hello": `{"Whisper":{"Kind":"hello","Addr":"127.0.0.1:9","IDs":["` + never + `"],"Know":["127.0.0.1:9"]}}`,
		"file": strings.TrimSpace(string(object("75a49addd5224d8b", "127.0.0.1:9", "mallory", never, "FileType", "text/plain", "FileContents", "aGVsbG8="))),
	} {
		for n := range text {
			add(fmt.Sprintf("%s cut at %d", name, n), func(ctx context.Context) error { return v.cut(ctx, text[:n], n) })
		}
	}
	for name, text := range noJSON() {
		add(name, func(ctx context.Context) error { return v.over(ctx, text) })
	}
	for name, text := range v.malformed() {
		add(name, func(ctx context.Context) error { return v.goesOn(ctx, text) })
	}
	for name, text := range controls() {
		add("among our kind: "+name, func(ctx context.Context) error { return v.goesOn(ctx, text) })
	}
	for name, text := range map[string]string{
		"a flood": flooding(300, `{"Addr":"ADDR","Body":"flood"}`), "a flood in many names": flooding(600, `{"Addr":"127.0.0.1:%d","Body":"flood"}`), "a flood of what is none": flooding(600, `{"Addr":%d}`), "a flood of our kind": `{"Whisper":{"Kind":"hello","Addr":"ADDR"}}` + flooding(6000, `{"Whisper":{"Kind":"prune"}}`),
		"a flood of one id": flooding(600, `{"ID":"one","Addr":"ADDR","Body":"flood"}`),
	} {
		add(name, func(ctx context.Context) error { return v.over(ctx, text) })
	}
	for n, trick := range tricks.Texts() {
		for what, make := range map[string]func(addr, word string) []byte{
			"body": func(addr, word string) []byte { return object("", addr, "mallory", trick+" "+word) }, "nickname": func(addr, word string) []byte { return object("", addr, trick, word) },
			"action": func(addr, word string) []byte { return object("", addr, trick, "/me "+trick+" "+word) }, "file": func(addr, word string) []byte {
				return object("", addr, "m", word+trick, "FileType", trick, "FileContents", "aGVsbG8=")
			},
		} {
			add(fmt.Sprintf("trick %d as %s", n, what), func(ctx context.Context) error { return v.shown(ctx, make) })
		}
	}
	add("an address that is a trick", func(ctx context.Context) error {
		return v.shown(ctx, func(_, word string) []byte { return object("", "\x1b[2J\u202e:9", "", word) })
	})
	for name, b := range v.datagrams() {
		add("datagram: "+name, func(context.Context) error { return v.throws(b) })
	}
	add("500 datagrams", func(context.Context) error {
		var many [][]byte
		for n := range 500 {
			many = append(many, fmt.Appendf(nil, "127.0.0.1:%d", n%7+1))
		}
		return v.throws(many...)
	})
	return append(out, v.pages()...)
}

// flooding is a text so often; a number in it goes up.
func flooding(n int, text string) string {
	var b strings.Builder
	for i := range n {
		if strings.Contains(text, "%d") {
			fmt.Fprintf(&b, text+"\n", i+1)
		} else {
			b.WriteString(text + "\n")
		}
	}
	return b.String()
}

// noJSON is what costs the connection.
func noJSON() map[string]string {
	return map[string]string{
		"no JSON": never, "half an object and another": `{"ID":"a","Body":"` + never + `{"ID":"b"}` + "\n", "objects, 20,000 deep": strings.Repeat(`{"a":`, 20_000), "lists, 100,000 deep": strings.Repeat("[", 100_000), "an object of 2 MiB": `{"ID":"big","Body":"` + strings.Repeat(never, 2<<20/len(never)) + `"}`,
		"a list of 2 MiB": "[" + strings.Repeat("1,", 1<<20), "a key of 2 MiB": `{"` + strings.Repeat("k", 2<<20), "zeros": strings.Repeat("\x00", 1000), "an odd escape": `{"Body":"\x` + never + `"}`, "a comment": `/* {"Body":"` + never + `"} */`, "a comma": ",", "closing ones": "}}}}",
		"HTTP": "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "TLS": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("a", 500), "a byte order mark": "\ufeff" + `{"Body":"` + never + `"}`, "a word": "nul}", "single quotes": "{'Body':'" + never + "'}",
	}
}

// malformed is what is dropped, and costs nothing else.
func (v *chatter) malformed() map[string]string {
	named := func(more string) string {
		return `{"ID":"` + fmt.Sprintf("%x", random(8)) + `","Addr":"ADDR","Body":"` + never + `",` + more + `}`
	}
	k := v.a.healthy.Keys
	chain, _ := proto.Marshal(&wirev1.Identity{Cards: k.Chain.Signed(0)}) // it was signed, so it has a form
	signed := func(body, chain, signature string) string {
		return `{"ID":"` + fmt.Sprintf("%x", random(8)) + `","Addr":"ADDR","Body":"` + body + `","Whisper":{"Chain":"` + chain + `","Signature":"` + signature + `"}}`
	}
	b64 := base64.StdEncoding.EncodeToString
	return map[string]string{
		"null": "null", "a list": `["` + never + `"]`, "a text": `"` + never + `"`, "a number": "7", "truth": "true", "nothing in it": "{}", "lists, 9,000 deep": `{"x":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`, "objects at once, nothing between": `{}{}{}[]null{}`, "spaces": strings.Repeat(" \n\t\r", 1000),
		"numbers for texts": `{"ID":7,"Body":{"x":1},"Addr":[],"Timestamp":"now"}`, "a body that is a list": `{"ID":"a","Addr":"ADDR","Body":["` + never + `"]}`, "no body": `{"ID":"nobody","Addr":"ADDR"}`, "an empty body": `{"ID":"nobody","Addr":"ADDR","Body":""}`, "a time of 1e999": named(`"Timestamp":1e999`), "a time of 2^64": named(`"Timestamp":18446744073709551616`), "a time in words": named(`"Timestamp":"now"`), "a time of 1.5": named(`"Timestamp":1.5`),
		"65 members": named(strings.TrimSuffix(members(70), ",")), "50,000 members": named(strings.TrimSuffix(members(50_000), ",")), "an id of 129 bytes": `{"ID":"` + strings.Repeat("a", 129) + `","Addr":"ADDR","Body":"` + never + `"}`, "an address of 129 bytes": `{"ID":"x","Addr":"` + strings.Repeat("a", 129) + `","Body":"` + never + `"}`, "a false hash": `{"ID":"hash:sha256:` + strings.Repeat("0", 64) + `","Addr":"ADDR","Body":"` + never + `"}`, "half a hash": `{"ID":"hash:sha256:","Addr":"ADDR","Body":"` + never + `"}`,
		"a file that is none": named(`"FileContents":"!!!!"`), "a file of a number": named(`"FileContents":7`), "a file that is too large": named(`"FileContents":"` + strings.Repeat("QUFB", 175_000) + `"`), "an extension that is none": named(`"Whisper":7`), "an extension that is a list": named(`"Whisper":[]`), "a signature of no base64": signed(never, "!!", "!!"),
		"a nickname of 100,000": `{"ID":"` + fmt.Sprintf("%x", random(8)) + `","Addr":"ADDR","Body":"long","Nick":"` + strings.Repeat("n", 100_000) + `"}`, "bad text": `{"ID":"` + fmt.Sprintf("%x", random(8)) + `","Addr":"ADDR","Body":"` + "\xff\xfe\xc0" + `"}`, "a lone surrogate": `{"ID":"` + fmt.Sprintf("%x", random(8)) + `","Addr":"ADDR","Body":"\ud800"}`, "a key twice": `{"ID":"a","Body":"` + never + `","Body":""}`,
		"a false signature": signed("forged", b64(chain), b64(random(97))), "a signature of nothing": signed("forged", "", ""), "a chain of noise": signed("forged", b64(random(500)), b64(random(97))), "a chain of 500 KiB": signed("forged", b64(make([]byte, 500<<10)), b64(random(97))), "a short signature": signed("forged", b64(chain), b64(random(5))), "half a chain": signed("forged", b64(chain[:len(chain)/2]), b64(random(97))),
	}
}

// members are that many members of an object.
func members(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"m%d":1,`, i)
	}
	return b.String()
}

// controls are what our kind says to each other, as it must not.
func controls() map[string]string {
	list := func(n int, text string) string { return strings.Repeat(`"`+text+`",`, n-1) + `"` + text + `"` }
	says := func(more string) string { return `{"Whisper":{"Kind":` + more + `}}` }
	hello := says(`"hello","Addr":"ADDR"`)
	return map[string]string{
		"a kind that is none": says(`"take over"`), "a kind of a number": says("7"), "no kind": says(`""`), "a kind of bad text": says("\"\xff\""), "a hello of nowhere": says(`"hello"`), "a hello of somebody else's host": says(`"hello","Addr":"10.0.0.1:9"`), "a hello of a name": says(`"hello","Addr":"localhost:9"`), "a hello of an escape": says(`"hello","Addr":"\u001b[2J"`), "a hello of port 0": says(`"hello","Addr":"127.0.0.1:0"`),
		"two hellos": hello + says(`"hello","Addr":"127.0.0.1:8"`), "100 hellos": strings.Repeat(hello, 100), "a hello, 128 ids": says(`"hello","Addr":"ADDR","IDs":[` + list(128, "unknown") + `]`), "a hello, 129 ids": says(`"hello","Addr":"ADDR","IDs":[` + list(129, "x") + `]`), "a hello, ids of 129 bytes": says(`"hello","Addr":"ADDR","IDs":["` + strings.Repeat("a", 129) + `"]`), "a hello, 128 peers on the inside": says(`"hello","Addr":"ADDR","Know":[` + list(128, "10.0.0.1:22") + `]`), "a hello, odd peers": says(`"hello","Addr":"ADDR","Know":["","x",":0","[::]:1","127.0.0.1:99999","\u202e","255.255.255.255:1","224.0.0.1:1"]`),
		"have what nobody has": hello + strings.Repeat(says(`"have","IDs":[`+list(128, "nowhere")+`]`), 20), "have 1,000 ids": hello + haves(), "want what nobody has": hello + says(`"want","IDs":[`+list(128, "nowhere")+`]`), "want everything, old": hello + says(`"want","Old":true,"IDs":[]`), "want ids of numbers": hello + says(`"want","IDs":7`), "want, before a hello": says(`"want","IDs":["x"]`), "prune without end": hello + strings.Repeat(says(`"prune"`), 100),
		"part to the inside": hello + says(`"part","Know":["10.0.0.1:22","169.254.169.254:80"]`), "part, before a hello": says(`"part","Know":["127.0.0.1:9"]`), "parts": hello + strings.Repeat(says(`"part","Know":[]`), 100), "100,000 ids": says(`"have","IDs":[` + list(100_000, "x") + `]`), "a chain of numbers": says(`"hello","Addr":"ADDR","Chain":7`),
	}
}

// haves are ids that nobody has, 10 at a time.
func haves() string {
	var b strings.Builder
	for n := range 100 {
		fmt.Fprintf(&b, `{"Whisper":{"Kind":"have","IDs":["a%[1]d","b%[1]d","c%[1]d","d%[1]d","e%[1]d","f%[1]d","g%[1]d","h%[1]d","i%[1]d","j%[1]d"]}}`, n)
	}
	return b.String()
}

// datagrams are those that announce nobody, or somebody else.
func (v *chatter) datagrams() map[string][]byte {
	all := map[string][]byte{
		"nothing": {}, "noise": random(60), "60,000 bytes": random(60_000), "zeros": make([]byte, 64), "65 bytes": []byte(strings.Repeat("1", 65)), "a name": []byte("localhost:9"), "no port": []byte("127.0.0.1"), "port 0": []byte("127.0.0.1:0"), "port 65,536": []byte("127.0.0.1:65536"), "another host": []byte("10.0.0.1:22"), "a service": []byte("169.254.169.254:80"), "everybody": []byte("255.255.255.255:9"),
		"a group": []byte("224.0.0.1:9"), "any": []byte("0.0.0.0:9"), "itself": []byte(v.port.address), "IPv6": []byte("[::1]:9"), "a zone": []byte("[fe80::1%lo]:9"), "a zone of odd letters": []byte("[fe80::1%\x1b[2J]:9"), "mapped": []byte("[::ffff:127.0.0.1]:9"), "octal": []byte("0177.0.0.1:9"), "a space": []byte(" 127.0.0.1:9"), "a line feed": []byte("127.0.0.1:9\n"), "a trick": []byte("\u202e127.0.0.1:9"), "an object": object("", "127.0.0.1:9", "m", never)[:60], "two": []byte("127.0.0.1:9127.0.0.1:8"),
	}
	for n := range "127.0.0.1:9999" {
		all[fmt.Sprintf("cut at %d", n)] = []byte("127.0.0.1:9999")[:n]
	}
	return all
}

// pages are cases against the page.
func (v *chatter) pages() (out []attack) {
	not := func(name string, request []byte) {
		out = append(out, attack{"whisper page: " + name, func(ctx context.Context) error {
			status, err := v.a.once(ctx, v.page, request)
			if status == http.StatusSeeOther {
				err = errors.New("a form was taken")
			}
			return errors.Join(err, refused(status))
		}})
	}
	form := v.get("POST", "/say", "body="+never)
	for n := range form {
		out = append(out, attack{fmt.Sprintf("whisper page: form cut at %d", n), func(ctx context.Context) error {
			status, err := v.a.sends(ctx, v.page, n, form[:n])
			if status == http.StatusSeeOther {
				err = errors.New("half a form was taken")
			}
			return errors.Join(err, refused(status))
		}})
	}
	for name, header := range map[string]string{"another origin": "Origin: http://evil.example", "no origin": "Origin: null", "another site": "Sec-Fetch-Site: cross-site", "the same site": "Sec-Fetch-Site: same-site"} {
		for _, path := range []string{"/say", "/peers"} {
			not(name+" to "+path, v.get("POST", path, "body="+never+"&do=connect&addr=127.0.0.1:9", header))
		}
	}
	for _, host := range []string{"evil.example", "127.0.0.1", "localhost", "127.0.0.1:1", "0.0.0.0", "[::1]", v.page.address + ".", "x@" + v.page.address, strings.ToUpper("localhost") + ":1", v.page.address + ":1"} {
		not("host "+host, []byte(strings.Replace(string(v.get("GET", "/", "")), v.page.address, host, 1)))
		not("form, host "+host, []byte(strings.Replace(string(form), v.page.address, host, 1)))
	}
	for name, body := range map[string]string{
		"no body": "x=y", "an empty body": "body=", "spaces": "body=+++%0a", "half an escape": "body=%", "a body of 17 KiB": "body=" + strings.Repeat("a", 17<<10), "a body of a mebibyte": "body=" + strings.Repeat("a", 1<<20), "300,000 fields": strings.Repeat("a=b&", 300_000), "a semicolon": "body=a;b",
	} {
		not("form: "+name, v.get("POST", "/say", body))
	}
	for name, body := range map[string]string{
		"nothing": "do=", "what is none": "do=eval&addr=127.0.0.1:9", "connect to nowhere": "do=connect&addr=", "connect to no port": "do=connect&addr=127.0.0.1", "connect to an escape": "do=connect&addr=%1b[2J", "connect to a mebibyte": "do=connect&addr=" + strings.Repeat("a", 1<<20),
	} {
		not("peers: "+name, v.get("POST", "/peers", body))
	}
	for _, path := range []string{"/page/../../etc/passwd", "/page/..%2f..%2fetc/passwd", "/page/%2e%2e/server.go", "/../", "/page/x", "/debug/pprof/", "/metrics", "/" + strings.Repeat("a", 100_000), "/page/%00", "//evil.example/", "/live/../x", "*"} {
		for _, method := range []string{"GET", "DELETE", "PUT", "POST"} {
			not(method+" "+path[:min(len(path), 40)], v.get(method, path, ""))
		}
	}
	out = append(out, v.a.oddRequests([]target{v.page})...)
	out = append(out, v.a.refusing(v.page, strange("/live", v.page.address))...)
	out = append(out, v.a.refusing(v.page, map[string]string{"another origin": upgrade("/live", v.page.address, "Origin: http://evil.example"), "another host": upgrade("/live", "evil.example:80"), "no origin": upgrade("/live", v.page.address, "Origin: null")})...)
	for name, text := range violations(1<<20, opText) {
		out = append(out, attack{"whisper page: live: " + name, func(ctx context.Context) error { return v.live(ctx, text) }})
	}
	for name, text := range tiresome(opText) {
		out = append(out, attack{"whisper page: live: " + name, func(ctx context.Context) error { return v.live(ctx, text) }})
	}
	return append(out, attack{"whisper page: what it shows", v.told})
}

// live says something on the page's socket: it ends, or goes on.
func (v *chatter) live(ctx context.Context, text string) error {
	c, err := v.a.plain(ctx, v.page)
	if err != nil {
		return err
	}
	s, err := sit(c, upgrade("/live", v.page.address))
	if errors.Is(err, errNoSocket) {
		return nil // there may be sixteen
	}
	if err != nil {
		return err
	}
	_, err = s.goes(text)
	return err
}
