package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"airdispatch/message"
	"airdispatch/store/home"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// handOverWithin is how long the own server may take for one version.
const handOverWithin = 10 * time.Second

// HandedOver is what became of a version that waited for the own server.
type HandedOver struct {
	Ref     message.Ref
	Version uint64
	// Receipt is the server's promise.
	Receipt *message.Receipt
	// Err is nil where the server has it now; else why it does not take it, for good.
	Err error
}

// Waiting is how many versions the own server does not have yet, without asking anybody.
func (c *Client) Waiting(ctx context.Context) (int, error) {
	if c.me.IsZero() {
		return 0, nil
	}
	all, err := c.home.Handovers(ctx, c.me)
	return len(all), err
}

// HandOver hands the own server what was brought to others without it, oldest first. What the server will
// not take another time either is given up, and is in the result as what it took is. The error is why
// something still waits.
func (c *Client) HandOver(ctx context.Context) ([]HandedOver, error) {
	if c.me.IsZero() {
		return nil, nil
	}
	all, err := c.home.Handovers(ctx, c.me)
	if err != nil {
		return nil, err
	}
	var out []HandedOver
	for _, v := range all {
		done, err := c.handOver(ctx, v)
		if err != nil {
			return out, err
		}
		out = append(out, done)
	}
	return out, nil
}

// handOver hands over one version. An error leaves it waiting.
func (c *Client) handOver(ctx context.Context, v home.Handover) (HandedOver, error) {
	out := HandedOver{Ref: message.Ref{From: c.me, MID: v.MID}, Version: v.Version}
	within, cancel := context.WithTimeout(ctx, handOverWithin)
	defer cancel()
	head, err := c.ownHead(v.Submission.GetHead())
	if err == nil {
		out.Receipt, err = c.handSubmission(within, head, v.Submission)
	}
	after := context.WithoutCancel(ctx) // what the server has taken it has, whoever interrupts
	if err != nil && !hopelessHandover(err) {
		v.Tries++
		v.Trouble = err.Error()
		return out, errors.Join(fmt.Errorf("client: hand over %s: %w", out.Ref, err), c.home.PutHandover(after, c.me, v))
	}
	out.Err = err
	err = c.home.RemoveHandover(after, c.me, v.MID, v.Version)
	if absent(err) {
		err = nil // another process was at it too
	}
	return out, err
}

// hopelessHandover reports whether a version will not be taken another time either.
func hopelessHandover(err error) bool {
	for _, code := range []message.Code{message.Invalid, message.TooLarge, message.Conflict, message.Denied, message.Contract, message.Recalled, message.Expired, message.BadSignature} {
		if errors.Is(err, code) {
			_, said := errors.AsType[*message.Refused](err)
			return said
		}
	}
	return false
}

// ownHead verifies a head of one's own.
func (c *Client) ownHead(w *wirev1.Signed) (*message.Head, error) {
	claim, err := message.ParseHead(w)
	if err != nil {
		return nil, err
	}
	return claim.VerifyKept(c.verifier, c.c.Keyring.Chain)
}
