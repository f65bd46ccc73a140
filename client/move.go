package client

import (
	"context"
	"maps"
	"slices"
	"time"

	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
	"airdispatch/store/home"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

const (
	// goodbye bounds what is asked of a server that one leaves: it may be gone.
	goodbye = 10 * time.Second
	// perCall is how many verdicts, or senders to ask, one call carries.
	perCall = 1000
	// maxAsked bounds whose servers are asked.
	maxAsked = 10 * perCall
)

// move is what one takes along to another server.
type move struct {
	// old is the server that one leaves; nil where it cannot be reached.
	old   *rpc.Peer
	rules []*wirev1.Rule
	// ask is whose servers may hold what was alerted to the old server alone.
	ask [][]byte
}

// moving gathers what is taken along when the account is at another server than
// to; an empty move where it is not. Verdicts are those of the old server; where it
// does not answer, whoever wrote into the inbox, or was written to, counts as
// allowed.
func (c *Client) moving(ctx context.Context, to message.Address) (move, error) {
	var m move
	was, err := c.home.Account(ctx, c.me)
	if absent(err) || (err == nil && was.Server.Address == to) {
		return m, nil
	}
	if err != nil {
		return m, err
	}
	short, cancel := context.WithTimeout(ctx, goodbye)
	defer cancel()
	// Whose letters one has not heard of, the new server would not ask about.
	if err := c.ask(short, func(p *rpc.Peer) error { return c.syncPages(short, p, &Synced{}) }); err != nil {
		c.log.WarnContext(ctx, "the old server does not tell what came", "error", err)
	}
	met, err := c.correspondents(ctx)
	if err != nil {
		return m, err
	}
	verdicts, err := c.Policies(short)
	if err != nil {
		c.log.WarnContext(ctx, "the old server does not tell its verdicts", "error", err)
		verdicts = met
	} else {
		m.old, _, _ = c.server(short)
	}
	for _, a := range inOrder(verdicts) {
		v, w := verdicts[a], wirev1.Verdict_VERDICT_ALLOW
		switch v {
		case store.Stranger:
			continue
		case store.Block:
			w = wirev1.Verdict_VERDICT_BLOCK
		}
		m.rules = append(m.rules, &wirev1.Rule{Address: a.Bytes(), Verdict: w})
		met[a] = v
	}
	for _, a := range inOrder(met) {
		if met[a] != store.Block && a != c.me && len(m.ask) < maxAsked {
			m.ask = append(m.ask, a.Bytes())
		}
	}
	return m, nil
}

// inOrder are the addresses that verdicts are about, in their order: what one tells
// a server is the same whenever one tells it.
func inOrder(verdicts map[message.Address]store.Verdict) []message.Address {
	return slices.SortedFunc(maps.Keys(verdicts), message.Address.Compare)
}

// correspondents is everybody with whom there has been mail, or who has a name
// here, and whether they count as allowed.
func (c *Client) correspondents(ctx context.Context) (map[message.Address]store.Verdict, error) {
	met := make(map[message.Address]store.Verdict)
	contacts, err := c.home.Contacts(ctx)
	if err != nil {
		return nil, err
	}
	for _, contact := range contacts {
		met[contact.Address] = store.Stranger
	}
	received, err := c.home.List(ctx, c.me, home.Query{Box: home.Received})
	if err != nil {
		return nil, err
	}
	for _, m := range received {
		if m.Folder != store.Requests {
			met[m.Ref.From] = store.Allow
		} else if _, ok := met[m.Ref.From]; !ok {
			met[m.Ref.From] = store.Stranger
		}
	}
	sent, err := c.home.List(ctx, c.me, home.Query{Box: home.Sent})
	if err != nil {
		return nil, err
	}
	for _, m := range sent {
		claim, err := message.ParseHead(m.Head)
		if err != nil {
			continue
		}
		h, err := claim.VerifyKept(c.verifier, c.c.Keyring.Chain)
		if err != nil {
			continue
		}
		for _, a := range h.To {
			met[a] = store.Allow
		}
	}
	return met, nil
}

// bring hands the verdicts to the new server.
func (m *move) bring(ctx context.Context, to *rpc.Peer) error {
	for rules := m.rules; len(rules) > 0; {
		n := min(len(rules), perCall)
		if _, err := to.Mailbox().Policy(ctx, &wirev1.PolicyRequest{Rules: rules[:n]}); err != nil {
			return err
		}
		rules = rules[n:]
	}
	return nil
}

// leave tells the old server where one has gone, so that it takes no mail any
// more. Where it cannot be told, the new one finds what it takes meanwhile.
func (m *move) leave(ctx context.Context, c *Client, route *message.Route) {
	if m.old == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, goodbye)
	defer cancel()
	if err := c.announce(ctx, m.old, route, nil, nil); err != nil {
		c.log.WarnContext(ctx, "the old server was not told of the move", "error", err)
	}
}

// hear takes what the old server took in until it was told of the move: it will
// tell nobody else. The cursor is still that of its log.
func (m *move) hear(ctx context.Context, c *Client) {
	if m.old == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, goodbye)
	defer cancel()
	if err := c.syncPages(ctx, m.old, &Synced{}); err != nil {
		c.log.WarnContext(ctx, "the old server does not tell what came last", "error", err)
	}
}

// broughtAgain is how a message is marked that had come before, in the same
// version, and has now come once more: through a new server, or one that had lost
// it. What its reader did with it holds; m takes it over.
func (c *Client) broughtAgain(ctx context.Context, m *home.Message) (Marks, bool) {
	was, err := c.home.Message(ctx, c.me, m.Ref)
	if err != nil || m.Version == 0 || was.Box&home.Received == 0 || was.Version != m.Version || !m.Arrived.After(was.Arrived) {
		return Marks{}, false
	}
	var k Marks
	if was.Read && !m.Read {
		m.Read, k.Read = true, Set
	}
	if was.Hidden && !m.Hidden {
		m.Hidden, k.Deleted = true, Set
	}
	if was.Folder == store.Archive && m.Folder == store.Inbox {
		m.Folder, k.Archived = store.Archive, Set
	}
	return k, k != Marks{}
}
