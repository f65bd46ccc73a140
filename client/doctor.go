package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store/home"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// maxSkew is how far the own clock may be from the server's before it is worth
// a word: what protocols forgive is two minutes.
const maxSkew = time.Minute

// Finding is one thing that a doctor looked at.
type Finding struct {
	// What was looked at, in a few words.
	What string
	// Fine, and what was found; Advice says what to do where it is not fine.
	Fine          bool
	Found, Advice string
}

// Doctor looks at everything that must work for mail to flow: what is kept, the account, the
// server, the clock, the trackers, the route and its ticket.
func (c *Client) Doctor(ctx context.Context) []Finding {
	out := []Finding{c.checkMemory(ctx)}
	a, err := c.Account(ctx)
	if err != nil {
		f := Finding{What: "account", Found: err.Error(), Advice: "join a server with `adctl register --server REF --tracker REF`"}
		if errors.Is(err, ErrNoIdentity) {
			f.Advice = "make an identity with `adctl id new`, then `adctl register`"
		}
		out = append(out, f)
		return append(out, c.checkTrackers(ctx, c.c.Trackers)...)
	}
	out = append(out, Finding{What: "account", Fine: true, Found: fmt.Sprintf("%s at %s", c.me, a.Server.URL)})
	out = append(out, c.checkServer(ctx)...)
	out = append(out, c.checkTrackers(ctx, a.Trackers)...)
	return append(out, c.checkRoute(ctx))
}

// checkMemory reads everything that is kept, as lists do, and verifies it.
func (c *Client) checkMemory(ctx context.Context) Finding {
	err := c.home.Check(ctx)
	var ms []home.Message
	if err == nil {
		ms, err = c.home.List(ctx, c.me, home.Query{})
	}
	if err == nil {
		_, err = c.items(ctx, ms)
	}
	if err != nil {
		return Finding{What: "memory", Found: err.Error(), Advice: "where home.sqlite is damaged, move it away and `adctl register` again; the server still has the mail"}
	}
	return Finding{What: "memory", Fine: true, Found: fmt.Sprintf("%d messages, all as they were kept", len(ms))}
}

// checkServer asks the own server about the account and the time.
func (c *Client) checkServer(ctx context.Context) []Finding {
	var resp *wirev1.AccountResponse
	asked := time.Now()
	err := c.ask(ctx, func(p *rpc.Peer) (err error) {
		resp, err = p.Mailbox().Account(ctx, &wirev1.AccountRequest{})
		return err
	})
	if err != nil {
		return []Finding{{What: "mail server", Found: err.Error(), Advice: "is the server up, and is the account still there? `adctl register` opens or renews one"}}
	}
	trip := time.Since(asked)
	out := []Finding{{What: "mail server", Fine: !resp.GetSuspended(), Found: fmt.Sprintf("answers in %s", trip.Round(time.Millisecond))}}
	if resp.GetSuspended() {
		out[0].Found, out[0].Advice = "the account is suspended", "ask the operator of the server"
	}
	skew := fromMillis(resp.GetServerTime()).Sub(asked.Add(trip / 2)).Round(time.Second)
	clock := Finding{What: "clock", Fine: skew.Abs() <= maxSkew, Found: fmt.Sprintf("%s from the server's", skew)}
	if !clock.Fine {
		clock.Advice = "set this machine's clock"
	}
	limit := resp.GetBytesLimit()
	quota := Finding{What: "storage", Fine: limit == 0 || resp.GetBytesUsed() < limit/10*9, Found: fmt.Sprintf("%d of %d bytes, %d of %d messages", resp.GetBytesUsed(), limit, resp.GetMessagesUsed(), resp.GetMessagesLimit())}
	if !quota.Fine {
		quota.Advice = "recall or let expire what takes the most room, or ask the operator for more"
	}
	return append(out, clock, quota)
}

// checkTrackers asks each tracker who it is.
func (c *Client) checkTrackers(ctx context.Context, refs []message.Reference) []Finding {
	if len(refs) == 0 {
		return []Finding{{What: "trackers", Found: "none is known", Advice: "name one with --tracker"}}
	}
	var out []Finding
	for _, ref := range refs {
		f := Finding{What: "tracker " + ref.URL}
		_, answer, err := c.net.Open(ctx, ref)
		switch {
		case err != nil:
			f.Found, f.Advice = err.Error(), "is the tracker up?"
			if errors.Is(err, message.BadSignature) {
				f.Advice = "somebody else answers there, or the tracker lost its keys: ask its operator for the reference"
			}
		case answer.Subject.Chain.Head().Role != message.RoleTracker:
			f.Found, f.Advice = "it is a "+answer.Subject.Chain.Head().Role.String(), "name a tracker"
		default:
			f.Fine, f.Found = true, "it is "+answer.Tracker.String()
		}
		out = append(out, f)
	}
	return out
}

// checkRoute compares what trackers say about oneself with what is known here.
func (c *Client) checkRoute(ctx context.Context) Finding {
	f := Finding{What: "route"}
	found, err := c.lookups(ctx).Fresh(ctx, c.me)
	a, accountErr := c.Account(ctx)
	switch {
	case err != nil:
		f.Found, f.Advice = err.Error(), "publish it again with `adctl register`"
	case accountErr != nil:
		f.Found = accountErr.Error()
	case found.Disagreement:
		f.Found, f.Advice = "trackers disagree about you: somebody else published cards for your address", "recover with the paper key"
	case found.Subject.Chain.Head().ID != c.c.Keyring.Chain.Head().ID:
		f.Found, f.Advice = "trackers know a newer card than this key file", "take over the key file of the device that made it"
	case found.Subject.Route == nil || !found.Subject.Route.Serves(a.Server.Address, message.PurposeAny):
		f.Found, f.Advice = "trackers do not name your server", "publish the route with `adctl register`"
	case found.Stale:
		f.Found, f.Advice = "the route or the server's ticket has expired", "renew it with `adctl register`"
	default:
		f.Fine, f.Found = found.Confirmed, fmt.Sprintf("confirmed, good until %s", found.Subject.Route.Expires.Format(time.DateOnly))
		if !f.Fine {
			f.Found, f.Advice = "no tracker confirms it now", "is a tracker up?"
		}
	}
	return f
}
