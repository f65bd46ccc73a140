package main

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/prove/proof"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

func theftRows() []row {
	return []row{
		{"D1", "whoever has a device's key signs nothing any more once a card without it is known", stolenDevice},
		{"D2", "a thief who rotates first with the lower rank loses to the paper key", thiefRotates},
		{"D3", "what a thief backdates is judged by when it was first seen", backdated},
		{"D4", "a key file that is copied is locked, and one that others can read is not used", copiedKeys},
		{"D6", "a process that is made to end dumps no keys", dumpsNothing},
		{"D7", "who has lost paper and device has lost the identity, and both the page and the program say so", lostAll},
		{"P1", "an operator who reads the store finds no subject, text or attachment", operatorReads},
		{"P2", "an operator who reads the logs finds nobody's whole address and no text", operatorLogs},
	}
}

// owned is somebody whose paper key is at hand.
func (t *town) owned(ctx context.Context, s *server) (*proof.Person, crypto.SigningKey, error) {
	paper, err := crypto.RandomBytes(crand.Reader, 32)
	if err != nil {
		return nil, crypto.SigningKey{}, err
	}
	top, err := crypto.SigningKeyFromSeed(paper)
	if err != nil {
		return nil, top, err
	}
	k, err := message.NewKeyring(message.RoleUser, paper, time.Now(), crand.Reader)
	if err != nil {
		return nil, top, err
	}
	p := &proof.Person{Keys: k, Client: rpcClient(t, k)}
	var host *message.Identity
	if p.Peer, host, err = peer(ctx, p.Client, s.reference); err != nil {
		return nil, top, err
	}
	p.Host = host
	res, err := p.Peer.Mailbox().Join(ctx, &wirev1.JoinRequest{Identity: &wirev1.Identity{Cards: k.Chain.Signed(0)}})
	if err != nil {
		return nil, top, err
	}
	ticket, err := message.ParseTicket(res.GetTicket())
	if err != nil {
		return nil, top, err
	}
	p.Identity = &message.Identity{Chain: k.Chain}
	if p.Identity.Route, err = route(k, 1, time.Now(), message.Service{Purpose: message.PurposeAny, Server: host.Address(), Ticket: ticket}); err != nil {
		return nil, top, err
	}
	if err := t.publish(ctx, t.hill, p.Identity.Wire(), host.Wire()); err != nil {
		return nil, top, err
	}
	return p, top, t.announces(ctx, p, p.Identity)
}

// announces tells somebody's server of a new identity of theirs.
func (t *town) announces(ctx context.Context, p *proof.Person, id *message.Identity) error {
	_, err := p.Peer.Mailbox().Announce(ctx, &wirev1.AnnounceRequest{Identity: id.Wire(), Trackers: []string{t.hill.reference}})
	return err
}

// settles signs the next route of a keyring and makes it known.
func (t *town) settles(ctx context.Context, p *proof.Person, k *message.Keyring, at time.Time) (*message.Identity, error) {
	r, err := route(k, 2, at, p.Identity.Route.Services...)
	if err != nil {
		return nil, err
	}
	id := &message.Identity{Chain: k.Chain, Route: r}
	return id, t.publish(ctx, t.hill, id.Wire(), p.Host.Wire())
}

func stolenDevice(ctx context.Context, t *town) error {
	var f findings
	ann, top, err := t.owned(ctx, t.one)
	if err != nil {
		return err
	}
	bob, err := t.moves(ctx, t.two)
	if err != nil {
		return err
	}
	before, err := letter(ann.Keys, nil, "before", bob.keys.Chain)
	if err != nil {
		return err
	}
	_, err = submit(ctx, ann, before)
	f.fine(err, "the control: before the theft")
	// The owner names a new device with the paper key.
	next, err := replaced(ann.Keys, top, time.Now())
	if err != nil {
		return err
	}
	id, err := t.settles(ctx, ann, next, time.Now())
	f.fine(err, "the next card")
	owner := &proof.Person{Keys: next, Identity: id, Host: ann.Host, Client: rpcClient(t, next)}
	if owner.Peer, _, err = peer(ctx, owner.Client, t.one.reference); err != nil {
		return err
	}
	f.fine(t.announces(ctx, owner, id), "announce the next card")
	// The thief has the old device's key, and time enough to sign what he likes.
	after, err := letter(ann.Keys, nil, "the thief wrote this", bob.keys.Chain)
	if err != nil {
		return err
	}
	_, err = submit(ctx, ann, after)
	f.must(err != nil, "the thief hands in a letter")
	access, err := message.SignAccess(ann.Keys.Chain, ann.Host.Address(), time.Now(), time.Minute, ann.Keys.Signer)
	if err != nil {
		return err
	}
	f.must(t.account(ctx, t.toOne.url, access) != nil, "the thief asks for the account")
	receipts, refusals, err := submits(ctx, owner, submission(after))
	f.must(err != nil || refusals[0] != nil, "a letter by the stolen key is taken even with the owner's access: %v", receipts)
	_, err = bob.adctl(ctx, "lookup", ann.Address().String())
	f.fine(err, "bob hears of the new card")
	good, err := letter(next, nil, "the owner wrote this", bob.keys.Chain)
	if err != nil {
		return err
	}
	_, err = submit(ctx, owner, good)
	f.fine(err, "the control: the owner's new device")
	f.fine(until(ctx, "the owner's letter", func() bool {
		if _, err := bob.inbox(ctx); err != nil {
			return false
		}
		out, err := bob.adctl(ctx, "read", good.Head.Ref().String())
		return err == nil && strings.Contains(out, "the owner wrote this")
	}), "the control")
	in, err := bob.inbox(ctx)
	f.must(err == nil && has(in, after.Head.Ref()) == 0, "the thief's letter is in the inbox: %v", err)
	return f.all()
}

