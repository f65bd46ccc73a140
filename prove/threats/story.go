package main

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	_ "github.com/mattn/go-sqlite3" // the control's database

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/store/keyfile"
)

// story is two people who write to each other in private, with canaries
// wherever something is nobody else's business.
type story struct {
	t        *town
	ada, ben *home
	gated    *server
	toGated  *tap
}

// unique is a text that stands nowhere else.
func unique(what string) string {
	b, err := crypto.RandomBytes(crand.Reader, 12)
	if err != nil {
		return what
	}
	return "canary" + what + hex.EncodeToString(b)
}

// within are the places below some directories.
func within(dirs ...string) func(string) bool {
	return func(place string) bool {
		_, path, _ := strings.Cut(place, ":")
		return slices.ContainsFunc(dirs, func(d string) bool { return d != "" && strings.HasPrefix(path, d) })
	}
}

// tell tells the story from its beginning to its end.
func (t *town) tell(ctx context.Context) error {
	s := &story{t: t}
	watching, stop := context.WithCancel(ctx)
	seen := make(chan struct{})
	go func() {
		defer close(seen)
		t.watch(watching)
	}()
	defer func() { stop(); <-seen }()
	for _, step := range []func(context.Context) error{s.meet, s.write, s.fail} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return s.keys()
}

// secretly makes a home whose passphrase and paper key are canaries.
func (s *story) secretly(ctx context.Context, name string) (*home, error) {
	h := s.t.visitor()
	pass := unique("passphrase")
	file, err := s.t.file("secret/"+name, pass+"\n")
	if err != nil {
		return nil, err
	}
	h.env = []string{"ADCTL_PASSPHRASE_FILE=" + file, "ADCTL_VERBOSE=true"}
	cmd := exec.CommandContext(ctx, filepath.Join(s.t.bin, "adctl"), "id", "new", "--home", h.dir)
	cmd.Env = append(append(os.Environ(), "TMPDIR="+s.t.temporary(filepath.Base(h.dir))), h.env...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("id new: %w: %s", err, said.Bytes())
	}
	if h.address, err = message.ParseAddress(trimmed(string(out))); err != nil {
		return nil, err
	}
	if h.keys, err = h.keyring(pass); err != nil {
		return nil, err
	}
	words := regexp.MustCompile(`\d+ ([a-z]+)`).FindAllStringSubmatch(said.String(), -1)
	words = slices.DeleteFunc(words, func(w []string) bool { return w[1] == "words" }) // of the sentence above them
	if len(words) != 24 {
		return nil, fmt.Errorf("a paper key of %d words", len(words))
	}
	var plain []string
	for _, w := range words {
		plain = append(plain, w[1])
	}
	paper, err := crypto.ParseWords(strings.Join(plain, " "))
	if err != nil {
		return nil, err
	}
	c := &s.t.collector
	c.add("passphrase of "+name, []byte(pass), within(filepath.Join(s.t.dir, "files", "secret")))
	c.add("paper key of "+name, paper, nil)
	c.add("paper words of "+name, []byte(strings.Join(plain[:6], " ")), nil)
	c.add("device key of "+name, h.keys.Signer.Seed(), nil)
	c.add("rotation key of "+name, h.keys.Rotation[0].Seed(), nil)
	for n, b := range h.keys.Boxes {
		c.add(fmt.Sprintf("box key %d of %s", n, name), b.Seed(), nil)
	}
	return h, nil
}

// private is a new text that two homes may have.
func (s *story) private(what string) string {
	text := unique(what)
	may := within(s.ada.dir, s.ben.dir)
	s.t.collector.add(what, []byte(text), func(place string) bool {
		// Some are words of the commands that people type.
		return may(place) || strings.HasPrefix(place, "command:")
	})
	return text
}

