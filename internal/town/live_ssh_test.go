package town_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"golang.org/x/crypto/ssh"

	"airdispatch/client"
	"airdispatch/internal/town"
)

// sshKey makes a key for one end.
func sshKey(t *testing.T) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// serveSSH is an ssh server whose only command says back what it hears, and ends with 3.
func serveSSH(conn net.Conn, config *ssh.ServerConfig) error {
	s, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return err
	}
	defer s.Close()
	go ssh.DiscardRequests(requests)
	for one := range channels {
		if one.ChannelType() != "session" {
			_ = one.Reject(ssh.UnknownChannelType, "sessions only")
			continue
		}
		channel, asked, err := one.Accept()
		if err != nil {
			return err
		}
		for r := range asked {
			if err := r.Reply(r.Type == "exec", nil); err != nil {
				return err
			}
			if r.Type != "exec" {
				continue
			}
			_, copied := io.Copy(channel, channel)
			_, said := channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{3}))
			if err := errors.Join(copied, said, channel.Close()); err != nil {
				return err
			}
		}
	}
	return nil
}

// TestLiveSSH: ssh runs over a live connection as over any other.
func TestLiveSSH(t *testing.T) {
	w := town.New(t)
	w.Tracker("hill")
	ann, bob := w.Resident("ann", w.Server("one")), w.Resident("bob", w.Server("two"))
	mine, host := sshKey(t), sshKey(t)
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if !bytes.Equal(key.Marshal(), mine.PublicKey().Marshal()) {
			return nil, errors.New("another key")
		}
		return nil, nil
	}}
	config.AddHostKey(host)
	served := make(chan error, 1)
	bob.Does("listens", func(ctx context.Context, c *client.Client) error {
		l, err := c.Listen(ctx, "ssh", client.Only(ann.Address()))
		if err != nil {
			return err
		}
		go func() {
			conn, err := l.Accept()
			if err == nil {
				err = serveSSH(conn, config)
			}
			served <- errors.Join(err, l.Close())
		}()
		return nil
	})
	said := make([]byte, 1<<20)
	if _, err := rand.Read(said); err != nil {
		t.Fatal(err)
	}
	ann.Does("connects", func(ctx context.Context, c *client.Client) error {
		conn, err := c.Dial(ctx, bob.Address(), "ssh")
		if err != nil {
			return err
		}
		s, channels, requests, err := ssh.NewClientConn(conn, "bob", &ssh.ClientConfig{
			User: "me", Auth: []ssh.AuthMethod{ssh.PublicKeys(mine)}, HostKeyCallback: ssh.FixedHostKey(host.PublicKey()),
		})
		if err != nil {
			return err
		}
		over := ssh.NewClient(s, channels, requests)
		session, err := over.NewSession()
		if err != nil {
			return err
		}
		var heard bytes.Buffer
		session.Stdin, session.Stdout = bytes.NewReader(said), &heard
		err = session.Run("say it back")
		if exit, ok := errors.AsType[*ssh.ExitError](err); !ok || exit.ExitStatus() != 3 {
			return fmt.Errorf("it ended with %v", err)
		}
		if !bytes.Equal(heard.Bytes(), said) {
			return fmt.Errorf("%d bytes came back of %d", heard.Len(), len(said))
		}
		return over.Close()
	})
	if err := <-served; err != nil {
		t.Error(err)
	}
}
