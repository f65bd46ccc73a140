package main

import (
	"archive/tar"
	"bytes"
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/prove/proof"
	"airdispatch/prove/tricks"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

func hostRows() []row {
	return []row{
		{"H1", "no spelling of a host leads a mail server inside, and a redirect leads it nowhere", spelledInside},
		{"H5", "an attachment is saved under its last name in one directory, and over nothing", attachmentNames},
		{"H6", "an attachment that is a page is sealed bytes to a browser, and nothing to run", noPages},
		{"H7", "what commands a terminal or disguises a name is shown and not obeyed", terminal},
		{"H11", "words in the syntax of SQL or of a search find what has them, and do nothing", injected},
		{"H12", "keys and data that others on the machine can read are refused, and are not made so", wideFiles},
		{"H13", "the modules that the programs are made of are those whose sums were written down", supply},
		{"H14", "there are no debug pages, and metrics on loopback alone", debugPages},
		{"H15", "a backup that was tampered with is neither verified nor restored, and writes nothing outside", badBackups},
	}
}

func spelledInside(ctx context.Context, t *town) error {
	var f findings
	inside, err := t.newTrap()
	if err != nil {
		return err
	}
	_, port, _ := strings.Cut(inside.Addr().String(), ":")
	blind, err := t.serve(ctx, spec{program: "admaild", name: "sightless", init: []string{"--accounts", "open", "--tracker", t.hill.reference},
		env: append([]string{"AD_PRIVATE_NETWORKS=192.0.2.0/24"}, quick...)})
	if err != nil {
		return err
	}
	ann, err := t.person(ctx, blind)
	if err != nil {
		return err
	}
	announce := func(p *proof.Person, host string) error {
		_, err := p.Peer.Mailbox().Announce(ctx, &wirev1.AnnounceRequest{Identity: p.Identity.Wire(), Trackers: []string{"https://" + host + ":" + port}})
		return err
	}
	hosts := []string{"localhost", "LOCALHOST", "localhost.", "[::1]", "[::]", "[::1%25lo]"}
	for _, v4 := range []string{"127.0.0.1", "127.8.9.1", "0.0.0.0"} {
		hosts = append(hosts, tricks.Spellings(v4)...)
	}
	taken := 0
	for _, host := range hosts {
		if err := announce(ann, host); err == nil {
			taken++
		} else if !errors.Is(err, message.Invalid) {
			return fmt.Errorf("%q: %w", host, err)
		}
	}
	if err := pause(ctx, 3*time.Second); err != nil {
		return err
	}
	f.must(inside.came.Load() == 0 && taken > 3 && len(hosts) > 100, "of %d spellings %d were taken and %d led inside", len(hosts), taken, inside.came.Load())
	bob, err := t.person(ctx, t.two)
	if err != nil {
		return err
	}
	f.fine(announce(bob, "127.0.0.1"), "the control")
	f.fine(until(ctx, "the control: one that may go inside", func() bool { return inside.came.Load() > 0 }), "the control")
	// A redirect to the inside is not followed by the client either.
	before := inside.came.Load()
	asked, url, err := t.redirects(inside.Addr().String())
	if err != nil {
		return err
	}
	_, err = t.visitor().adctl(ctx, "lookup", ann.Address().String(), "--tracker", url)
	f.must(err != nil && inside.came.Load() == before, "a redirect was followed: %v", err)
	f.must(*asked > 0, "the control: nobody asked who redirects")
	return f.all()
}

// redirects is a server that everybody believes and that leads elsewhere.
func (t *town) redirects(to string) (*int, string, error) {
	at, err := free()
	if err != nil {
		return nil, "", err
	}
	asked := new(int)
	s := &http.Server{Addr: at, ErrorLog: quiet(), TLSConfig: tlsWith(t.cert), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked++
		http.Redirect(w, r, "https://"+to+r.URL.Path, http.StatusTemporaryRedirect)
	})}
	l, err := listen(at)
	if err != nil {
		return nil, "", err
	}
	go func() { _ = s.ServeTLS(l, "", "") }() // it ends with Close
	t.ends(func() { _ = s.Close() })
	return asked, "https://" + at, nil
}