// meet lets ada and ben open accounts: ben by an invitation.
func (s *story) meet(ctx context.Context) (err error) {
	t := s.t
	if s.gated, s.toGated, err = t.tapped(ctx, spec{program: "admaild", name: "gated", init: []string{"--accounts", "invite", "--tracker", t.hill.reference}, env: quick}); err != nil {
		return err
	}
	if s.ada, err = s.secretly(ctx, "ada"); err != nil {
		return err
	}
	if s.ben, err = s.secretly(ctx, "ben"); err != nil {
		return err
	}
	if _, err := s.ada.adctl(ctx, "register", "--server", t.one.reference, "--tracker", t.hill.reference); err != nil {
		return err
	}
	token, err := t.run(ctx, s.gated.dir, "admaild", "invite", "--dir", s.gated.dir)
	if err != nil {
		return err
	}
	// It goes to the server that gave it, and nowhere else; it is a word of the
	// command that uses it.
	t.collector.add("invitation", []byte(trimmed(token)), func(place string) bool {
		return strings.HasPrefix(place, "packet:gated /airdispatch.v1.Mailbox/Join") || strings.HasPrefix(place, "command:")
	})
	if _, err := s.ben.adctl(ctx, "register", "--server", s.gated.reference, "--tracker", t.hill.reference, "--invite", trimmed(token)); err != nil {
		return err
	}
	_, err = s.ben.adctl(ctx, "allow", s.ada.address.String())
	return err
}

// note is a file of the story.
func (s *story) note(name, text string) (string, error) { return s.t.file("story/"+name, text) }

// write lets them write, edit, answer, forward, search and save.
func (s *story) write(ctx context.Context) error {
	subject, body, name, inside, edited, answer, note := s.private("subject"), s.private("body"), s.private("filename"), s.private("attached"), s.private("edited"), s.private("answer"), s.private("note")
	part, contact := s.private("component"), s.private("contact")
	letter, err := s.note("letter", "Dear Ben, "+body+"\n")
	if err != nil {
		return err
	}
	attached, err := s.note(name+".txt", strings.Repeat(inside+" ", 5_000))
	if err != nil {
		return err
	}
	component, err := s.note("component", part)
	if err != nil {
		return err
	}
	out, err := s.ada.adctl(ctx, "send", "--to", s.ben.address.String(), "--subject", subject, "--attach", attached, "--component", "example/part=@"+component, letter)
	if err != nil {
		return err
	}
	id := trimmed(out)
	if err := until(ctx, "ada's letter", func() bool {
		if _, err := s.ben.inbox(ctx); err != nil {
			return false
		}
		text, err := s.ben.adctl(ctx, "read", id)
		return err == nil && strings.Contains(text, body)
	}); err != nil {
		return err
	}
	second, err := s.note("second", "Dear Ben, "+edited+"\n")
	if err != nil {
		return err
	}
	back, err := s.note("answer", "Dear Ada, "+answer+"\n")
	if err != nil {
		return err
	}
	for _, step := range []struct {
		who  *home
		args []string
	}{
		{s.ben, []string{"save", id, "-o", filepath.Join(s.ben.dir, "saved")}}, {s.ada, []string{"edit", id, second}}, {s.ben, []string{"read", id, "--diff"}}, {s.ben, []string{"read", id, "--opened"}},
		{s.ben, []string{"reply", id, back}}, {s.ben, []string{"forward", id, "--to", s.ada.address.String(), "--note", note}}, {s.ben, []string{"search", body}}, {s.ada, []string{"status", id}},
		{s.ben, []string{"contacts", "add", s.ada.address.String(), contact}}, {s.ben, []string{"contacts", "list"}},
		{s.ada, []string{"inbox"}}, {s.ada, []string{"inbox", "--requests"}}, {s.ada, []string{"sent"}}, {s.ada, []string{"recall", id}}, {s.ben, []string{"inbox"}}, {s.ada, []string{"doctor"}},
	} {
		if _, err := step.who.adctl(ctx, step.args...); err != nil && step.args[0] != "doctor" {
			return fmt.Errorf("%s: %w", step.args[0], err)
		}
	}
	return nil
}