func thiefRotates(ctx context.Context, t *town) error {
	var f findings
	ann, top, err := t.owned(ctx, t.one)
	if err != nil {
		return err
	}
	v := t.visitor()
	// The thief has the file with rotation key 1, and is first.
	thief, err := replaced(ann.Keys, ann.Keys.Rotation[0], time.Now())
	if err != nil {
		return err
	}
	_, err = t.settles(ctx, ann, thief, time.Now())
	f.fine(err, "the control: the thief's card is taken at first")
	seen, err := t.truth(ctx, ann.Address())
	f.must(err == nil && seen.Subject.Chain.Head().ID == thief.Chain.Head().ID, "the control: the tracker does not show it: %v", err)
	_, err = v.adctl(ctx, "lookup", ann.Address().String(), "--tracker", t.hill.reference)
	f.fine(err, "somebody sees the thief's card")
	// The owner has the paper key, on the same card before.
	owner, err := replaced(ann.Keys, top, time.Now())
	if err != nil {
		return err
	}
	_, err = t.settles(ctx, ann, owner, time.Now())
	f.fine(err, "the owner's card")
	seen, err = t.truth(ctx, ann.Address())
	f.must(err == nil && seen.Subject.Chain.Head().ID == owner.Chain.Head().ID, "the tracker stays with the thief: %v", err)
	// The thief tries again, with later cards and the highest route number.
	again, err := replaced(thief, ann.Keys.Rotation[0], time.Now())
	if err != nil {
		return err
	}
	r, err := route(again, 1<<62, time.Now(), ann.Identity.Route.Services...)
	if err != nil {
		return err
	}
	f.must(t.publish(ctx, t.hill, (&message.Identity{Chain: again.Chain, Route: r}).Wire(), ann.Host.Wire()) != nil, "the thief is back with a longer chain")
	// Letters are sealed for the owner's new boxes, also by whom the thief had deceived.
	cleo, err := t.moves(ctx, t.two)
	if err != nil {
		return err
	}
	note, err := t.file("to the owner", "for you and no thief")
	if err != nil {
		return err
	}
	id, err := cleo.adctl(ctx, "send", "--to", ann.Address().String(), note)
	if err != nil {
		return errors.Join(f.all(), err)
	}
	_, mid, _ := strings.Cut(trimmed(id), "::")
	f.must(t.sealedTo(cleo, mid, owner) && !t.sealedTo(cleo, mid, thief), "the letter is not sealed for the owner alone")
	out, err := v.list(ctx, "lookup", ann.Address().String(), "--tracker", t.hill.reference)
	f.must(err == nil && len(out) == 1 && out[0]["disagreement"] != true, "whom the thief had deceived: %v %v", out, err)
	return f.all()
}

// sealedTo reports whether a letter that a home has sent opens with a keyring.
func (t *town) sealedTo(h *home, mid string, k *message.Keyring) bool {
	m, err := message.ParseMID(mid)
	if err != nil {
		return false
	}
	p, _, err := peer(context.Background(), rpcClient(t, h.keys), t.two.reference)
	if err != nil {
		return false
	}
	c, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	res, err := p.Mailbox().Sent(c, &wirev1.SentRequest{Limit: 10})
	if err != nil {
		return false
	}
	for _, item := range res.GetItems() {
		for _, s := range item.GetHeads() {
			head, err := message.OpenHead(t.verifier, h.keys.Chain, s)
			if err == nil && head.MID == m {
				got, err := pullAs(c, t, k, head)
				return err == nil && got
			}
		}
	}
	return false
}

