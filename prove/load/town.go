package main

import (
	"context"
	crand "crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/prove/proof"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// town is a tracker, a mail server, and an author whom everybody follows.
type town struct {
	*proof.Town
	dir     string
	mail    *proof.Server
	metrics string
	author  *proof.Person
}

// free is an address of this machine that nobody listens on.
func free() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// openTown starts the servers, the mail server with some settings.
func openTown(ctx context.Context, programs proof.Programs, dir string, settings ...string) (t *town, err error) {
	t = &town{Town: &proof.Town{Programs: programs, Verifier: crypto.NewVerifier()}, dir: dir}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	if t.Tracker, err = t.start(ctx, "adtrackd", nil); err != nil {
		return nil, err
	}
	if t.metrics, err = free(); err != nil {
		return nil, err
	}
	settings = append([]string{"AD_METRICS=" + t.metrics, "AD_LOG__LEVEL=error"}, settings...)
	if t.mail, err = t.start(ctx, "admaild", settings, "--accounts", "open", "--tracker", t.Tracker.Reference); err != nil {
		return nil, err
	}
	t.author, err = t.Join(ctx, t.mail.Reference)
	return t, err
}

// start makes and starts one server.
func (t *town) start(ctx context.Context, program string, env []string, args ...string) (*proof.Server, error) {
	at, err := free()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(t.dir, program)
	if _, err := t.Programs.Run(ctx, program, append([]string{"init", "--dir", dir, "--listen", at}, args...)...); err != nil {
		return nil, err
	}
	return t.Programs.Serve(program, []string{"serve", "--dir", dir}, env...)
}

func (t *town) close() {
	if t.author != nil {
		t.author.Client.Close()
	}
	for _, s := range []*proof.Server{t.mail, t.Tracker} {
		if s != nil {
			s.Kill()
		}
	}
}

// memory is what the mail server occupies, and the most it ever did, in MiB.
func (t *town) memory() (now, most float64, err error) { return proof.Memory(t.mail.Pid()) }

// vital is what the mail server holds.
type vital struct{ goroutines, descriptors, panics int }

// vitals asks its metrics.
func (t *town) vitals(ctx context.Context) (vital, error) {
	v, err := proof.Metrics(ctx, t.metrics, "go_goroutines", "process_open_fds", "airdispatch_panics_total")
	if err != nil {
		return vital{}, err
	}
	return vital{v[0], v[1], v[2]}, nil
}

// member is a crowd or a storm, in a process of its own.
type member struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	from *json.Decoder
	to   *json.Encoder
}

// gather starts one. It is told what to do, and not waited for.
func gather(kind string, job any) (*member, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	m := &member{cmd: exec.Command(program, kind)}
	m.cmd.Stderr = os.Stderr
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if m.in, err = m.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	m.from, m.to = json.NewDecoder(out), json.NewEncoder(m.in)
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	return m, m.to.Encode(job)
}

// ask asks a crowd something.
func (m *member) ask(q crowdAsk) (*crowdSaid, error) {
	if err := m.to.Encode(q); err != nil {
		return nil, err
	}
	var said crowdSaid
	return &said, m.from.Decode(&said)
}

// leave ends the process of a crowd, and with it all its connections.
func (m *member) leave() {
	_ = m.in.Close()
	_ = m.cmd.Process.Kill() // it may have ended by itself
	_ = m.cmd.Wait()
}

// marshal is an identity as it travels.
func marshal(i *message.Identity) ([]byte, error) { return proto.Marshal(i.Wire()) }

// posted is one message that was taken.
type posted struct {
	mid         string
	begun, done time.Time
	// seq is its place in the log.
	seq uint64
}

// post submits one message of an author, public or to readers.
func post(ctx context.Context, author *proof.Person, readers ...*message.Chain) (p posted, err error) {
	d := message.Draft{Author: author.Keys.Chain, Time: time.Now(), Terms: message.Revisable, Audience: message.Public, Content: &message.Content{}}
	if len(readers) > 0 {
		d.Audience, d.Readers = message.Private, readers
	}
	d.Content.Set(message.TypeMarkdown, []byte("a post that wakes all"))
	if d.MID, err = message.NewMID(d.Time, crand.Reader); err != nil {
		return p, err
	}
	s, err := message.Seal(d, author.Keys.Signer, crand.Reader)
	if err != nil {
		return p, err
	}
	p.mid, p.begun = string(d.MID.Bytes()), time.Now()
	res, err := author.Peer.Mailbox().Submit(ctx, &wirev1.SubmitRequest{Submissions: []*wirev1.Submission{{Head: s.Head.Signed, Slots: s.Slots, Payload: s.Payload}}})
	p.done = time.Now()
	if err != nil {
		return p, err
	}
	if n := len(res.GetResults()); n != 1 {
		return p, fmt.Errorf("%d results", n)
	}
	if err := message.OpenRefusal(res.GetResults()[0].GetRefusal()); err != nil {
		return p, err
	}
	r, err := message.OpenReceipt(crypto.Single{}, author.Host.Chain, res.GetResults()[0].GetReceipt())
	if err != nil {
		return p, err
	}
	p.seq = r.LogSeq
	return p, nil
}
