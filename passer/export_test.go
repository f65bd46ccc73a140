package passer

import (
	"bufio"
	"bytes"
	"io"
)

// Framing is one framing on one connection, for tests.
type Framing struct{ codec }

// ReadMessage reads one message of a client that is logged in.
func (f Framing) ReadMessage() (Message, error) { return f.read(maxFrame) }

// AppendMessage adds one message.
func (f Framing) AppendMessage(b []byte, m Message) []byte { return f.append(b, m) }

// NewGob and NewJSON are the two framings.
func NewGob(r io.Reader) Framing { return Framing{&gobCodec{r: bufio.NewReader(r)}} }

// NewJSON is the framing in JSON.
func NewJSON(r io.Reader) Framing { return Framing{&jsonCodec{bufio.NewReader(r)}} }

// Tell is the framing that the first byte of b tells.
func Tell(b []byte) (string, error) {
	c, err := newCodec(bytes.NewReader(b))
	if err != nil {
		return "", err
	}
	if _, ok := c.(*jsonCodec); ok {
		return "json", nil
	}
	return "gob", nil
}

// Queued is what waits for all clients, and how many sockets are nobody's.
func (s *Server) Queued() (queued, greeting int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queued, len(s.greeting)
}

// The numbers that tests go up to.
const (
	GreetingPerNetwork = greetingPerNetwork
	GreetingInAll      = greetingInAll
	GuessesOfNetwork   = guessesOfNetwork
	GuessesOfName      = guessesOfName
	MaxGreeting        = maxGreeting
)