// upload hands in blobs of an attachment as a client does that knows no shame.
func (t *town) attach(ctx context.Context, p *proof.Person, name string, data []byte, readers ...*message.Chain) (*message.Sealed, error) {
	a := message.Attachment{Name: name, MediaType: "text/html", Key: bytes.Repeat([]byte{9}, 32), Size: int64(len(data))}
	k, err := a.PayloadKey()
	if err != nil {
		return nil, err
	}
	sealed, err := io.ReadAll(k.SealReader(bytes.NewReader(data)))
	if err != nil {
		return nil, err
	}
	id, size, err := crypto.BlobID(bytes.NewReader(sealed))
	if err != nil {
		return nil, err
	}
	a.Blob = id
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "/blobs/"+a.Blob.String(), bytes.NewReader(sealed))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", size-1, size))
	res, err := p.Peer.Do(req)
	if err != nil {
		return nil, err
	}
	if err := res.Body.Close(); err != nil {
		return nil, err
	}
	d := draft(p.Keys, "see what is attached", readers...)
	d.Content.Attachments = []message.Attachment{a}
	if d.MID, err = message.NewMID(time.Now(), crand.Reader); err != nil {
		return nil, err
	}
	l, err := message.Seal(d, p.Keys.Signer, crand.Reader)
	if err != nil {
		return nil, err
	}
	s := submission(l)
	s.Blobs = []*wirev1.BlobRef{{Hash: id[:], Size: uint64(size)}}
	_, refusals, err := submits(ctx, p, s)
	if err != nil {
		return nil, err
	}
	return l, refusals[0]
}

func attachmentNames(ctx context.Context, t *town) error {
	var f findings
	ann, err := t.person(ctx, t.one)
	if err != nil {
		return err
	}
	bob, err := t.moves(ctx, t.two)
	if err != nil {
		return err
	}
	if _, err := bob.adctl(ctx, "allow", ann.Address().String()); err != nil {
		return err
	}
	box := filepath.Join(t.dir, "files", "box")
	into := filepath.Join(box, "into")
	if err := os.MkdirAll(into, 0o700); err != nil {
		return err
	}
	taken := 0
	for _, name := range []string{"../escaped", "../../escaped", "/tmp/escaped", "..\\escaped", "a/../../escaped", ".", "..", "", "C:\\escaped", "CON", "nul.txt", "-rf", "a\nb", "a\x1b[2Jb", "gpj\u202e.exe", strings.Repeat("a", 5000)} {
		l, err := t.attach(ctx, ann, name, []byte("inside "+name), bob.keys.Chain)
		if err != nil {
			continue // it cannot even be sent
		}
		taken++
		ref := l.Head.Ref().String()
		if err := until(ctx, "the letter", func() bool {
			_, err := bob.inbox(ctx)
			if err == nil {
				_, err = bob.adctl(ctx, "read", ref)
			}
			return err == nil
		}); err != nil {
			f.fine(err, fmt.Sprintf("%q", name))
			continue
		}
		out, err := bob.adctl(ctx, "save", ref, "-o", into+"/")
		if err != nil {
			f.must(exits(err) != 0, "%q: %v", name, err)
			continue
		}
		at := trimmed(out)
		f.must(filepath.Dir(at) == into && !strings.ContainsAny(filepath.Base(at), "\x1b\n\\\u202e") && filepath.Base(at) != "..", "%q was saved as %q", name, at)
	}
	f.must(taken > 8, "the control: only %d were sent", taken)
	err = filepath.WalkDir(box, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && filepath.Dir(path) != into {
			f.must(false, "%q lies outside", path)
		}
		return err
	})
	f.fine(err, "looking")
	there, err := os.ReadDir(into)
	f.must(err == nil && len(there) > 3, "the control: %d files were saved, %v", len(there), err)
	// Nothing is written over.
	l, err := t.attach(ctx, ann, "plain", []byte("new"), bob.keys.Chain)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(into, "kept"), []byte("old"), 0o600); err != nil {
		return err
	}
	f.fine(until(ctx, "the letter", func() bool {
		_, err := bob.inbox(ctx)
		if err == nil {
			_, err = bob.adctl(ctx, "read", l.Head.Ref().String())
		}
		return err == nil
	}), "the last")
	_, err = bob.adctl(ctx, "save", l.Head.Ref().String(), "-o", filepath.Join(into, "kept"))
	b, readErr := os.ReadFile(filepath.Join(into, "kept"))
	f.must(err != nil && readErr == nil && string(b) == "old", "a file was written over: %v, %q", err, b)
	return f.all()
}