// pullAs asks for a letter as one of its readers, and opens it.
func pullAs(ctx context.Context, t *town, k *message.Keyring, h *message.Head) (bool, error) {
	p, _, err := peer(ctx, rpcClient(t, k), t.two.reference)
	if err != nil {
		return false, err
	}
	res, err := p.Exchange().Pull(ctx, &wirev1.PullRequest{For: k.Address().Bytes(), Items: []*wirev1.FetchItem{{From: h.From.Bytes(), Mid: h.MID.Bytes()}},
		Identities: []*wirev1.Identity{{Cards: k.Chain.Signed(0)}}})
	if err != nil {
		return false, err
	}
	one := res.GetResults()[0]
	_, err = k.Open(h, one.GetSlot(), one.GetPayload())
	return err == nil, err
}

func backdated(ctx context.Context, t *town) error {
	var f findings
	ann, _, err := t.owned(ctx, t.one)
	if err != nil {
		return err
	}
	owner, err := replaced(ann.Keys, ann.Keys.Rotation[0], time.Now())
	if err != nil {
		return err
	}
	_, err = t.settles(ctx, ann, owner, time.Now())
	f.fine(err, "the control: the owner's card")
	// The thief has the same rotation key, and dates his card a year back.
	for _, at := range []time.Time{time.Now().Add(-365 * 24 * time.Hour), time.UnixMilli(1)} {
		thief, err := replaced(ann.Keys, ann.Keys.Rotation[0], at)
		if err != nil {
			return err
		}
		_, err = t.settles(ctx, ann, thief, at)
		f.must(err != nil, "a card that claims to be of %s was taken", at)
	}
	seen, err := t.truth(ctx, ann.Address())
	f.must(err == nil && seen.Subject.Chain.Head().ID == owner.Chain.Head().ID, "the tracker went over to the thief: %v", err)
	if err != nil {
		return err
	}
	stamps := seen.Subject.FirstSeen
	f.must(len(stamps) == 2 && time.Since(stamps[1]) < time.Minute && time.Since(stamps[1]) > -time.Minute, "first seen at %v", stamps)
	return f.all()
}

