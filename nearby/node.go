package nearby

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"airdispatch/crypto"
	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// People is what a node has to know of others.
type People interface {
	// Contacts may find out who one is.
	Contacts(ctx context.Context) ([]message.Address, error)
	// Chain is what is known of an address. Errors: message.NotFound.
	Chain(ctx context.Context, a message.Address) (*message.Chain, error)
	// Learn verifies cards that somebody showed, against what is known, and keeps
	// those of contacts.
	Learn(ctx context.Context, w *wirev1.Identity) (*message.Chain, error)
}

// Inbox takes letters in.
type Inbox interface {
	// Deliver keeps a letter that its author, a contact, has brought. A letter that is
	// there already is no error.
	Deliver(ctx context.Context, from message.Address, w *wirev1.NearbyLetter) error
}

// Config is what a Node is made of. Rand, Listen and Dial are required.
type Config struct {
	// ID is what peers of P2P v0.4 know a visible node by; a hidden one has another
	// every ten minutes.
	ID ID
	// Port is where Serve answers.
	Port uint16
	// Public, where valid, is told to others instead of where they heard one from.
	Public netip.Addr
	// Visible nodes tell everybody whose they are.
	Visible bool
	Explore Explore
	// Keyring is whose the node is; nil is nobody, and then nobody can prove anything.
	Keyring *message.Keyring
	People  People
	// Inbox and Files may be nil: then letters are refused, and nothing is shared.
	Inbox Inbox
	Files Shelf
	// Heard is told of every line of a session that somebody else has opened. It is called by one
	// goroutine for each session.
	Heard func(s *Session, line Line)
	// Listen opens UDP sockets; several programs may share a port.
	Listen func(ctx context.Context, network, address string) (net.PacketConn, error)
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)
	Rand   io.Reader
	// Log may be nil.
	Log *slog.Logger
}

// Explore says how to look for others; see docs/protocol.md §15.1.
type Explore struct {
	// Period between announcements; zero is 20 seconds.
	Period time.Duration
	// Port is where datagrams are taken in.
	Port uint16
	// Multicast and Multicast6 are groups, Broadcast an address; those that are not
	// valid are not used.
	Multicast, Multicast6, Broadcast netip.AddrPort
	// Interface is the only one to use; "" is all.
	Interface string
	// Peers are asked by unicast too.
	Peers []netip.AddrPort
	// Poll is how often Run asks those who are there whether they still are; zero is 30 seconds, less is never.
	Poll time.Duration
}

const (
	// defaultPeriod is that of P2P v0.4.
	defaultPeriod = 20 * time.Second
	// patience is for how many periods a silent peer is remembered.
	patience = 4
	// slot is how long a beacon lasts.
	slot = 10 * time.Minute
	// helloLife is how long a hello is good, and helloAgain after which time there is
	// a new one.
	helloLife, helloAgain = 5 * time.Minute, time.Minute
	// answersPerSecond is how often anybody is answered at all.
	answersPerSecond = 10
)

const (
	beaconLabel = "nearby beacon"
	knockLabel  = "nearby knock"
	idLabel     = "nearby id"
)

// Node is one peer. Safe for concurrent use.
type Node struct {
	c        Config
	table    *Table
	log      *slog.Logger
	verifier crypto.Verifier
	answers  *rate.Limiter
	hosts    *hosts
	known    recognised
	guests   guests
	sessions sessions
	lives    lives
	stopping atomic.Bool

	// mu guards the hello that was made last.
	mu    sync.Mutex
	hello *message.Hello
}