func noPages(ctx context.Context, t *town) error {
	var f findings
	ann, err := t.person(ctx, t.one)
	if err != nil {
		return err
	}
	l, err := t.attach(ctx, ann, "page.html", []byte("<script>alert(1)</script>"), ann.Keys.Chain)
	if err != nil {
		return err
	}
	letter, err := ann.Keys.Open(l.Head, slotOf(l, ann.Address()), l.Payload)
	if err != nil {
		return err
	}
	url := t.toOne.url + "/blobs/" + letter.Content.Attachments[0].Blob.String() + "?from=" + ann.Address().String() + "&mid=" + l.Head.MID.String() + "&for=" + ann.Address().String()
	access, err := message.SignAccess(ann.Keys.Chain, ann.Host.Address(), time.Now(), time.Minute, ann.Keys.Signer)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := headed{"Authorization", access}.RoundTrip(req)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return err
	}
	f.must(res.StatusCode == http.StatusOK && len(b) > 0, "the control: %s", res.Status)
	f.must(!bytes.Contains(b, []byte("script")), "it is not sealed")
	f.must(res.Header.Get("Content-Type") == "application/octet-stream" && res.Header.Get("X-Content-Type-Options") == "nosniff", "a browser is told %v", res.Header)
	return f.all()
}

func terminal(ctx context.Context, t *town) error {
	var f findings
	ann, err := t.person(ctx, t.one)
	if err != nil {
		return err
	}
	all := tricks.Texts()
	var posts []*wirev1.Submission
	for n, trick := range all {
		d := message.Draft{Author: ann.Keys.Chain, Time: time.Now(), Terms: message.Revisable, Audience: message.Public, Name: fmt.Sprintf("trick-%d", n), Content: &message.Content{}}
		d.Content.Set(message.TypeSubject, []byte("subject "+trick))
		d.Content.Set(message.TypeMarkdown, []byte("body "+trick+" end\n"))
		s, err := message.Seal(d, ann.Keys.Signer, crand.Reader)
		if err != nil {
			return err
		}
		posts = append(posts, submission(s))
	}
	if _, refusals, err := submits(ctx, ann, posts...); err != nil || errors.Join(refusals...) != nil {
		return errors.Join(append(refusals, err)...)
	}
	shown := func(args ...string) (string, error) {
		h := t.visitor()
		cmd := exec.CommandContext(ctx, filepath.Join(t.bin, "adctl"), append(args, "--home", h.dir, "--tracker", t.hill.reference)...)
		cmd.Env = append(os.Environ(), "TERM=xterm")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		return tricks.Shown(cmd)
	}
	for _, args := range [][]string{{"posts", ann.Address().String()}, {"read", ann.Address().String() + "::trick-0"}, {"read", ann.Address().String() + "::trick-17"}, {"read", ann.Address().String() + "::trick-31"}} {
		screen, err := shown(args...)
		f.must(err == nil && strings.Contains(screen, "subject"), "%v: %v, %q", args, err, screen)
		for _, r := range strings.ReplaceAll(screen, "\r\n", "\n") {
			if r != '\n' && r != '\t' && !message.Visible(r) {
				f.must(false, "%v: the terminal was sent %U", args, r)
				break
			}
		}
	}
	piped, err := t.visitor().adctl(ctx, "read", ann.Address().String()+"::trick-0", "--tracker", t.hill.reference)
	f.must(err == nil && strings.Contains(piped, all[0]), "the control: a pipe does not get the text as it is: %v", err)
	return f.all()
}

