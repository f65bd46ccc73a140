package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/prove/proof"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// target is one port of one server.
type target struct {
	name, address string
	// metrics is true for the port that speaks plain HTTP to operators.
	metrics bool
}

// arena is the servers, somebody who uses them, and where attackers come from.
type arena struct {
	town    *proof.Town
	mail    *proof.Server
	targets []target
	names   []string
	servers []*proof.Server
	healthy *proof.Person
	tracker *rpc.Peer
	access  string
	// blind lives at a mail server to which no range was opened.
	blind  *proof.Person
	canary *canary
	posts  []post
	dir    string
	said   io.Writer
	panics int
	places atomic.Uint32
	// rooms are the doors that are no ports of calls, and further the ports of the mail server that has two
	// of them.
	rooms   []*room
	further []target
}

// open starts the servers and lets somebody join.
func open(ctx context.Context, programs proof.Programs, o proof.Options) (a *arena, err error) {
	a = &arena{town: &proof.Town{Programs: programs, Verifier: crypto.NewVerifier()}, said: o.Said, dir: o.Dir}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	if a.town.Tracker, err = a.start(ctx, "adtrackd"); err != nil {
		return a, err
	}
	if a.mail, err = a.start(ctx, "admaild", "--accounts", "open", "--tracker", a.town.Tracker.Reference); err != nil {
		return a, err
	}
	if a.healthy, err = a.town.Join(ctx, a.mail.Reference); err != nil {
		return a, err
	}
	ref, err := message.ParseReference(a.town.Tracker.Reference)
	if err != nil {
		return a, err
	}
	if a.tracker, _, err = a.healthy.Client.Open(ctx, ref); err != nil {
		return a, err
	}
	if err := a.trap(ctx); err != nil {
		return a, err
	}
	if err := a.openRooms(ctx); err != nil {
		return a, err
	}
	a.access, err = message.SignAccess(a.healthy.Keys.Chain, a.healthy.Host.Address(), time.Now(), 10*time.Minute, a.healthy.Keys.Signer)
	return a, err
}

// trap sets up what waits on the inside, whom it waits for, and the posts that
// aim at terminals.
func (a *arena) trap(ctx context.Context) (err error) {
	new(resolver).use()
	if a.canary, err = newCanary(); err != nil {
		return err
	}
	blind, err := a.start(ctx, "admaild", "--accounts", "open", "--tracker", a.town.Tracker.Reference)
	if err != nil {
		return err
	}
	if a.blind, err = a.town.Join(ctx, blind.Reference); err != nil {
		return err
	}
	return a.publish(ctx)
}

// free is an address of this machine that nobody listens on.
func free() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// start makes and starts one server, with a port for metrics.
func (a *arena) start(ctx context.Context, program string, args ...string) (*proof.Server, error) {
	if a.mail != nil {
		return a.launch(ctx, program, []string{"AD_PRIVATE_NETWORKS=192.0.2.0/24"}, args...) // instead of loopback, which init opened
	}
	return a.launch(ctx, program, nil, args...)
}

// launch starts one with settings.
func (a *arena) launch(ctx context.Context, program string, settings []string, args ...string) (*proof.Server, error) {
	at, err := free()
	if err != nil {
		return nil, err
	}
	metrics, err := free()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(a.dir, fmt.Sprintf("%s-%d", program, len(a.servers)))
	if _, err := a.town.Programs.Run(ctx, program, append([]string{"init", "--dir", dir, "--listen", at}, args...)...); err != nil {
		return nil, err
	}
	env := append([]string{"AD_METRICS=" + metrics, "AD_LOG__LEVEL=error"}, settings...)
	s, err := a.town.Programs.Serve(program, []string{"serve", "--dir", dir}, env...)
	if err != nil {
		return nil, err
	}
	a.servers, a.names = append(a.servers, s), append(a.names, program)
	a.targets = append(a.targets, target{program, at, false}, target{program + " metrics", metrics, true})
	return s, nil
}

