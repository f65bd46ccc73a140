package client

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/relay"
)

// BeamProtocol is the protocol by which a file is handed over live.
const BeamProtocol = "beam"

// beamOffer is the first message of a beam, by who has the file.
type beamOffer struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
	// Hash is crypto.BlobID of the whole file.
	Hash []byte `json:"hash"`
}

// beamAnswer is what the other says, before the bytes and after them.
type beamAnswer struct {
	// From is how much is there already.
	From int64 `json:"from,omitempty"`
	// Done: the file is there, and is the one that was offered.
	Done bool `json:"done,omitempty"`
	// Refused is the name of a message.Code.
	Refused string `json:"refused,omitempty"`
}

// beamRefusals are the codes that an answer may name.
var beamRefusals = []message.Code{message.Conflict, message.Invalid, message.BadSignature, message.StorageFull, message.Internal}

// Given is a file that was handed over.
type Given struct {
	Name string
	Size int64
	// From is how much of it was there already: that was not sent again.
	From int64
}

// Beam hands a file to whoever takes beams at an address. What was interrupted, here or on the
// way, goes on where it stopped when the same file is beamed again. Errors: those of Dial,
// message.Conflict where the other has a file of this name or this one has changed meanwhile,
// and message.BadSignature where other bytes came than were offered.
func (c *Client) Beam(ctx context.Context, to message.Address, path string) (*Given, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("client: beam: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("client: beam %s: not a file: %w", path, message.Invalid), err)
	}
	name := message.AttachmentName(filepath.Base(path))
	hash, size, err := crypto.BlobID(&counting{r: f, report: c.report(name, "hash", info.Size())})
	if err != nil {
		return nil, fmt.Errorf("client: beam %s: %w", path, err)
	}
	conn, err := c.Dial(ctx, to, BeamProtocol)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	live, ok := conn.(*relay.Conn)
	if !ok {
		return nil, fmt.Errorf("client: beam: no live connection: %w", message.Unsupported)
	}
	from, err := c.give(live, f, beamOffer{Name: name, Size: size, Hash: hash[:]})
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("client: beam %s: %w", path, err)
	}
	return &Given{Name: name, Size: size, From: from}, nil
}

// give is the side of who has the file; from is how much of it the other had.
func (c *Client) give(conn *relay.Conn, f *os.File, offer beamOffer) (from int64, err error) {
	if err := say(conn, offer); err != nil {
		return 0, err
	}
	var a beamAnswer
	if err := hear(conn, &a); err != nil {
		return 0, err
	}
	if err := a.err(); err != nil {
		return 0, err
	}
	if from = a.From; from < 0 || from > offer.Size {
		return 0, fmt.Errorf("%d bytes of %d are there already: %w", from, offer.Size, message.Invalid)
	}
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return 0, err
	}
	rest := &counting{r: io.LimitReader(f, offer.Size-from), n: from, report: c.report(offer.Name, "beam", offer.Size)}
	if _, err := io.Copy(conn, rest); err != nil {
		return 0, err
	}
	if rest.n != offer.Size {
		return 0, fmt.Errorf("the file has changed meanwhile: %w", message.Conflict)
	}
	a = beamAnswer{}
	if err := hear(conn, &a); err != nil {
		return 0, err
	}
	if !a.Done && a.Refused == "" {
		return 0, fmt.Errorf("no word whether it has arrived: %w", message.Invalid)
	}
	return from, a.err()
}

// Beamed is a file that was taken.
type Beamed struct {
	From message.Address
	Name string
	Path string
	Size int64
}

// TakeBeam takes the file that somebody beams on a connection into a directory,
// under the name that it has there, never over a file. It is in a hidden part until every
// byte is there and is what was offered; a part that nobody went on with for 30 days is removed
// when the next file comes. Errors: message.Conflict where the name exists,
// message.BadSignature where other bytes came.
func (c *Client) TakeBeam(ctx context.Context, conn net.Conn, dir string) (*Beamed, error) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	live, ok := conn.(*relay.Conn)
	if !ok {
		return nil, fmt.Errorf("client: take a beam: no live connection: %w", message.Unsupported)
	}
	var offer beamOffer
	if err := hear(live, &offer); err != nil {
		return nil, fmt.Errorf("client: take a beam: %w", err)
	}
	b := &Beamed{From: live.Peer(), Name: message.AttachmentName(offer.Name), Size: offer.Size}
	b.Path = filepath.Join(dir, b.Name)
	err := c.take(live, offer, dir, b)
	answer := beamAnswer{Done: err == nil}
	if err != nil {
		answer.Refused = message.Internal.Name()
		for _, code := range beamRefusals {
			if errors.Is(err, code) {
				answer.Refused = code.Name()
			}
		}
	}
	if sayErr := say(live, answer); err == nil && sayErr != nil {
		c.log.InfoContext(ctx, "client: a beam was taken, and its sender may not know", "error", sayErr)
	}
	if err != nil {
		return nil, fmt.Errorf("client: take a beam of %s: %w", b.Name, err)
	}
	return b, nil
}

