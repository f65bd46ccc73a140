package main

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"airdispatch/message"
	"airdispatch/prove/tricks"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// post is a public message that aims at a terminal.
type post struct{ id, trick string }

// publish posts every trick, as subject and as body.
func (a *arena) publish(ctx context.Context) error {
	p := a.healthy
	req := &wirev1.SubmitRequest{}
	for n, trick := range tricks.Texts() {
		d := message.Draft{Author: p.Keys.Chain, Time: time.Now(), Terms: message.Revisable, Audience: message.Public, Name: fmt.Sprintf("trick-%d", n), Content: &message.Content{}}
		d.Content.Set(message.TypeSubject, []byte("subject "+trick))
		d.Content.Set(message.TypeMarkdown, []byte("body "+trick+" end\n"))
		s, err := message.Seal(d, p.Keys.Signer, crand.Reader)
		if err != nil {
			return err
		}
		req.Submissions = append(req.Submissions, &wirev1.Submission{Head: s.Head.Signed, Payload: s.Payload})
		a.posts = append(a.posts, post{p.Address().String() + "::" + d.Name, trick})
	}
	res, err := p.Peer.Mailbox().Submit(ctx, req)
	if err != nil {
		return err
	}
	for _, r := range res.GetResults() {
		if err := message.OpenRefusal(r.GetRefusal()); err != nil {
			return err
		}
	}
	return nil
}

// screens are posts that are read on a terminal by the real program.
func (a *arena) screens() (all []attack) {
	for _, p := range a.posts {
		all = append(all, attack{fmt.Sprintf("adctl: %q", p.trick), func(ctx context.Context) error {
			return a.clean(ctx, "read", p.id)
		}})
	}
	return append(all, attack{"adctl: all subjects", func(ctx context.Context) error {
		return a.clean(ctx, "posts", a.healthy.Address().String())
	}})
}

// adctl is the client, with a home of its own.
func (a *arena) adctl(ctx context.Context, args ...string) (*exec.Cmd, error) {
	home, err := os.MkdirTemp(a.dir, "home-")
	if err != nil {
		return nil, err
	}
	args = append(args, "--home", filepath.Join(home, "home"), "--tracker", a.town.Tracker.Reference)
	cmd := exec.CommandContext(ctx, filepath.Join(a.dir, "bin", "adctl"), args...)
	cmd.Env = append(os.Environ(), "TERM=xterm")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd, nil
}

// clean demands that what a terminal is shown does nothing to it.
func (a *arena) clean(ctx context.Context, args ...string) error {
	cmd, err := a.adctl(ctx, args...)
	if err != nil {
		return err
	}
	screen, err := tricks.Shown(cmd)
	if err != nil {
		return fmt.Errorf("%w: %q", err, screen)
	}
	text := strings.ReplaceAll(screen, "\r\n", "\n")
	if !strings.Contains(text, "subject") {
		return fmt.Errorf("nothing was shown: %q", text)
	}
	for _, r := range text {
		if r != '\n' && r != '\t' && !message.Visible(r) {
			return fmt.Errorf("the terminal was sent %U: %q", r, text)
		}
	}
	return nil
}

// piped is the control: a pipe gets the text as it is, so the tricks arrive.
func (a *arena) piped(ctx context.Context, missed func(string)) {
	cmd, err := a.adctl(ctx, "read", a.posts[0].id)
	if err != nil {
		missed(err.Error())
		return
	}
	out, err := cmd.Output()
	if err != nil || !bytes.Contains(out, []byte(a.posts[0].trick)) {
		missed(fmt.Sprintf("a pipe does not get the text as it is: %q, %v", out, err))
	}
}