func (a *arena) close() {
	for _, r := range a.rooms {
		r.close()
	}
	for _, p := range []*proof.Person{a.healthy, a.blind} {
		if p != nil {
			p.Client.Close()
		}
	}
	if a.canary != nil {
		_ = a.canary.Close()
	}
	for _, s := range a.servers {
		s.Kill()
	}
}

// doors are the ports that anybody may reach.
func (a *arena) doors() (out []target) {
	for _, t := range a.targets[:4] { // not the blind one
		if !t.metrics {
			out = append(out, t)
		}
	}
	return out
}

// plain connects from one of many addresses: a server lets in only so many
// connections from one, and the attack shall not stop at that.
func (a *arena) plain(ctx context.Context, t target) (*net.TCPConn, error) {
	n := a.places.Add(1)
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 9, byte(n>>6&127), byte(n&63)+1)}, Timeout: 10 * time.Second}
	c, err := d.DialContext(ctx, "tcp", t.address)
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// dial connects as a client of some protocol does: over TLS, but to metrics.
func (a *arena) dial(ctx context.Context, t target, protocols ...string) (net.Conn, error) {
	raw, err := a.plain(ctx, t)
	if err != nil || t.metrics {
		return raw, err
	}
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: protocols}) // who it is, is no question here
	if err := c.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return c, nil
}

// answered reads the status of an answer in HTTP/1.1; 0 is none. What remains is
// read and thrown away.
func answered(c net.Conn) int {
	_ = c.SetReadDeadline(time.Now().Add(patience / 2))
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 8<<20))
	return res.StatusCode
}

// samples are how long calls of the healthy client took.
type samples []time.Duration

// percentile is the 99th.
func percentile(s samples) time.Duration {
	if len(s) == 0 {
		return time.Hour
	}
	s = slices.Sorted(slices.Values(s))
	return s[min(len(s)-1, len(s)*99/100)]
}

// pace is how often the healthy client asks, and dead how long it waits.
const pace, dead = 20 * time.Millisecond, 10 * time.Second

// watch is the healthy client, for a time. A call that fails counts as dead.
func (a *arena) watch(ctx context.Context, long time.Duration) (out samples) {
	ctx, cancel := context.WithTimeout(ctx, long)
	defer cancel()
	ticks := time.NewTicker(pace)
	defer ticks.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return out
		case <-ticks.C:
		}
		begun := time.Now()
		limited, done := context.WithTimeout(context.WithoutCancel(ctx), dead)
		var err error
		if n%2 == 0 {
			_, err = a.healthy.Peer.Mailbox().Account(limited, &wirev1.AccountRequest{})
		} else {
			_, err = a.tracker.Directory().Lookup(limited, &wirev1.LookupRequest{Queries: []*wirev1.Query{{}}})
		}
		done()
		took := time.Since(begun)
		if err != nil {
			took = dead
		}
		out = append(out, took)
	}
}

// vital is what a server holds.
type vital struct{ goroutines, descriptors, panics int }

// vitals asks each server's metrics.
func (a *arena) vitals(ctx context.Context) (out []vital, err error) {
	for _, t := range slices.Concat(a.targets, a.further) {
		if !t.metrics {
			continue
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+t.address+"/metrics", nil)
		if err != nil {
			return nil, err
		}
		req.Close = true
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(res.Body)
		if err := errors.Join(err, res.Body.Close()); err != nil {
			return nil, err
		}
		read := func(name string) int {
			_, rest, _ := strings.Cut(string(b), "\n"+name+" ")
			line, _, _ := strings.Cut(rest, "\n")
			v, err := strconv.ParseFloat(line, 64)
			if err != nil {
				return 1 << 30
			}
			return int(v)
		}
		out = append(out, vital{read("go_goroutines"), read("process_open_fds"), read("airdispatch_panics_total")})
	}
	return out, nil
}

// slack is what comes and goes by itself: a renewed connection, a timer.
const slack = 8

// back reports whether servers hold no more than before.
func back(before, now []vital) bool {
	for i := range now {
		if now[i].goroutines > before[i].goroutines+slack || now[i].descriptors > before[i].descriptors+slack {
			return false
		}
	}
	return true
}

