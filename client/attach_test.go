package client_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"airdispatch/client"
	"airdispatch/crypto"
	"airdispatch/internal/town"
	"airdispatch/message"
)

// someFile makes a file of random bytes.
func someFile(t *testing.T, name string, size int) (path string, content []byte) {
	t.Helper()
	content, err := crypto.RandomBytes(rand.Reader, size)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, content
}

func TestAttachments(t *testing.T) {
	w, ann, bob := twoServers(t)
	eve := w.Resident("eve", w.Server("three"))
	sizes := []int{0, 1, crypto.ChunkSize, 3*crypto.PieceSize + 17}
	d := client.Draft{Subject: "files", Body: "b"}
	var contents [][]byte
	for n, size := range sizes {
		path, content := someFile(t, fmt.Sprintf("file-%d.bin", n), size)
		contents = append(contents, content)
		d.Attach = append(d.Attach, client.File{Path: path})
	}
	d.Attach[1].Name, d.Attach[1].MediaType = "../../evil\u202e.txt", "text/plain"
	m := ann.Writes(d, "bob")
	bob.Awaits(m, 1)
	bob.Reads(m, "b")
	dir := t.TempDir()
	bob.Does("saves", func(ctx context.Context, c *client.Client) error {
		for n, want := range contents {
			a, err := c.Attachment(ctx, m, fmt.Sprint(n+1))
			if err != nil {
				return err
			}
			path, err := c.Save(ctx, m, a, dir, "")
			if err != nil {
				return fmt.Errorf("attachment %d: %w", n+1, err)
			}
			got, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if !bytes.Equal(got, want) || filepath.Dir(path) != dir {
				return fmt.Errorf("attachment %d: %d bytes at %s", n+1, len(got), path)
			}
			var b bytes.Buffer
			if err := c.Download(ctx, m, a, &b); err != nil || !bytes.Equal(b.Bytes(), want) {
				return fmt.Errorf("attachment %d as a stream: %w", n+1, err)
			}
			if _, err := c.Save(ctx, m, a, dir, filepath.Base(path)); !errors.Is(err, message.Conflict) {
				return fmt.Errorf("saved over a file: %w", err)
			}
		}
		_, err := c.Attachment(ctx, m, "")
		return same("several", errors.Is(err, message.Invalid), true)
	})
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != len(contents) {
		t.Fatalf("%v, %v", entries, err)
	}
	// What is forwarded goes along as it is.
	var passed message.Ref
	bob.Does("forwards", func(ctx context.Context, c *client.Client) error {
		d, err := c.ForwardDraft(ctx, m, []string{eve.Address().String()}, "")
		if err != nil {
			return err
		}
		sent, err := c.Send(ctx, d)
		if err == nil {
			passed = sent[0].Head.Ref()
		}
		return err
	})
	eve.AwaitsRequest(passed)
	eve.Does("saves", func(ctx context.Context, c *client.Client) error {
		if _, err := c.Read(ctx, passed, client.ReadOptions{}); err != nil {
			return err
		}
		a, err := c.Attachment(ctx, passed, "file-3.bin")
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if err := c.Download(ctx, passed, a, &b); err != nil {
			return err
		}
		return same("content", sha256.Sum256(b.Bytes()), sha256.Sum256(contents[3]))
	})
}

func TestDownloadIsTakenUp(t *testing.T) {
	_, ann, bob := twoServers(t)
	path, content := someFile(t, "big.bin", 5*crypto.ChunkSize+3)
	m := ann.Writes(client.Draft{Body: "b", Attach: []client.File{{Path: path}}}, "bob")
	bob.Awaits(m, 1)
	bob.Reads(m, "b")
	dir := t.TempDir()
	bob.Does("takes it up", func(ctx context.Context, c *client.Client) error {
		a, err := c.Attachment(ctx, m, "")
		if err != nil {
			return err
		}
		// An earlier try left two chunks and a half; what is no whole chunk is read again.
		part := filepath.Join(dir, ".big.bin."+a.Blob.String()[:16]+".part")
		left := append(bytes.Clone(content[:2*crypto.ChunkSize]), "nonsense"...)
		if err := os.WriteFile(part, left, 0o600); err != nil {
			return err
		}
		saved, err := c.Save(ctx, m, a, dir, "")
		if err != nil {
			return err
		}
		got, err := os.ReadFile(saved)
		if err != nil {
			return err
		}
		if _, err := os.Stat(part); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("the part is left: %w", err)
		}
		return same("content", bytes.Equal(got, content), true)
	})
}