// New makes a node, which starts nothing.
func New(c Config) (*Node, error) {
	if c.Rand == nil || c.Listen == nil || c.Dial == nil || c.Port == 0 || c.ID == (ID{}) {
		return nil, fmt.Errorf("nearby: new: Rand, Listen, Dial, Port and ID are required: %w", message.Invalid)
	}
	if c.Explore.Period <= 0 {
		c.Explore.Period = defaultPeriod
	}
	if c.Explore.Poll == 0 {
		c.Explore.Poll = defaultPoll
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Node{
		c: c, table: NewTable(patience * c.Explore.Period), log: c.Log, verifier: crypto.Single{},
		answers: rate.NewLimiter(answersPerSecond, answersPerSecond), hosts: newHosts(),
		guests: guests{chains: map[message.Address]*message.Chain{}}, sessions: sessions{all: map[*Session]struct{}{}},
		lives: lives{listeners: map[string]*Listener{}, open: map[*Conn]struct{}{}, places: map[message.Address]int{}},
	}, nil
}

// Peers is who is there.
func (n *Node) Peers() []Peer { return n.table.Peers(time.Now()) }

// ID is what the node calls itself now.
func (n *Node) ID() ID { return n.id(time.Now()) }

func (n *Node) id(now time.Time) ID {
	if n.c.Visible {
		return n.c.ID
	}
	b := crypto.Beacon(n.c.ID[:], idLabel, slotOf(now))
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // as a random UUID
	return b
}

// slotOf is the number of the ten minutes that a time lies in.
func slotOf(t time.Time) uint64 { return uint64(t.Unix()) / uint64(slot/time.Second) }

// self is what the node says of itself: in full, or less where limit is not enough;
// nil where nothing fits.
func (n *Node) self(now time.Time, answer bool) (*wirev1.NearbyPeer, error) {
	id := n.id(now)
	w := &wirev1.NearbyPeer{Id: &wirev1.NearbyID{Value: id[:]}, Port: int32(n.c.Port), Answer: answer}
	if n.c.Public.IsValid() {
		w.Ip, w.IsPublicIp = n.c.Public.String(), true
	}
	if n.c.Keyring == nil {
		return w, nil
	}
	if !n.c.Visible {
		a := n.c.Keyring.Address()
		b := crypto.Beacon(a.Bytes(), beaconLabel, slotOf(now))
		w.Beacon = b[:]
		return w, nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hello == nil || now.Sub(n.hello.Time) > helloAgain || now.Before(n.hello.Time) {
		h, err := message.SignHello(message.Hello{Peer: id, Port: n.c.Port, Time: now, Expires: now.Add(helloLife)}, n.c.Keyring.Chain, n.c.Keyring.Signer)
		if err != nil {
			return nil, err
		}
		n.hello = h
	}
	w.Hello = n.hello.Signed
	return w, nil
}

// recognised are the beacons of contacts around now.
type recognised struct {
	mu    sync.Mutex
	until time.Time
	by    map[[16]byte]message.Address
}

// contactsAgain is after which time contacts are read again.
const contactsAgain = 15 * time.Second

// recognise finds whose a beacon is; zero for one whose address is not known.
func (n *Node) recognise(ctx context.Context, b [16]byte, now time.Time) message.Address {
	if n.c.People == nil {
		return message.Address{}
	}
	n.known.mu.Lock()
	defer n.known.mu.Unlock()
	if n.known.by == nil || !now.Before(n.known.until) {
		all, err := n.c.People.Contacts(ctx)
		if err != nil {
			n.log.WarnContext(ctx, "nearby: contacts cannot be read", "error", err)
			return message.Address{}
		}
		if n.c.Keyring != nil {
			all = append(all, n.c.Keyring.Address()) // one's own other devices
		}
		n.known.by = make(map[[16]byte]message.Address, 3*len(all))
		for _, a := range all {
			for at := slotOf(now) - 1; at <= slotOf(now)+1; at++ { // clocks differ
				n.known.by[crypto.Beacon(a.Bytes(), beaconLabel, at)] = a
			}
		}
		n.known.until = now.Add(contactsAgain)
	}
	return n.known.by[b]
}

// isContact reports whether an address is one's own or a contact's.
func (n *Node) isContact(ctx context.Context, a message.Address) bool {
	if n.c.People == nil || n.c.Keyring == nil {
		return false
	}
	if a == n.c.Keyring.Address() {
		return true
	}
	all, err := n.c.People.Contacts(ctx)
	if err != nil {
		return false
	}
	for _, c := range all {
		if c == a {
			return true
		}
	}
	return false
}