// settled demands that servers get back to what they held before, in a minute.
func (a *arena) settled(ctx context.Context, before []vital, f *proof.Figure) {
	for end := time.Now().Add(patience); ; {
		now, err := a.vitals(ctx)
		switch {
		case err != nil:
			f.Violations = append(f.Violations, "metrics: "+err.Error())
			return
		case back(before, now):
			return
		case time.Now().After(end):
			f.Violations = append(f.Violations, fmt.Sprintf("not back to %+v within a minute: %+v", before, now))
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

// health demands that servers live and have not panicked, and returns the most
// memory that one has had, in MiB.
func (a *arena) health(ctx context.Context, f *proof.Figure) int {
	most := 0
	now, err := a.vitals(ctx)
	if err != nil {
		f.Violations = append(f.Violations, "metrics: "+err.Error())
	}
	for _, v := range now {
		a.panics += v.panics
	}
	for i, s := range a.servers {
		if syscall.Kill(s.Pid(), 0) != nil {
			f.Violations = append(f.Violations, a.names[i]+" ended: "+s.Said())
		}
		if strings.Contains(s.Said(), "panic") || strings.Contains(s.Said(), "fatal error") {
			a.panics++
			f.Violations = append(f.Violations, a.names[i]+" said: "+s.Said())
		}
		if why := suspect(strings.ReplaceAll(s.Said(), "\n", " ")); why != "" {
			f.Violations = append(f.Violations, a.names[i]+" said "+why+": "+s.Said())
		}
		mib, err := peak(s.Pid())
		if err != nil {
			f.Violations = append(f.Violations, fmt.Sprintf("%s: %v", a.names[i], err))
			continue
		}
		fmt.Fprintf(a.said, "hostile: %s had %d MiB\n", a.names[i], mib)
		most = max(most, mib)
	}
	most = max(most, a.sound(f))
	if a.panics != 0 {
		f.Violations = append(f.Violations, fmt.Sprintf("%d panics", a.panics))
	}
	return most
}

// peak is the most memory that a process has had, in MiB.
func peak(pid int) (int, error) {
	_, most, err := proof.Memory(pid)
	return int(most), err
}

// halted stops the tracker for half a second, and is what the healthy client measured before and then.
func (a *arena) halted(ctx context.Context) (calm, stopped samples, err error) {
	calm = a.watch(ctx, time.Second)
	tracker := a.servers[0].Pid()
	if err := syscall.Kill(tracker, syscall.SIGSTOP); err != nil {
		return nil, nil, err
	}
	resume := time.AfterFunc(500*time.Millisecond, func() { _ = syscall.Kill(tracker, syscall.SIGCONT) })
	stopped = a.watch(ctx, time.Second)
	resume.Stop()
	return calm, stopped, syscall.Kill(tracker, syscall.SIGCONT)
}

// controls puts faults in on purpose.
func (a *arena) controls(ctx context.Context, f *proof.Figure) error {
	missed := func(what string) { f.Violations = append(f.Violations, "the control: "+what) }
	for tries := 1; ; tries++ {
		calm, stopped, err := a.halted(ctx)
		if err != nil {
			return err
		}
		if percentile(stopped) > maxSlowdown*percentile(calm) {
			break
		}
		if tries == attempts {
			missed(fmt.Sprintf("a server was stopped, and the healthy client's p99 was %s, %s before", percentile(stopped), percentile(calm)))
			break
		}
	}
	before, err := a.vitals(ctx)
	if err != nil {
		return err
	}
	for range 2 * slack {
		c, err := a.dial(ctx, a.targets[0], "h2")
		if err != nil {
			return err
		}
		defer c.Close()
	}
	now, err := a.vitals(ctx)
	if err != nil {
		return err
	}
	if back(before, now) {
		missed("connections are held, and the servers are said to be back")
	}
	if err := a.faulty(ctx, missed); err != nil {
		return err
	}
	a.reached(ctx, missed)
	a.piped(ctx, missed)
	return a.whole(ctx, missed)
}