func injected(ctx context.Context, t *town) error {
	var f findings
	bob, err := t.moves(ctx, t.one)
	if err != nil {
		return err
	}
	odd := []string{"'; drop table message; --", `" OR 1=1 --`, "100%", "under_score", "NEAR(a b)", "a*", `back\slash`, "(", "col:x"}
	ids := map[string]string{}
	for n, text := range append(slices.Clone(odd), "plain words") {
		note, err := t.file(fmt.Sprintf("odd-%d", n), text+"\n")
		if err != nil {
			return err
		}
		out, err := bob.adctl(ctx, "send", "--to", bob.address.String(), note)
		if err != nil {
			return err
		}
		ids[text] = trimmed(out)
	}
	if err := until(ctx, "the letters", func() bool {
		in, err := bob.inbox(ctx)
		return err == nil && len(in) == len(ids)
	}); err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := bob.adctl(ctx, "read", id); err != nil {
			return err
		}
	}
	for _, text := range odd {
		out, err := bob.list(ctx, "search", text)
		want := 0
		for other := range ids {
			if strings.Contains(other, text) {
				want++
			}
		}
		f.must(err == nil && len(out) == want && slices.ContainsFunc(out, func(m map[string]any) bool { return m["id"] == ids[text] }), "%q finds %d of %d: %v", text, len(out), want, err)
	}
	in, err := bob.inbox(ctx)
	f.must(err == nil && len(in) == len(ids), "afterwards there are %d letters of %d: %v", len(in), len(ids), err)
	for _, name := range []string{"'; drop table name; --", "a%", "_", "x' or '1'='1"} {
		_, err := bob.adctl(ctx, "register", "--server", t.one.reference, "--tracker", t.hill.reference, "--name", name)
		f.must(err != nil, "the name %q was given", name)
	}
	return f.all()
}

func wideFiles(ctx context.Context, t *town) error {
	var f findings
	for _, program := range []string{"adtrackd", "admaild"} {
		init := []string{}
		if program == "admaild" {
			init = []string{"--accounts", "open", "--tracker", t.hill.reference}
		}
		s, err := t.serve(ctx, spec{program: program, name: "wide-" + program, init: init})
		if err != nil {
			return err
		}
		err = filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err == nil && info.Mode().Perm()&0o077 != 0 {
				f.must(false, "%s has mode %v", path, info.Mode())
			}
			return err
		})
		f.fine(err, "looking")
		s.kill()
		for _, name := range []string{"identity.key", "tls.key"} {
			path := filepath.Join(s.dir, name)
			if err := os.Chmod(path, 0o644); err != nil {
				return err
			}
			f.must(t.start(s) != nil, "%s serves although others can read %s", program, name)
			if err := os.Chmod(path, 0o600); err != nil {
				return err
			}
		}
		f.fine(t.start(s), "the control: with modes as they were")
	}
	return f.all()
}

func supply(ctx context.Context, _ *town) error {
	var f findings
	root, err := proof.Product(ctx)
	if err != nil {
		return err
	}
	verify := func(dir string) (string, error) {
		cmd := exec.CommandContext(ctx, "go", "mod", "verify")
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := verify(root)
	f.must(err == nil && strings.Contains(out, "all modules verified"), "%v: %s", err, out)
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{end}}{{end}}", "./cmd/...")
	cmd.Dir = root
	used, err := cmd.Output()
	if err != nil {
		return err
	}
	n := 0
	for line := range strings.Lines(string(used)) {
		if line = strings.TrimSpace(line); line != "" {
			n++
			f.must(bytes.Contains(sums, []byte(line+" h1:")), "%s has no sum", line)
		}
	}
	f.must(n > 10, "the control: only %d packages of others", n)
	return f.all()
}