// take is the side of who wants the file.
func (c *Client) take(conn *relay.Conn, offer beamOffer, dir string, b *Beamed) (err error) {
	if offer.Size < 0 || len(offer.Hash) != 32 {
		return message.Invalid
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	if _, err := root.Lstat(b.Name); err == nil {
		return fmt.Errorf("%s exists: %w", filepath.Join(dir, b.Name), message.Conflict)
	}
	clearParts(root, func(_ string, old bool) bool { return old })
	mine := fmt.Sprintf(".%s.%s.", shorten(b.Name), b.From.Short())
	part := mine + hex.EncodeToString(offer.Hash[:8]) + beamPart
	f, err := root.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	err = c.receive(conn, f, offer)
	if err = errors.Join(err, f.Close()); err != nil {
		if errors.Is(err, message.BadSignature) {
			err = errors.Join(err, root.Remove(part))
		}
		return err
	}
	if err := appear(root, part, b.Name); err != nil {
		return err
	}
	clearParts(root, func(name string, _ bool) bool { return strings.HasPrefix(name, mine) }) // their name is taken
	return nil
}

// partLife is how long the part of a file waits for the rest.
const partLife = 30 * 24 * time.Hour

// beamPart ends the name of a part: the first half of a hash stands before it.
const beamPart = ".beam.part"

// clearParts removes parts of beams that nobody will go on with. What cannot be removed stays.
func clearParts(root *os.Root, gone func(name string, old bool) bool) {
	dir, err := root.Open(".")
	if err != nil {
		return
	}
	defer dir.Close() // it was only read
	all, err := dir.ReadDir(-1)
	if err != nil {
		return
	}
	for _, e := range all {
		if !strings.HasPrefix(e.Name(), ".") || !strings.HasSuffix(e.Name(), beamPart) || !e.Type().IsRegular() {
			continue
		}
		if info, err := e.Info(); err == nil && gone(e.Name(), time.Since(info.ModTime()) > partLife) {
			_ = root.Remove(e.Name()) // as above
		}
	}
}

// receive fills a part and looks whether it is what was offered.
func (c *Client) receive(conn *relay.Conn, f *os.File, offer beamOffer) error {
	have, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if have > offer.Size {
		return errors.Join(fmt.Errorf("more than was offered: %w", message.BadSignature), f.Truncate(0))
	}
	if err := say(conn, beamAnswer{From: have}); err != nil {
		return err
	}
	rest := &counting{r: io.LimitReader(conn, offer.Size-have), n: have, report: c.report(message.AttachmentName(offer.Name), "beam", offer.Size)}
	if _, err := io.Copy(f, rest); err != nil {
		return err
	}
	if rest.n < offer.Size {
		return io.ErrUnexpectedEOF
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	hash, _, err := crypto.BlobID(f)
	if err == nil && !bytes.Equal(hash[:], offer.Hash) {
		err = fmt.Errorf("not the bytes that were offered: %w", message.BadSignature)
	}
	return err
}

// err is what an answer refuses.
func (a beamAnswer) err() error {
	if a.Refused == "" {
		return nil
	}
	for _, code := range beamRefusals {
		if a.Refused == code.Name() {
			return &message.Refused{Code: code}
		}
	}
	return &message.Refused{Code: message.Internal}
}

// say and hear are JSON messages.
func say(conn *relay.Conn, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return conn.WriteMessage(b)
}

func hear(conn *relay.Conn, v any) error {
	b, err := conn.ReadMessage()
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("not a message of this protocol: %w", message.Invalid)
	}
	return nil
}

// counting reports how far a reader is.
type counting struct {
	r      io.Reader
	n      int64
	report func(int64)
}

// Read reads on.
func (c *counting) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	c.report(c.n)
	return n, err
}
