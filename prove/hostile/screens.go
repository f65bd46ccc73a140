package main

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// post is a public message that aims at a terminal.
type post struct{ id, trick string }

// tricks are texts that do something to a terminal, or deceive who looks at it.
func tricks() []string {
	return []string{
		"\x1b[2J\x1b[H", "\x1b]0;title\x07", "\x1b]52;c;Y293\x07", "\x1b]8;;https://evil.example\x1b\\here\x1b]8;;\x1b\\", "\x1b[31mred\x1b[0m", "\x1b[8mhidden", "\x1bP+q544e\x1b\\", "\x1b[6n", "\x1b[c", "\x1b[21t", "\x1bc", "\x1b[?1049h", "\x1b_Gf=24\x1b\\", "\x1b^x\x1b\\", "\x1bX\x1b\\", "\x1b[1;1Hfrom: you",
		"\u009b2J", "\u009d0;title\u009c", "\u0090x\u009c", "\u0085next", "\u0080\u0081", "\x07\x07\x07", "abc\b\b\bxyz", "real\rfake", "\x0bdown", "\x0cpage", "\x0eshift\x0f", "\x00zero", "\x7fdelete", "\x05", "\x16\x17\x18\x1a",
		"\u202egpj.exe", "\u202dx", "\u2066x\u2069", "\u2067x", "\u2068x", "\u200eleft\u200f", "\u061carab", "zero\u200bwidth", "join\u200der", "\ufeffbom", "soft\u00adhyphen", "fill\u3164er", "\u2028line\u2029", "\u2060x\u2061", "\ufff9a\ufffab\ufffb", "\U000e0041tag", "\u180e", "\u115f\u1160", "\u034f",
	}
}

// publish posts every trick, as subject and as body.
func (a *arena) publish(ctx context.Context) error {
	p := a.healthy
	req := &wirev1.SubmitRequest{}
	for n, trick := range tricks() {
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
	screen, err := shown(cmd)
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

// shown runs a program on a terminal and returns what it shows.
func shown(cmd *exec.Cmd) (string, error) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return "", err
	}
	defer master.Close()
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		return "", err
	}
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return "", err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
	if err := errors.Join(cmd.Start(), slave.Close()); err != nil {
		return "", err
	}
	read := make(chan string)
	go func() {
		b, _ := io.ReadAll(master) // it ends with an error when the program closes the terminal
		read <- string(b)
	}()
	err = cmd.Wait()
	return <-read, err
}