func debugPages(ctx context.Context, t *town) error {
	var f findings
	for _, s := range t.shared() {
		url, _, _ := strings.Cut(s.reference, "#")
		for _, path := range []string{"/metrics", "/debug/pprof/", "/debug/pprof/heap", "/debug/vars", "/debug/requests", "/", "/admin", "/.env", "/config.toml"} {
			status, body, err := t.get(ctx, url+path)
			f.must(err == nil && status == http.StatusNotFound, "%s%s: %d %.40q %v", s.program, path, status, body, err)
		}
		status, _, err := t.get(ctx, url+"/healthz")
		f.must(err == nil && status == http.StatusOK, "the control: %s: %d, %v", s.program, status, err)
	}
	at, err := free()
	if err != nil {
		return err
	}
	s, err := t.serve(ctx, spec{program: "admaild", name: "measured", init: []string{"--accounts", "open", "--tracker", t.hill.reference}, env: []string{"AD_METRICS=" + at}})
	if err != nil {
		return err
	}
	status, body, err := t.get(ctx, "http://"+at+"/metrics")
	f.must(err == nil && status == http.StatusOK && bytes.Contains(body, []byte("airdispatch_")), "the control: metrics: %d, %v", status, err)
	for _, path := range []string{"/debug/pprof/", "/debug/vars"} {
		status, _, err := t.get(ctx, "http://"+at+path)
		f.must(err == nil && status == http.StatusNotFound, "beside the metrics: %s: %d, %v", path, status, err)
	}
	s.kill()
	s.env = append(s.env, "AD_METRICS=0.0.0.0:9")
	f.must(t.start(s) != nil, "metrics are offered to everybody")
	return f.all()
}

func badBackups(ctx context.Context, t *town) error {
	var f findings
	s, err := t.serve(ctx, spec{program: "adtrackd", name: "saved"})
	if err != nil {
		return err
	}
	dir := filepath.Join(t.dir, "files", "backups")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	good := filepath.Join(dir, "good.tar")
	if _, err := t.run(ctx, s.dir, "adtrackd", "backup", good, "--dir", s.dir); err != nil {
		return err
	}
	whole, err := os.ReadFile(good)
	if err != nil {
		return err
	}
	more := func(h *tar.Header, data string) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		h.Size = int64(len(data))
		if w.WriteHeader(h) != nil {
			return nil
		}
		_, _ = io.WriteString(w, data) // into memory
		_ = w.Close()
		return append(b.Bytes()[:len(b.Bytes())-1024], whole...)
	}
	altered := bytes.Clone(whole)
	altered[bytes.Index(altered, []byte("SQLite format 3"))+5000] ^= 1
	outside := filepath.Join(dir, "outside")
	for name, b := range map[string][]byte{
		"as it is": whole, "one bit": altered, "half": whole[:len(whole)/2], "nothing": {}, "noise": bytes.Repeat([]byte("x"), 4096),
		"a path upwards": more(&tar.Header{Name: "../outside", Mode: 0o600}, "out"), "a whole path": more(&tar.Header{Name: outside, Mode: 0o600}, "out"),
		"a link": more(&tar.Header{Name: "data.db", Linkname: outside, Typeflag: tar.TypeSymlink, Mode: 0o777}, ""), "a device": more(&tar.Header{Name: "null", Typeflag: tar.TypeChar, Mode: 0o600}, ""),
		"one file more": more(&tar.Header{Name: "more", Mode: 0o600}, "more"),
	} {
		path := filepath.Join(dir, "tampered.tar")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			return err
		}
		to := filepath.Join(dir, "to "+name)
		_, verified := t.run(ctx, s.dir, "adtrackd", "verify", path)
		_, restored := t.run(ctx, s.dir, "adtrackd", "restore", path, "--dir", to)
		if name == "as it is" {
			f.must(verified == nil && restored == nil, "the control: %v, %v", verified, restored)
			continue
		}
		f.must(verified != nil && restored != nil, "%s: verify %v, restore %v", name, verified, restored)
		left, _ := os.ReadDir(to) // it may not be there at all
		f.must(len(left) == 0, "%s: %d files are left", name, len(left))
		_, err := os.Lstat(outside)
		f.must(errors.Is(err, fs.ErrNotExist), "%s wrote outside", name)
	}
	return f.all()
}
