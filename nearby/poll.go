package nearby

import (
	"context"
	"io"
	"net/http"
	"net/netip"
	"sync"
	"time"

	wirev1 "airdispatch/wire/airdispatch/v1"
)

const (
	// defaultPoll is that of P2P v0.4.
	defaultPoll = 30 * time.Second
	// maxPolled is how many are asked in one round, pollsAtOnce of them at once, and pollsOfHost of one host.
	maxPolled, pollsAtOnce, pollsOfHost = 64, 4, 4
	// pollWithin is how long one may take; pollsMissed is how often in turn it may not answer.
	pollWithin  = 3 * time.Second
	pollsMissed = 2
	// lowestPolled is the lowest port that is asked: below it are services that belong to
	// the system of a host, and no peer.
	lowestPolled = 1024
	// askedForPeers is how many are asked in one round whom else they know; introduced how many
	// hosts are then sent a datagram, each again after introducedAgain.
	askedForPeers   = 2
	introduced      = 16
	introducedAgain = 10 * time.Minute
	// maxPeersList and maxPingAnswer bound what is read.
	maxPeersList  = 64 << 10
	maxPingAnswer = 1 << 10
)

// pollAnswer is what came of a poll.
type pollAnswer int

const (
	isSilent pollAnswer = iota
	isThere
	isStopping
)

// poller asks those who are there, as peers of P2P v0.4 do: whether they still are, and whom they know. It
// connects only to where a datagram came from, on a network of this host; what it is told
// of others never makes it connect, it makes it say by one datagram that it is here.
type poller struct {
	e    *explorer
	http *http.Client
	// met are the hosts that were sent a datagram because somebody named them.
	met map[netip.Addr]time.Time
}

// poll polls until ctx ends.
func (e *explorer) poll(ctx context.Context) {
	p := &poller{e: e, met: map[netip.Addr]time.Time{}, http: &http.Client{
		Timeout:       pollWithin,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DialContext: e.n.c.Dial, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxHeader},
	}}
	tick := time.NewTicker(e.n.c.Explore.Poll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.round(ctx)
		}
	}
}

// may reports whether a peer is polled: where it was heard from, and where it does not lead to
// something that is no peer.
func (p *poller) may(o Peer) bool {
	return !o.Public && o.Place.Addr().Unmap() == o.host && o.Place.Port() >= lowestPolled && p.e.onLink(o.host)
}

// round asks everybody who is due.
func (p *poller) round(ctx context.Context) {
	n := p.e.n
	var all sync.WaitGroup
	var mu sync.Mutex
	var there []Peer
	places := make(chan struct{}, pollsAtOnce)
	for _, o := range n.table.due(time.Now(), p.may) {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			answer := p.ping(ctx, o)
			if ctx.Err() != nil {
				return // it was not asked
			}
			n.table.polled(o, time.Now(), answer)
			if answer == isThere {
				mu.Lock()
				defer mu.Unlock()
				there = append(there, o)
			}
		})
	}
	all.Wait()
	left := introduced
	for _, o := range there[:min(len(there), askedForPeers)] {
		left -= p.meet(ctx, p.peers(ctx, o), left)
	}
}

// ask asks one peer, in the clear, and reads so much of its answer.
func (p *poller) ask(ctx context.Context, o Peer, path string, limit int64) (status int, body []byte) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+o.Place.String()+path, nil)
	if err != nil {
		return 0, nil
	}
	if path != "/ping" {
		req.Header.Set(idHeader, p.e.n.ID().String())
	}
	res, err := p.http.Do(req)
	if err != nil {
		return 0, nil
	}
	defer func() { _ = res.Body.Close() }() // it was read as far as it is wanted
	body, err = io.ReadAll(io.LimitReader(res.Body, limit+1))
	if err != nil {
		return 0, nil
	}
	return res.StatusCode, body
}

func (p *poller) ping(ctx context.Context, o Peer) pollAnswer {
	switch status, _ := p.ask(ctx, o, "/ping", maxPingAnswer); status {
	case http.StatusOK:
		return isThere
	case http.StatusServiceUnavailable:
		return isStopping
	}
	return isSilent
}

// peers is whom a peer knows.
func (p *poller) peers(ctx context.Context, o Peer) []netip.Addr {
	status, body := p.ask(ctx, o, "/peers", maxPeersList)
	if status != http.StatusOK {
		return nil
	}
	hosts, err := parsePeers(body)
	if err != nil {
		p.e.n.log.DebugContext(ctx, "nearby: a list of peers is not taken", "from", o.Place, "error", err)
	}
	return hosts
}

// parsePeers reads the answer of /peers: the hosts in it.
func parsePeers(b []byte) ([]netip.Addr, error) {
	var w wirev1.NearbyPeers
	if err := parse(b, maxPeersList, &w); err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, one := range w.GetPeers()[:min(len(w.GetPeers()), maxListed)] {
		if _, err := readPeer(one); err != nil {
			continue
		}
		if ip, err := netip.ParseAddr(one.GetIp()); err == nil && ip.Zone() == "" {
			out = append(out, ip.Unmap())
		}
	}
	return out, nil
}

// meet tells hosts that somebody has named that the node is here, so that they answer if they are peers. Only
// those on a network of this host, whom it does not know, each once in a while; it returns how many.
func (p *poller) meet(ctx context.Context, hosts []netip.Addr, most int) int {
	n, now := p.e.n, time.Now()
	for h, at := range p.met {
		if now.Sub(at) > introducedAgain {
			delete(p.met, h)
		}
	}
	known := map[netip.Addr]bool{}
	for _, o := range n.Peers() {
		known[o.host] = true
	}
	b, err := n.announcement(now)
	if err != nil {
		n.log.WarnContext(ctx, "nearby: nothing can be announced", "error", err)
		return 0
	}
	sent := 0
	for _, h := range hosts {
		_, met := p.met[h]
		if sent >= most || met || known[h] || len(p.met) >= allHosts || !h.IsGlobalUnicast() && !h.IsLoopback() || !p.e.onLink(h) {
			continue
		}
		p.met[h] = now
		sent++
		p.e.to(ctx, b, netip.AddrPortFrom(h, n.c.Explore.Port))
	}
	return sent
}
