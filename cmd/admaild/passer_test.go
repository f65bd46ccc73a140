package main

import (
	"crypto/tls"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// The program oldclient is an existing MessagePasser program, as far as these stories go:
// its messages, its two framings, and the exchange of the original's example.
//
//	oldclient gob|json [tls:]HOST:PORT NAME SECRET answer PROTOCOL
//	oldclient gob|json [tls:]HOST:PORT NAME SECRET greet OTHER PROTOCOL

// oldMessage is the one struct that such programs send.
type oldMessage struct {
	Meta         uint8
	OtherClient  string
	ConnectionID string
	Data         []byte
}

// The numbers of Meta that the exchange needs.
const (
	oldNone = iota
	oldWAT
	oldNoSuchConnection
	oldUnknownProto
	oldClientClosed
	oldConnSyn
	oldConnAck
	oldConnClosed
	oldAuth
	oldAuthOk
)

// errNobody is that the other is not there yet.
var errNobody = errors.New("nobody of that name is there")

// oldClient is one program's connection to the server.
type oldClient struct {
	name      string
	put, take func(any) error
	calls     int
}

// oldMain is the program.
func oldMain(args []string, out io.Writer) error {
	if len(args) < 6 {
		return errors.New("usage: oldclient gob|json [tls:]HOST:PORT NAME SECRET answer PROTOCOL | greet OTHER PROTOCOL")
	}
	conn, err := oldDial(args[1])
	if err != nil {
		return err
	}
	defer conn.Close()
	c := &oldClient{name: args[2], put: json.NewEncoder(conn).Encode, take: json.NewDecoder(conn).Decode}
	if args[0] == "gob" {
		c.put, c.take = gob.NewEncoder(conn).Encode, gob.NewDecoder(conn).Decode
	}
	if err := c.put(oldMessage{Meta: oldAuth, OtherClient: c.name, Data: []byte(args[3])}); err != nil {
		return err
	}
	var m oldMessage
	if err := c.take(&m); err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	if m.Meta != oldAuthOk {
		return fmt.Errorf("log in: %s", m.Data)
	}
	if args[4] == "answer" {
		return c.answer(args[5], out)
	}
	late := time.After(patience)
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		if err = c.greet(args[5], args[6], out); !errors.Is(err, errNobody) {
			return err
		}
		select {
		case <-again.C:
		case <-late:
			return err
		}
	}
}

// oldDial connects, as old programs do or over TLS.
func oldDial(at string) (net.Conn, error) {
	d := net.Dialer{Timeout: patience}
	if plain, ok := strings.CutPrefix(at, "tls:"); ok {
		return tls.DialWithDialer(&d, "tcp", plain, &tls.Config{InsecureSkipVerify: true})
	}
	return d.Dial("tcp", at)
}

// answer takes one call of a protocol, hears what is said, and says something back.
func (c *oldClient) answer(protocol string, out io.Writer) error {
	for {
		var m oldMessage
		if err := c.take(&m); err != nil {
			return err
		}
		reply := oldMessage{OtherClient: m.OtherClient, ConnectionID: m.ConnectionID}
		switch m.Meta {
		case oldConnSyn:
			if reply.Meta = oldConnAck; string(m.Data) != protocol {
				reply.Meta = oldUnknownProto
			}
		case oldNone:
			_, _ = fmt.Fprintf(out, "%s said: %s\n", m.OtherClient, m.Data)
			reply.Data = []byte("Hello World!")
			if err := c.put(reply); err != nil {
				return err
			}
			reply.Data, reply.Meta = nil, oldConnClosed
		case oldWAT, oldNoSuchConnection:
			return fmt.Errorf("unexpected: %+v", m)
		default:
			continue
		}
		if err := c.put(reply); err != nil {
			return err
		}
	}
}

// greet calls somebody, says something, and hears what is said back, and the end.
func (c *oldClient) greet(other, protocol string, out io.Writer) error {
	c.calls++
	id := fmt.Sprintf("%s:%x", c.name, c.calls)
	if err := c.put(oldMessage{oldConnSyn, other, id, []byte(protocol)}); err != nil {
		return err
	}
	for {
		var m oldMessage
		if err := c.take(&m); err != nil {
			return err
		}
		if m.ConnectionID != id || m.OtherClient != other {
			return fmt.Errorf("unexpected: %+v", m)
		}
		switch m.Meta {
		case oldNoSuchConnection:
			return errNobody
		case oldUnknownProto:
			return errors.New("Unknown Protocol")
		case oldConnAck:
			if err := c.put(oldMessage{oldNone, other, id, []byte("Hello Friend!")}); err != nil {
				return err
			}
		case oldNone:
			_, _ = fmt.Fprintf(out, "they sent something back: %s\n", m.Data)
		case oldConnClosed:
			return nil
		default:
			return fmt.Errorf("unexpected: %+v", m)
		}
	}
}

// oldClientMain ends with 0 or 1.
func oldClientMain() {
	if err := oldMain(os.Args[1:], os.Stdout); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// scrape looks for a line of a server's metrics until it is there: scrape HOST:PORT PATTERN.
func scrape(ts *testscript.TestScript, _ bool, args []string) {
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); ; {
		transport := &http.Transport{DisableKeepAlives: true}
		resp, err := (&http.Client{Transport: transport, Timeout: patience}).Get("http://" + args[0] + "/metrics")
		ts.Check(err)
		text, err := io.ReadAll(resp.Body)
		ts.Check(errors.Join(err, resp.Body.Close()))
		if pattern.Match(text) {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			ts.Fatalf("no %s in\n%s", args[1], text)
		}
	}
}
