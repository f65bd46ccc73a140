package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"airdispatch/store/durable"
	"airdispatch/whisper"
)

// whisperJSON is a message of whisper with --json.
type whisperJSON struct {
	ID     string     `json:"id"`
	Addr   string     `json:"addr"`
	Nick   string     `json:"nick"`
	Body   string     `json:"body"`
	Time   *time.Time `json:"time,omitempty"`
	From   string     `json:"from,omitempty"`
	Forged bool       `json:"forged,omitempty"`
	Name   string     `json:"name,omitempty"`
	// Changed is true where from is known here by other keys.
	Changed bool             `json:"changed,omitempty"`
	File    *whisperFileJSON `json:"file,omitempty"`
}

// whisperFileJSON is a file that came with a message of whisper.
type whisperFileJSON struct {
	Type  string `json:"media_type"`
	Size  int    `json:"size"`
	Saved string `json:"saved,omitempty"`
}

// typed is what becomes of a line: a command or a message.
func (t *talk) typed(line string) error {
	command, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	rest = strings.TrimSpace(rest)
	switch {
	case strings.TrimSpace(line) == "":
		return nil
	case !strings.HasPrefix(line, "/") || command == "/me":
		return t.node.Say(line)
	case command == "/peers" && rest == "":
		for _, p := range t.node.Peers() {
			t.tell("%s", visible(peerLine(p)))
		}
		return nil
	case command == "/connect" && rest != "":
		return t.node.Connect(rest)
	case command == "/disconnect" && rest != "":
		t.node.Disconnect(rest)
		return nil
	case command == "/block" && rest != "":
		t.node.Block(rest)
		return nil
	case command == "/send" && rest != "":
		return t.send(rest)
	}
	if slices.Contains([]string{"/connect", "/disconnect", "/block"}, command) {
		return fmt.Errorf("%s HOST:PORT: of whom? /peers shows them", command)
	}
	if command == "/send" {
		return errors.New("/send FILE: which file?")
	}
	return fmt.Errorf("%s is no command; there are /me …, /connect, /disconnect and /block HOST:PORT, /peers, /send FILE", command)
}

// peerLine is a neighbour in words.
func peerLine(p whisper.Peer) string {
	state, kind := "not connected", "original format"
	if p.Up {
		state = "connected"
	}
	if p.Ours {
		kind = "of our kind"
	}
	return fmt.Sprintf("%s  %s, %s", p.Addr, state, kind)
}

// send sends a file.
func (t *talk) send(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close() // it was only read
	b, err := io.ReadAll(io.LimitReader(f, whisper.MaxFile+1))
	if err != nil {
		return err
	}
	if len(b) == 0 {
		return fmt.Errorf("%s is empty", name)
	}
	kind := mime.TypeByExtension(filepath.Ext(name))
	if kind == "" {
		kind = http.DetectContentType(b)
	}
	return t.node.SendFile(filepath.Base(name), kind, b)
}

// show prints a message.
func (t *talk) show(m whisper.Message) error {
	saved := t.save(m)
	if !t.json {
		return t.print(whisperLine(m, saved) + "\n")
	}
	out := whisperJSON{ID: m.ID, Addr: m.Addr, Nick: m.Nick, Body: m.Body, From: m.From, Forged: m.Forged, Name: m.Name, Changed: m.Changed}
	if at := whispered(m); !at.IsZero() {
		out.Time = &at
	}
	if len(m.File) > 0 {
		out.File = &whisperFileJSON{Type: m.FileType, Size: len(m.File), Saved: saved}
	}
	return t.emit(out)
}

// save saves a file that came, where that is wanted, and returns where it is.
func (t *talk) save(m whisper.Message) string {
	if len(m.File) == 0 || t.files == "" {
		return ""
	}
	saved, err := saveWhispered(t.files, m)
	if err != nil {
		t.sayf("%s", visible(err.Error()))
		return ""
	}
	return saved
}

// whispered is when a message was made, by its author; zero where that is no
// date. Some write milliseconds.
func whispered(m whisper.Message) time.Time {
	const lastSecond, millis = 253402300799, 100_000_000_000
	switch s := m.Timestamp; {
	case s <= 0 || s > lastSecond*1000:
		return time.Time{}
	case s > millis:
		return time.UnixMilli(s).UTC()
	default:
		return time.Unix(s, 0).UTC()
	}
}

// whisperLine is a message in one line: who, how far that is proved, and what.
func whisperLine(m whisper.Message, saved string) string {
	who := m.Nick
	if strings.TrimSpace(who) == "" {
		who = m.Addr
	}
	who = oneLine(who)
	switch {
	case m.Changed:
		who += " [changed keys, " + m.From + "]"
	case m.Name != "":
		who += " [" + oneLine(m.Name) + ", " + m.From + "]"
	case m.From != "":
		who += " [" + m.From + "]"
	case m.Forged:
		who += " [false signature]"
	}
	body := strings.NewReplacer("\n", " ", "\t", " ").Replace(visible(m.Body))
	if len(m.File) > 0 {
		body += fmt.Sprintf(" (file, %s, %d bytes)", oneLine(m.FileType), len(m.File))
		if saved != "" {
			body += " saved as " + oneLine(saved)
		}
	}
	if action, ok := strings.CutPrefix(body, "/me "); ok {
		return "* " + who + " " + action
	}
	return who + ": " + body
}

// saveWhispered saves a file under the name that came with it, with a number
// where there is one of that name, and returns where it is.
func saveWhispered(dir string, m whisper.Message) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer root.Close() // opened for its name only
	name := fileName(m.Body)
	ext := path.Ext(name)
	for n := range 100 {
		try := name
		if n > 0 {
			try = fmt.Sprintf("%s-%d%s", strings.TrimSuffix(name, ext), n, ext)
		}
		err = durable.CreateFile(root, try, m.File, 0o600)
		if !errors.Is(err, fs.ErrExist) {
			return filepath.Join(dir, try), err
		}
	}
	return "", err
}

// fileName makes a harmless name of what a stranger calls a file.
func fileName(s string) string {
	s = path.Base(strings.ReplaceAll(strings.TrimSpace(s), `\`, "/"))
	s = strings.Map(func(r rune) rune {
		if hidden(r) || strings.ContainsRune("/:*?\"<>|\n\t", r) {
			return '_'
		}
		return r
	}, s)
	s = strings.TrimLeft(s, ".-")
	if len(s) > 100 {
		ext := path.Ext(s)
		s = strings.ToValidUTF8(s[:max(1, 100-min(len(ext), 20))], "") + ext[:min(len(ext), 20)]
	}
	if strings.Trim(s, "._ ") == "" {
		return "whispered"
	}
	return s
}
