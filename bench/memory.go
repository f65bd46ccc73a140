package bench

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"airdispatch/crypto"
	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

const (
	// watched is how many watchers there are in the end.
	watched = 1000
	// settling is how long a server is left alone before its memory is read,
	// and no collection is forced on it: ours and the peer's alike.
	settling = 10 * time.Second
)

// Serve is one server in a process of its own: it says on out where it can be
// reached and ends when in does. Kind is mail or nats.
func Serve(kind, dir string, in io.Reader, out io.Writer) error {
	switch kind {
	case "mail":
		h, err := openMail(dir)
		if err != nil {
			return err
		}
		defer h.close()
		b, err := proto.Marshal(h.identity.Wire())
		if err != nil {
			return err
		}
		fmt.Fprintln(out, base64.StdEncoding.EncodeToString(b))
	case "nats":
		s, err := natsServer(dir)
		if err != nil {
			return err
		}
		defer s.WaitForShutdown()
		defer s.Shutdown()
		fmt.Fprintln(out, s.ClientURL())
	default:
		return fmt.Errorf("serve: %q is neither mail nor nats", kind)
	}
	_, err := io.Copy(io.Discard, in)
	return err
}

// A child is a server in a process of its own.
type child struct {
	cmd  *exec.Cmd
	in   io.Closer
	line string
}

func newChild(program, kind, dir string) (*child, error) {
	c := &child{cmd: exec.Command(program, "-child", kind, "-dir", dir)}
	in, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.in, c.cmd.Stderr = in, os.Stderr
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	if c.line, err = bufio.NewReader(out).ReadString('\n'); err != nil {
		c.close()
		return nil, err
	}
	c.line = strings.TrimSpace(c.line)
	return c, nil
}

func (c *child) close() {
	_ = c.in.Close()
	_ = c.cmd.Wait()
}

// resident is the memory that the process occupies, in MiB, once it was idle.
func (c *child) resident() (float64, error) {
	time.Sleep(settling)
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			return float64(kib) / 1024, err
		}
	}
	return 0, fmt.Errorf("memory: no VmRSS")
}

// host is the server of a mail child, as its clients see it.
func (c *child) host() (*Host, error) {
	b, err := base64.StdEncoding.DecodeString(c.line)
	if err != nil {
		return nil, err
	}
	var w wirev1.Identity
	if err := proto.Unmarshal(b, &w); err != nil {
		return nil, err
	}
	i, err := message.OpenIdentity(crypto.Single{}, &w, nil)
	return &Host{identity: i}, err
}

// A census is memory in MiB: idle, with one watcher, with all of them.
type census struct{ idle, one, all float64 }

// Memory measures and writes a table. Program is this program, which serves as
// the servers too.
func Memory(program, dir string, out io.Writer) error {
	dir, err := os.MkdirTemp(dir, "airdispatch-memory-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Fprintf(out, "\n### Memory, resident MiB after %s without a call\n\n| | idle | 1 watcher | %d watchers | each |\n|---|---|---|---|---|\n", settling, watched)
	for _, m := range []struct {
		name    string
		measure func(program, dir string) (census, error)
	}{
		{"mail server, each watcher its inbox on a connection of its own", mailCensus},
		{"mail server, followers of posts, 50 on a connection", followCensus},
		{"NATS, each subscriber on a connection of its own, plain TCP", natsCensus},
	} {
		sub, err := os.MkdirTemp(dir, "server-")
		if err != nil {
			return err
		}
		c, err := m.measure(program, sub)
		if err != nil {
			return fmt.Errorf("memory: %s: %w", m.name, err)
		}
		fmt.Fprintf(out, "| %s | %.1f | %.1f | %.1f | %.0f KiB |\n", m.name, c.idle, c.one, c.all, (c.all-c.idle)*1024/watched)
	}
	return nil
}

// mailCensus watches inboxes. The accounts are made before, by a process that is
// not the one that is measured.
func mailCensus(program, dir string) (census, error) {
	before, err := newChild(program, "mail", dir)
	if err != nil {
		return census{}, err
	}
	h, err := before.host()
	if err != nil {
		before.close()
		return census{}, err
	}
	people, err := h.residents(watched)
	before.close()
	if err != nil {
		return census{}, err
	}
	leave(people)
	c, err := newChild(program, "mail", dir)
	if err != nil {
		return census{}, err
	}
	defer c.close()
	if h, err = c.host(); err != nil {
		return census{}, err
	}
	for _, p := range people {
		if p.client, p.peer, err = h.asker(p.keys); err != nil {
			return census{}, err
		}
	}
	defer leave(people)
	return take(c, func(ctx context.Context, i int) (func() error, func(), error) {
		s, err := people[i].peer.Mailbox().Watch(ctx, &wirev1.WatchRequest{})
		if err != nil {
			return nil, nil, err
		}
		return receiver(s.Receive, s.Err), func() { _ = s.Close() }, nil
	})
}

// followCensus follows one author, many streams on one connection.
func followCensus(program, dir string) (census, error) {
	c, err := newChild(program, "mail", dir)
	if err != nil {
		return census{}, err
	}
	defer c.close()
	h, err := c.host()
	if err != nil {
		return census{}, err
	}
	author, err := h.resident(0)
	if err != nil {
		return census{}, err
	}
	author.client.Close()
	strangers, err := h.strangers(watched / 50)
	if err != nil {
		return census{}, err
	}
	defer leave(strangers)
	return take(c, func(ctx context.Context, i int) (func() error, func(), error) {
		s, err := strangers[i%len(strangers)].peer.Exchange().Follow(ctx, &wirev1.FollowRequest{Address: author.keys.Address().Bytes()})
		if err != nil {
			return nil, nil, err
		}
		return receiver(s.Receive, s.Err), func() { _ = s.Close() }, nil
	})
}

// take reads the memory before and after watchers come.
func take(c *child, open func(context.Context, int) (func() error, func(), error)) (census, error) {
	var out census
	var err error
	if out.idle, err = c.resident(); err != nil {
		return out, err
	}
	for _, step := range []struct {
		first, n int
		into     *float64
	}{{0, 1, &out.one}, {1, watched - 1, &out.all}} {
		w := newWaking(step.n)
		stop, err := watchAll(step.n, w, func(ctx context.Context, i int) (func() error, func(), error) { return open(ctx, step.first+i) })
		if err != nil {
			return out, err
		}
		defer stop()
		if *step.into, err = c.resident(); err != nil {
			return out, err
		}
	}
	return out, nil
}

// natsCensus subscribes, each subscriber to a subject of its own.
func natsCensus(program, dir string) (census, error) {
	c, err := newChild(program, "nats", filepath.Join(dir, "nats"))
	if err != nil {
		return census{}, err
	}
	defer c.close()
	var out census
	if out.idle, err = c.resident(); err != nil {
		return out, err
	}
	for i := range watched {
		conn, err := nats.Connect(c.line)
		if err != nil {
			return out, err
		}
		defer conn.Close()
		if _, err := conn.Subscribe(fmt.Sprintf("mail.%d", i), func(*nats.Msg) {}); err != nil {
			return out, err
		}
		if err := conn.Flush(); err != nil {
			return out, err
		}
		if i == 0 {
			if out.one, err = c.resident(); err != nil {
				return out, err
			}
		}
	}
	out.all, err = c.resident()
	return out, err
}
