package town_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"airdispatch/client"
	"airdispatch/internal/town"
	"airdispatch/message"
	"airdispatch/relay"
	"airdispatch/store"
)

// echoes listens in a resident's name and sends back what comes, until the test
// is over.
func echoes(t *testing.T, r *town.Resident, admit ...client.Admission) {
	t.Helper()
	r.Does("listens", func(ctx context.Context, c *client.Client) error {
		l, err := c.Listen(ctx, "echo", admit...)
		if err != nil {
			return err
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					_, _ = io.Copy(conn, conn)
					_ = conn.Close()
				}()
			}
		}()
		t.Cleanup(func() {
			_ = l.Close()
			<-done
		})
		return nil
	})
}

// TestLiveConnection: somebody at one server connects to somebody at another, says
// something, ends, and hears it back.
func TestLiveConnection(t *testing.T) {
	w := town.New(t)
	w.Tracker("hill")
	ann, bob := w.Resident("ann", w.Server("one")), w.Resident("bob", w.Server("two"))
	echoes(t, bob, client.Only(ann.Address()))
	said := make([]byte, 1<<20)
	if _, err := rand.Read(said); err != nil {
		t.Fatal(err)
	}
	ann.Does("connects", func(ctx context.Context, c *client.Client) error {
		conn, err := c.Dial(ctx, bob.Address(), "echo")
		if err != nil {
			return err
		}
		live, ok := conn.(*relay.Conn)
		if !ok || live.Peer() != bob.Address() || live.Protocol() != "echo" || conn.RemoteAddr().String() != bob.Address().String() {
			return fmt.Errorf("connected to %v", conn.RemoteAddr())
		}
		go func() {
			_, _ = conn.Write(said)
			_ = live.CloseWrite()
		}()
		heard, err := io.ReadAll(conn)
		if err == nil && !bytes.Equal(heard, said) {
			err = fmt.Errorf("%d bytes came back of %d", len(heard), len(said))
		}
		return errors.Join(err, conn.Close())
	})
}

// TestLiveAdmission: contacts are admitted where nobody says otherwise, also
// those without an account; others are refused, and blocked ones do not even
// learn that somebody is there.
func TestLiveAdmission(t *testing.T) {
	w := town.New(t)
	w.Tracker("hill")
	one := w.Server("one")
	ann, bob, eve, sam := w.Resident("ann", one), w.Resident("bob", one), w.Resident("eve", one), w.Stranger("sam")
	dial := func(to message.Address, protocol string) func(context.Context, *client.Client) error {
		return func(ctx context.Context, c *client.Client) error {
			conn, err := c.Dial(ctx, to, protocol)
			if err != nil {
				return err
			}
			return conn.Close()
		}
	}
	ann.Refused(relay.NotOnline, "connects to nobody", dial(bob.Address(), "echo"))
	echoes(t, bob)
	bob.Does("has contacts", func(ctx context.Context, c *client.Client) error {
		_, err := c.AddContact(ctx, ann.Address().String(), "ann")
		_, err2 := c.AddContact(ctx, sam.Address().String(), "sam")
		return errors.Join(err, err2)
	})
	ann.Does("connects", dial(bob.Address(), "echo"))
	ann.Does("connects again", dial(bob.Address(), "echo"))
	ann.Refused(relay.UnknownProtocol, "asks for another", dial(bob.Address(), "chat"))
	eve.Refused(relay.Refused, "connects", dial(bob.Address(), "echo"))
	sam.Does("connects without an account", dial(bob.Address(), "echo"))
	bob.Does("blocks", func(ctx context.Context, c *client.Client) error {
		return c.SetVerdict(ctx, ann.Address(), store.Block)
	})
	ann.Refused(relay.NotOnline, "connects, blocked", dial(bob.Address(), "echo"))
	sam.Refused(client.ErrNoAccount, "listens", func(ctx context.Context, c *client.Client) error {
		_, err := c.Listen(ctx, "echo")
		return err
	})
}

// TestLiveWeb: net/http's server and client run over live connections.
func TestLiveWeb(t *testing.T) {
	w := town.New(t)
	w.Tracker("hill")
	one := w.Server("one")
	ann, bob := w.Resident("ann", one), w.Resident("bob", one)
	web := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(rw, "%s to %s", r.URL.Path, r.RemoteAddr)
	})}
	done := make(chan error, 1)
	bob.Does("serves", func(ctx context.Context, c *client.Client) error {
		l, err := c.Listen(ctx, "http", client.Anyone)
		if err == nil {
			go func() { done <- web.Serve(l) }()
		}
		return err
	})
	ann.Does("browses", func(ctx context.Context, c *client.Client) error {
		transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return c.Dial(ctx, bob.Address(), "http") }}
		defer transport.CloseIdleConnections()
		for _, path := range []string{"/a", "/b"} {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://bob"+path, nil)
			if err != nil {
				return err
			}
			res, err := transport.RoundTrip(req)
			if err != nil {
				return err
			}
			got, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if want := path + " to " + ann.Address().String(); err != nil || string(got) != want {
				return fmt.Errorf("got %q, %w; want %q", got, err, want)
			}
		}
		return nil
	})
	if err := web.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-done; err != http.ErrServerClosed {
		t.Error(err)
	}
}

// TestLiveThroughBrokenLinks: the links of both ends break again and again while
// bytes are under way, and none is lost, twice or out of order.
func TestLiveThroughBrokenLinks(t *testing.T) {
	w := town.New(t)
	w.Tracker("hill")
	ann, bob := w.Resident("ann", w.Server("one")), w.Resident("bob", w.Server("two"))
	echoes(t, bob, client.Anyone)
	said := make([]byte, 4<<20)
	if _, err := rand.Read(said); err != nil {
		t.Fatal(err)
	}
	ann.Does("connects, and is cut off", func(ctx context.Context, c *client.Client) error {
		conn, err := c.Dial(ctx, bob.Address(), "echo")
		if err != nil {
			return err
		}
		go func() {
			_, _ = conn.Write(said)
			_ = conn.(*relay.Conn).CloseWrite()
		}()
		var heard []byte
		part := make([]byte, len(said)/8)
		for i := range 8 {
			if _, err := io.ReadFull(conn, part); err != nil {
				return fmt.Errorf("part %d: %w", i, err)
			}
			heard = append(heard, part...)
			who := []string{"ann", "bob"}[i%2]
			w.Cut(who, "two")
			w.Mend(who, "two")
		}
		if _, err := conn.Read(part); err != io.EOF {
			return fmt.Errorf("after the end: %w", err)
		}
		if !bytes.Equal(heard, said) {
			return errors.New("other bytes came back")
		}
		return conn.Close()
	})
}

// TestLiveServerComesBack: a listener is there again when its server is.
func TestLiveServerComesBack(t *testing.T) {
	w := town.New(t)
	w.Tracker("hill")
	one, two := w.Server("one"), w.Server("two")
	ann, bob := w.Resident("ann", one), w.Resident("bob", two)
	echoes(t, bob, client.Anyone)
	dial := func(ctx context.Context, c *client.Client) error {
		conn, err := c.Dial(ctx, bob.Address(), "echo")
		if err != nil {
			return err
		}
		return conn.Close()
	}
	ann.Does("connects", dial)
	two.Stop()
	ann.Refused(message.Unavailable, "connects to nobody", dial)
	two.Start()
	w.Awaits("the listener", func() bool {
		there := false
		ann.Does("connects again", func(ctx context.Context, c *client.Client) error {
			there = dial(ctx, c) == nil
			return nil
		})
		return there
	})
}