// fail lets sending fail, so that there is a draft.
func (s *story) fail(ctx context.Context) error {
	draft := s.private("draft")
	words, err := s.note("draft", draft)
	if err != nil {
		return err
	}
	s.gated.kill()
	if _, err := s.ben.adctl(ctx, "send", "--to", s.ada.address.String(), "--subject", draft, words); err == nil {
		return errors.New("sending through a dead server succeeded")
	}
	out, err := s.ben.list(ctx, "drafts", "list")
	if err != nil || len(out) != 1 {
		return fmt.Errorf("%d drafts: %w", len(out), err)
	}
	return s.t.start(s.gated)
}

// keys adds the keys of the servers, which are theirs alone.
func (s *story) keys() error {
	for _, one := range append(s.t.shared(), s.gated) {
		k, err := serverKeys(one)
		if err != nil {
			return err
		}
		s.t.collector.add("key of "+filepath.Base(one.dir), k.Signer.Seed(), within(filepath.Join(one.dir, "identity.key")))
		s.t.collector.add("rotation key of "+filepath.Base(one.dir), k.Rotation[0].Seed(), within(filepath.Join(one.dir, "identity.key")))
	}
	for _, e := range s.t.toOne.exchanges("/", nil) {
		header := e.header.Get("Authorization")
		if a, err := message.ParseAccess(header); err == nil && a.From == s.ada.address {
			s.t.collector.add("access of ada", []byte(header), func(place string) bool { return strings.HasPrefix(place, "packet:one ") })
			break
		}
	}
	s.t.mu.Lock()
	s.t.told = s
	s.t.mu.Unlock()
	return nil
}

// serverKeys are the keys of a server.
func serverKeys(s *server) (*message.Keyring, error) {
	return keyfile.Read(filepath.Join(s.dir, "identity.key"), nil)
}

// watch keeps what the machine shows of the programs that come and go.
func (t *town) watch(ctx context.Context) {
	seen := map[string]bool{}
	for pause(ctx, 10*time.Millisecond) == nil {
		all, err := os.ReadDir("/proc")
		if err != nil {
			return
		}
		for _, d := range all {
			pid, err := strconv.Atoi(d.Name())
			if err != nil {
				continue
			}
			line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			if err != nil || !bytes.HasPrefix(line, []byte(t.bin)) {
				continue
			}
			environ, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)) // it may have ended
			if text := string(line) + "\n" + string(environ) + "\n"; !seen[text] {
				seen[text] = true
				_, _ = t.shown.Write([]byte(text))
			}
		}
	}
}

// sift searches everything that is not its owner's, after a control in each sort
// of place. Servers are still running when it begins and have ended when it ends.
func (t *town) sift(ctx context.Context) error {
	plants, err := t.plant(ctx)
	if err != nil {
		return err
	}
	c := &t.collector
	c.prepare()
	t.mu.Lock()
	servers := slices.Clone(t.servers)
	told := t.told
	t.mu.Unlock()
	for _, s := range servers {
		if s.cmd != nil && s.cmd.Process != nil {
			c.process(s.cmd.Process.Pid)
		}
	}
	c.process(plants.process.Process.Pid)
	_ = plants.process.Process.Kill() // it only had to be seen
	_ = plants.process.Wait()
	c.search("command:all", t.shown.bytes())
	for _, s := range servers {
		s.kill()
	}
	for _, s := range servers {
		c.search("log:"+s.log, []byte(s.said()))
		if err := c.tree("data", s.dir); err != nil {
			return err
		}
	}
	c.search("log:stderr", []byte(t.spoken.String()))
	for _, dir := range []struct{ kind, path string }{{"temporary", filepath.Join(t.dir, "tmp")}, {"home", filepath.Join(t.dir, "homes")}, {"data", filepath.Join(t.dir, "planted")}} {
		if err := c.tree(dir.kind, dir.path); err != nil {
			return err
		}
	}
	c.tapped("hill", t.toHill)
	c.tapped("one", t.toOne)
	if told != nil {
		c.tapped("gated", told.toGated)
	}
	c.search("packet:two", t.toTwo.passed.bytes())
	return plants.judge(c)
}

