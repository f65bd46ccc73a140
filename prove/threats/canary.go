package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"unicode/utf16"
)

// canary is a text or key that is found nowhere else in the world, and the
// places that may have it.
type canary struct {
	name   string
	secret []byte
	// may reports whether a place may have it; nil is nowhere.
	may func(place string) bool
}

// shortest is the length from which a form of a canary is searched for: what is
// shorter may stand somewhere by chance.
const shortest = 8

// forms are the ways in which bytes are written down, each by its name.
func forms(secret []byte) map[string][]byte {
	out := map[string][]byte{"raw": secret, "hex": []byte(hex.EncodeToString(secret)), "HEX": []byte(strings.ToUpper(hex.EncodeToString(secret)))}
	for name, enc := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
		for shift := range 3 {
			// What stands before and after decides the first and last characters.
			text := enc.EncodeToString(append(make([]byte, shift), secret...))
			from := []int{0, 2, 3}[shift]
			end := len(text)
			if (shift+len(secret))%3 != 0 {
				end--
			}
			out[fmt.Sprintf("%s+%d", name, shift)] = []byte(text[from:end])
		}
	}
	var little, big []byte
	for _, u := range utf16.Encode([]rune(string(secret))) {
		little, big = binary.LittleEndian.AppendUint16(little, u), binary.BigEndian.AppendUint16(big, u)
	}
	out["UTF-16LE"], out["UTF-16BE"] = little, big
	for name, f := range out {
		if len(f) < shortest {
			delete(out, name)
		}
	}
	return out
}

// found reports whether bytes hold a secret in any form.
func found(b, secret []byte) bool {
	for _, f := range forms(secret) {
		if bytes.Contains(b, f) {
			return true
		}
	}
	return false
}

// pattern is one form of one canary.
type pattern struct {
	of   int
	form string
	text []byte
}

// collector holds the canaries, and what the search for them has found.
type collector struct {
	mu       sync.Mutex
	canaries []canary
	patterns map[[shortest]byte][]pattern
	begins   []bool

	hits []hit
	// files are places other than packets, traffic the bytes of packets.
	files   int
	traffic int64
	places  map[string]bool
}

// hit is a canary where it must not be.
type hit struct{ canary, form, place string }

// add adds a canary.
func (c *collector) add(name string, secret []byte, may func(place string) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.canaries = append(c.canaries, canary{name, bytes.Clone(secret), may})
}

// prepare lays all forms out for the search.
func (c *collector) prepare() {
	c.patterns, c.begins, c.places = map[[shortest]byte][]pattern{}, make([]bool, 1<<16), map[string]bool{}
	for n, one := range c.canaries {
		for name, text := range forms(one.secret) {
			k := [shortest]byte(text)
			c.patterns[k] = append(c.patterns[k], pattern{n, name, text})
			c.begins[binary.LittleEndian.Uint16(text)] = true
		}
	}
}

// search looks through the bytes of one place.
func (c *collector) search(place string, b []byte) {
	kind, _, _ := strings.Cut(place, ":")
	c.places[kind] = true
	if kind == "packet" {
		c.traffic += int64(len(b))
	} else {
		c.files++
	}
	for n := 0; n+shortest <= len(b); n++ {
		if !c.begins[binary.LittleEndian.Uint16(b[n:])] {
			continue
		}
		for _, p := range c.patterns[[shortest]byte(b[n:n+shortest])] {
			one := c.canaries[p.of]
			h := hit{one.name, p.form, place}
			if bytes.HasPrefix(b[n:], p.text) && (one.may == nil || !one.may(place)) && !slices.Contains(c.hits, h) {
				c.hits = append(c.hits, h)
			}
		}
	}
}

// tree looks through all files below a directory.
func (c *collector) tree(kind, dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		c.search(kind+":"+path, append(b, path...))
		return nil
	})
}

// tapped looks through what has passed a tap.
func (c *collector) tapped(name string, t *tap) {
	t.mu.Lock()
	all := slices.Clone(t.all)
	t.mu.Unlock()
	for _, e := range all {
		place := "packet:" + name + " " + e.path
		c.search(place, []byte(e.path+fmt.Sprint(e.header)))
		c.search(place, e.said.bytes())
		c.search(place, e.got.bytes())
	}
}

// process looks through what everybody on the machine can see of a process.
func (c *collector) process(pid int) {
	for _, name := range []string{"cmdline", "environ"} {
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name)); err == nil {
			c.search(fmt.Sprintf("process:%d %s", pid, name), b)
		}
	}
}

// of are the hits of one canary.
func (c *collector) of(name string) (out []hit) {
	for _, h := range c.hits {
		if h.canary == name {
			out = append(out, h)
		}
	}
	return out
}