// TestFileThatChanged: a file that was hashed under one key and then became
// another one of the same size and age is sealed under another key.
func TestFileThatChanged(t *testing.T) {
	w := town.New(t)
	w.Tracker("hill")
	one := w.Server("one")
	ann, bob := w.Resident("ann", one), w.Resident("bob", w.Server("two"))
	path, _ := someFile(t, "f.bin", 2*crypto.PieceSize)
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	one.Stop()
	var id int64
	ann.Does("sends in vain", func(ctx context.Context, c *client.Client) error {
		_, err := c.Send(ctx, client.Draft{To: []string{bob.Address().String()}, Attach: []client.File{{Path: path}}})
		kept, ok := errors.AsType[*client.DraftError](err)
		if !ok {
			return err
		}
		id = kept.ID
		return nil
	})
	changed := bytes.Repeat([]byte("y"), 2*crypto.PieceSize)
	if err := errors.Join(os.WriteFile(path, changed, 0o600), os.Chtimes(path, before.ModTime(), before.ModTime())); err != nil {
		t.Fatal(err)
	}
	one.Start()
	var m message.Ref
	ann.Does("sends again", func(ctx context.Context, c *client.Client) error {
		sent, err := c.SendDraft(ctx, id)
		if err == nil {
			m = sent[0].Head.Ref()
		}
		return err
	})
	bob.AwaitsRequest(m)
	bob.Does("downloads", func(ctx context.Context, c *client.Client) error {
		if _, err := c.Read(ctx, m, client.ReadOptions{}); err != nil {
			return err
		}
		a, err := c.Attachment(ctx, m, "")
		if err != nil {
			return err
		}
		var b bytes.Buffer
		err = c.Download(ctx, m, a, &b)
		return errors.Join(err, same("content", bytes.Equal(b.Bytes(), changed), true))
	})
}

func TestLargeBodies(t *testing.T) {
	_, ann, bob := twoServers(t)
	body := strings.Repeat("a line of a large body\n", 100_000)
	m := ann.Writes(client.Draft{Subject: "large", Body: body}, "bob")
	bob.Awaits(m, 1)
	bob.Reads(m, body)
	bob.Restarts()
	bob.Does("reads offline", func(ctx context.Context, c *client.Client) error {
		r, err := c.Read(ctx, m, client.ReadOptions{Offline: true})
		if err != nil {
			return err
		}
		got, _ := r.Content.Body()
		return same("length", len(got), len(body))
	})
	ann.Edits(m, "small")
	bob.Awaits(m, 2)
	bob.Reads(m, "small")
	ann.Refused(message.Invalid, "attaches what is not there", func(ctx context.Context, c *client.Client) error {
		_, err := c.Send(ctx, client.Draft{To: []string{bob.Address().String()}, Attach: []client.File{{Path: "/no/such/file"}}})
		return err
	})
}

func TestComponentsOfApplications(t *testing.T) {
	_, ann, bob := twoServers(t)
	data := []byte{0, 1, 2, 0xff}
	m := ann.Writes(client.Draft{Body: "b", Components: []message.Component{{Type: "example.org/x", Data: data}}}, "bob")
	bob.Awaits(m, 1)
	r := bob.Reads(m, "b")
	if r == nil {
		t.FailNow()
	}
	if p, ok := r.Content.Component("example.org/x"); !ok || !bytes.Equal(p.Data, data) {
		t.Errorf("%+v", r.Content)
	}
	ann.Refused(message.Invalid, "sends a component of no type", func(ctx context.Context, c *client.Client) error {
		_, err := c.Send(ctx, client.Draft{To: []string{bob.Address().String()}, Components: []message.Component{{Type: "nonsense"}}})
		return err
	})
}