func copiedKeys(ctx context.Context, t *town) error {
	var f findings
	h := t.visitor()
	secret, err := t.file("passphrase of a thief's victim", "correct horse battery staple 4711\n")
	if err != nil {
		return err
	}
	if _, err := h.adctl(ctx, "id", "new", "--passphrase-file", secret); err != nil {
		return err
	}
	path, err := h.keyPath()
	if err != nil {
		return err
	}
	k, err := h.keyring("correct horse battery staple 4711")
	f.must(err == nil, "the control: the passphrase does not open the file: %v", err)
	if err != nil {
		return f.all()
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	f.must(bytes.Contains(b, []byte("AGE ENCRYPTED")) || bytes.HasPrefix(b, []byte("age-encryption.org/")), "the file is no age file: %.40q", b)
	f.must(!found(b, k.Signer.Seed()) && !found(b, k.Rotation[0].Seed()), "the key stands in the locked file")
	info, err := os.Stat(path)
	f.must(err == nil && info.Mode().Perm() == 0o600, "the key file's mode is %v, %v", info.Mode(), err)
	dir, err := os.Stat(filepath.Dir(path))
	f.must(err == nil && dir.Mode().Perm() == 0o700, "its directory's mode is %v, %v", dir.Mode(), err)
	wrong, err := t.file("a guess", "correct horse battery staple 4712\n")
	if err != nil {
		return err
	}
	_, err = h.adctl(ctx, "register", "--server", t.one.reference, "--tracker", t.hill.reference, "--passphrase-file", wrong)
	f.must(exits(err) == 4, "with a wrong passphrase: %v", err)
	if err := os.Chmod(path, 0o640); err != nil {
		return err
	}
	_, err = h.adctl(ctx, "register", "--server", t.one.reference, "--tracker", t.hill.reference, "--passphrase-file", secret)
	f.must(exits(err) == 4, "with a file that others can read: %v", err)
	if err := os.Chmod(path, 0o600); err != nil {
		return err
	}
	_, err = h.adctl(ctx, "register", "--server", t.one.reference, "--tracker", t.hill.reference, "--passphrase-file", secret)
	f.fine(err, "the control: with the passphrase")
	_, err = h.adctl(ctx, "id", "import", path)
	f.must(err != nil, "an import wrote over a key")
	return f.all()
}

func dumpsNothing(ctx context.Context, t *town) error {
	var f findings
	f.fine(t.dumps(), "the control")
	// The shell lets it dump as much as it likes; it is made to end as by a fault.
	for name, signal := range map[string]syscall.Signal{"abort": syscall.SIGABRT, "quit": syscall.SIGQUIT, "fault": syscall.SIGSEGV} {
		s, err := t.serve(ctx, spec{program: "admaild", name: "dumped-" + name, init: []string{"--accounts", "open", "--tracker", t.hill.reference}, env: quick,
			prefix: []string{"sh", "-c", `ulimit -c unlimited; exec "$@"`, "sh"}})
		if err != nil {
			return err
		}
		ann, err := t.person(ctx, s)
		if err != nil {
			return err
		}
		l, err := letter(ann.Keys, nil, "in memory", ann.Keys.Chain)
		if err != nil {
			return err
		}
		if _, err := submit(ctx, ann, l); err != nil {
			return err
		}
		limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", s.cmd.Process.Pid))
		f.must(err == nil && strings.Contains(string(limits), "Max core file size"), "limits: %v", err)
		k, err := serverKeys(s)
		if err != nil {
			return err
		}
		if err := s.cmd.Process.Signal(signal); err != nil {
			return err
		}
		<-s.done
		left, err := os.ReadDir(s.cmd.Dir)
		f.must(err == nil && len(left) == 0, "%s left %v, %v", name, left, err)
		said := []byte(s.said())
		f.must(len(said) > 0 && !found(said, k.Signer.Seed()) && !found(said, k.Rotation[0].Seed()), "%s: what it said at its end has its keys", name)
	}
	return f.all()
}

// dumps is the control: here, a program that is not ours leaves its memory in a
// file. Where the system hands it to somebody else, there is nothing to see.
func (t *town) dumps() error {
	to, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	if err != nil || bytes.ContainsAny(to, "|/") {
		fmt.Fprintln(t.said, "threats: D6: this system keeps no core files here, so the control is left out")
		return nil
	}
	cmd := exec.Command("sh", "-c", "ulimit -c unlimited; kill -SEGV $$")
	cmd.Dir = t.temporary("dumped-control")
	_ = cmd.Run() // it fails, which is the point
	left, err := os.ReadDir(cmd.Dir)
	if err != nil || len(left) == 0 {
		return fmt.Errorf("a program that fails leaves nothing: %w", err)
	}
	return os.Remove(filepath.Join(cmd.Dir, left[0].Name()))
}

func lostAll(ctx context.Context, t *town) error {
	var f findings
	f.fine(page("paper and device both lost: the identity is gone")(ctx, t), "the page")
	h := t.visitor()
	cmd := exec.CommandContext(ctx, filepath.Join(t.bin, "adctl"), "id", "new", "--no-passphrase", "--home", h.dir)
	var said strings.Builder
	cmd.Stderr = &said
	cmd.Env = append(os.Environ(), "TMPDIR="+t.temporary("lost"))
	if err := cmd.Run(); err != nil {
		return err
	}
	text := strings.ToLower(said.String())
	f.must(strings.Contains(text, "paper key") && (strings.Contains(text, "lost") || strings.Contains(text, "only way")), "id new does not say what it means to lose it: %q", firstWords(text))
	return f.all()
}

// firstWords is the beginning of a text that holds a secret.
func firstWords(s string) string { return s[:min(len(s), 60)] }

// hits are canaries that were found in some sorts of places.
func (t *town) hits(kinds ...string) error {
	var f findings
	f.must(t.told != nil, "the control: the story was not told to its end")
	for _, kind := range kinds {
		f.must(t.collector.places[kind], "the control: no %s was searched", kind)
	}
	for _, h := range t.collector.hits {
		kind, _, _ := strings.Cut(h.place, ":")
		f.must(!slices.Contains(kinds, kind), "%s stands, as %s, in %s", h.canary, h.form, h.place)
	}
	return f.all()
}

// operatorReads is judged by what the search has found when all was over.
func operatorReads(_ context.Context, t *town) error { return t.hits("data", "temporary") }

func operatorLogs(_ context.Context, t *town) error {
	var f findings
	f.fine(t.hits("log"), "the logs")
	whole := regexp.MustCompile(`ad1[a-z0-9]{40,}`)
	lines := 0
	t.mu.Lock()
	servers := slices.Clone(t.servers)
	t.mu.Unlock()
	for _, s := range servers {
		for line := range strings.Lines(s.said()) {
			lines++
			if strings.HasPrefix(line, "listening ") {
				continue // its own, for who started it
			}
			if full := whole.FindString(line); full != "" {
				f.must(false, "%s names %s in full: %s", filepath.Base(s.log), full, line)
				break
			}
		}
	}
	f.must(lines > 100, "the control: only %d lines", lines)
	return f.all()
}