// plants are canaries that are put where they must be found.
type plants struct {
	process *exec.Cmd
	forms   []string
	places  []string
}

// control is the name of the canary that is put everywhere.
const control = "the control"

// plant puts a canary into a log, a file, a database, a packet and so on, in
// every form.
func (t *town) plant(ctx context.Context) (*plants, error) {
	secret := unique("control")
	t.collector.add(control, []byte(secret), nil)
	var text bytes.Buffer
	p := &plants{places: []string{"log", "data", "temporary", "home", "packet", "process", "command"}}
	for name, f := range forms([]byte(secret)) {
		p.forms = append(p.forms, name)
		text.WriteString("between ")
		text.Write(f)
	}
	for _, path := range []string{filepath.Join(t.one.log), filepath.Join(t.temporary("planted"), "left"), filepath.Join(t.dir, "homes", "home-1", "planted")} {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, err
		}
		_, err = f.Write(text.Bytes())
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
	}
	_, _ = t.shown.Write(text.Bytes())
	if err := t.plantRow(ctx, text.Bytes()); err != nil {
		return nil, err
	}
	if err := t.plantPackets(ctx, text.Bytes()); err != nil {
		return nil, err
	}
	p.process = exec.CommandContext(ctx, "sleep", "60")
	p.process.Env = []string{"PLANTED=" + secret}
	p.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.process.Start(); err != nil {
		return nil, err
	}
	return p, until(ctx, "the process to be what it will be", func() bool {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.process.Process.Pid))
		return err == nil && bytes.Contains(b, []byte(secret))
	})
}

// plantRow puts bytes into a row of a database and deletes it again: what is
// searched are the pages, the free ones too.
func (t *town) plantRow(ctx context.Context, b []byte) error {
	dir := filepath.Join(t.dir, "planted")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(dir, "data.db")+"?_journal_mode=WAL")
	if err != nil {
		return err
	}
	defer db.Close()
	for _, q := range []string{"create table t (b blob)", "insert into t values (?1)", "delete from t"} {
		args := []any{}
		if strings.Contains(q, "?1") {
			args = append(args, b)
		}
		if _, err := db.ExecContext(ctx, q, args...); err != nil {
			return err
		}
	}
	return nil
}

// plantPackets sends bytes through a tap and through a wire.
func (t *town) plantPackets(ctx context.Context, b []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.toOne.url+"/planted", bytes.NewReader(b))
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	if err := res.Body.Close(); err != nil {
		return err
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", strings.TrimPrefix(t.toTwo.url, "https://"))
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write(b); err != nil {
		return err
	}
	return until(ctx, "the bytes to pass", func() bool { return bytes.Contains(t.toTwo.passed.bytes(), b) })
}

// judge demands that the control was found in every sort of place, and takes it
// out of the hits.
func (p *plants) judge(c *collector) error {
	var f findings
	in, as := map[string]bool{}, map[string]map[string]bool{}
	for _, h := range c.of(control) {
		kind, _, _ := strings.Cut(h.place, ":")
		in[kind] = true
		if as[h.form] == nil {
			as[h.form] = map[string]bool{}
		}
		as[h.form][kind] = true
	}
	for _, kind := range p.places {
		f.must(in[kind], "the control: what was put into a %s was not found", kind)
	}
	for _, form := range p.forms {
		f.must(as[form]["log"] && as[form]["packet"] && as[form]["data"], "the control: what was put as %s was found in %v alone", form, as[form])
	}
	f.must(len(c.canaries) > 20, "the control: only %d canaries", len(c.canaries))
	c.hits = slices.DeleteFunc(c.hits, func(h hit) bool { return h.canary == control })
	return f.all()
}
