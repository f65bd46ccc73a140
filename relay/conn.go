package relay

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"airdispatch/message"
)

// MaxMessage bounds what WriteMessage takes, in bytes.
const MaxMessage = 1 << 20

// record is how much is given to TLS at once: one record of it.
const record = 16 << 10

// Conn is a connection between two addresses, proved and encrypted from one end
// to the other: a net.Conn with half-close and messages. Safe for concurrent use.
type Conn struct {
	stream  *Stream
	tls     *tls.Conn
	preface *preface // what the callee says first, where one has called and both are willing

	writing sync.Mutex // held for one Write, so that two do not mix
	reading sync.Mutex // the same for messages
	part    []byte     // of a message that was not read to its end
}

// Read reads. io.EOF says that the other end has said all that it will; that it was cut off
// is another error, which wraps the Reason.
func (c *Conn) Read(b []byte) (int, error) {
	if c.stream.isShut() {
		return 0, net.ErrClosed // TLS would go on saying how the other end ended
	}
	if c.preface != nil && len(b) > 0 {
		if err := c.preface.read(c.tls); err != nil {
			return 0, err
		}
	}
	return c.tls.Read(b)
}

// Write writes all of b, waiting where the other end does not read. After a
// deadline it can go on: what was not written is not half written.
func (c *Conn) Write(b []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	n := 0
	for {
		if err := c.stream.Room(); err != nil {
			return n, err
		}
		if n == len(b) {
			return n, nil
		}
		m, err := c.tls.Write(b[n:min(n+record, len(b))])
		n += m
		if err != nil || n == len(b) {
			return n, err
		}
	}
}

// CloseWrite says that one has said all: the other end reads io.EOF, and may go
// on writing.
func (c *Conn) CloseWrite() error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.tls.CloseWrite()
}

// Close ends the connection in both directions, in order: what was written is
// still brought.
func (c *Conn) Close() error {
	c.stream.shut() // a Write that waits ends here
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.tls.Close()
}

// Abort ends the connection in both directions without the word that all was said: what was
// written is still brought, and then the other end's Read fails, where after Close it says
// io.EOF. What CloseWrite has said before stays said.
func (c *Conn) Abort() error {
	c.stream.shut() // a Write that waits ends here
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.stream.Close()
}

// WriteMessage writes b so that ReadMessage at the other end returns it as one.
// Errors: message.TooLarge, and those of Write; after one of those the connection
// is of no more use for messages.
func (c *Conn) WriteMessage(b []byte) error {
	if len(b) > MaxMessage {
		return fmt.Errorf("relay: message of %d bytes: %w", len(b), message.TooLarge)
	}
	_, err := c.Write(append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(b)), uint32(len(b))), b...))
	return err
}

// ReadMessage reads what one WriteMessage wrote. After a deadline it goes on with
// the same message. io.EOF comes only between two messages. Errors: message.TooLarge where the other end
// announces more than MaxMessage, and those of Read.
func (c *Conn) ReadMessage() ([]byte, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if err := c.fill(4); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(c.part))
	if n > MaxMessage {
		return nil, fmt.Errorf("relay: message of %d bytes: %w", n, message.TooLarge)
	}
	if err := c.fill(4 + n); err != nil {
		return nil, err
	}
	out := c.part[4:]
	c.part = nil
	return out, nil
}

// fill reads until there are n bytes of a message. It grows as they come, whatever
// was announced.
func (c *Conn) fill(n int) error {
	var b [4 << 10]byte
	for len(c.part) < n {
		m, err := c.Read(b[:min(len(b), n-len(c.part))])
		c.part = append(c.part, b[:m]...)
		if err != nil && len(c.part) < n {
			if errors.Is(err, io.EOF) && len(c.part) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// Ended is closed once the other end has closed the connection or it broke:
// nothing that is written arrives any more. What had come can still be read.
func (c *Conn) Ended() <-chan struct{} { return c.stream.ended }

// Direct reports whether the connection goes from end to end by itself, and not
// by the relay; changed is closed when that changes.
func (c *Conn) Direct() (direct bool, changed <-chan struct{}) { return c.stream.direction() }

// Peer is who is at the other end.
func (c *Conn) Peer() message.Address { return c.stream.Peer() }

// Protocol is what the connection was made for.
func (c *Conn) Protocol() string { return c.stream.Protocol() }

// LocalAddr is an Addr.
func (c *Conn) LocalAddr() net.Addr { return c.stream.LocalAddr() }

// RemoteAddr is an Addr.
func (c *Conn) RemoteAddr() net.Addr { return c.stream.RemoteAddr() }

// SetDeadline sets both.
func (c *Conn) SetDeadline(t time.Time) error { return c.stream.SetDeadline(t) }

// SetReadDeadline is for Read.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.stream.SetReadDeadline(t) }

// SetWriteDeadline is for Write.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.stream.SetWriteDeadline(t) }
