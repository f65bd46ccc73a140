package client

import (
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"airdispatch/message"
	"airdispatch/store"
	"airdispatch/store/home"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// author makes versions of one message to a reader.
type author struct {
	t      testing.TB
	k      *message.Keyring
	reader *message.Keyring
	mid    message.MID
	terms  message.Terms
}

func newAuthor(t testing.TB, c *Client, reader *message.Keyring) *author {
	t.Helper()
	a := &author{t: t, k: newKeyring(t), reader: reader, terms: message.Revisable}
	var err error
	if a.mid, err = message.NewMID(time.Now(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	if _, err := c.known.Learn(t.Context(), &wirev1.Identity{Cards: a.k.Chain.Signed(0)}, time.Now()); err != nil {
		t.Fatal(err)
	}
	return a
}

// version seals one version; an empty body recalls.
func (a *author) version(prev *message.Head, body string) *message.Sealed {
	a.t.Helper()
	d := message.Draft{Author: a.k.Chain, Readers: []*message.Chain{a.reader.Chain}, Prev: prev, MID: a.mid, Time: time.Now(), Audience: message.Private, Terms: a.terms}
	if body == "" {
		d.Readers = nil
	} else {
		d.Content = &message.Content{}
		d.Content.Set(message.TypeMarkdown, []byte(body))
	}
	s, err := message.Seal(d, a.k.Signer, rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return s
}

func (a *author) pulled(newest *message.Sealed, heads ...*message.Sealed) *wirev1.Pulled {
	w := &wirev1.Pulled{Payload: newest.Payload}
	for _, h := range heads {
		w.Heads = append(w.Heads, h.Head.Signed)
	}
	w.Heads = append(w.Heads, newest.Head.Signed)
	for _, s := range newest.Slots {
		if string(s.GetAddress()) == string(a.reader.Address().Bytes()) {
			w.Slot = s
		}
	}
	return w
}

// take hands an answer to the client as a fetch would.
func (a *author) take(c *Client, w *wirev1.Pulled) (bool, error) {
	p := pulling{ref: message.Ref{From: a.k.Address(), MID: a.mid}, box: home.Received}
	if m, err := c.home.Message(a.t.Context(), c.me, p.ref); err == nil {
		p.known = &m
	}
	return c.takePulled(a.t.Context(), p, w)
}

// alert hands a head to the client as the inbox would.
func (a *author) alert(c *Client, s *message.Sealed) home.Message {
	a.t.Helper()
	e := &wirev1.Entry{Seq: s.Head.Version, Head: s.Head.Signed, From: a.k.Address().Bytes(), Mid: a.mid.Bytes(), Folder: wirev1.Folder_FOLDER_INBOX, Arrived: 1}
	m, err := c.takeEntry(a.t.Context(), e)
	if err != nil {
		a.t.Fatal(err)
	}
	if err := c.home.PutMessages(a.t.Context(), c.me, []home.Message{m}, home.Reading{Log: inboxLog, Seq: m.Seq}); err != nil {
		a.t.Fatal(err)
	}
	return m
}

func (a *author) evidence(c *Client) int {
	a.t.Helper()
	e, err := c.home.Evidence(a.t.Context(), a.k.Address())
	if err != nil {
		a.t.Fatal(err)
	}
	return len(e)
}

func TestHistoryIsTaken(t *testing.T) {
	k := newKeyring(t)
	c := alone(t, k)
	a := newAuthor(t, c, k)
	one := a.version(nil, "one")
	two := a.version(one.Head, "two")
	three := a.version(two.Head, "three")
	a.alert(c, one)
	for n, w := range []*wirev1.Pulled{a.pulled(one), a.pulled(three, two)} {
		if fresh, err := a.take(c, w); !fresh || err != nil {
			t.Fatal(n, err)
		}
	}
	i, err := c.kept(t.Context(), one.Head.Ref())
	if err != nil || i.Shown != 3 || i.State != StateNew {
		t.Fatalf("%+v, %v", i, err)
	}
	if versions, err := c.Versions(t.Context(), one.Head.Ref()); err != nil || len(versions) != 2 {
		t.Fatalf("%d versions with content: %v", len(versions), err)
	}
	// Nothing new is no error; an older answer than what is known is.
	if fresh, err := a.take(c, &wirev1.Pulled{}); fresh || err != nil {
		t.Fatal(fresh, err)
	}
}

func TestRewrittenHistories(t *testing.T) {
	tests := []struct {
		name string
		// do returns what came of the lie.
		do       func(t *testing.T, c *Client, a *author) error
		want     error
		evidence int
	}{
		{"another first version", func(t *testing.T, c *Client, a *author) error {
			a.alert(c, a.version(nil, "one"))
			_, err := a.take(c, a.pulled(a.version(nil, "not one")))
			return err
		}, ErrRewritten, 1},
		{"another second version than was alerted", func(t *testing.T, c *Client, a *author) error {
			one := a.version(nil, "one")
			a.alert(c, one)
			a.alert(c, a.version(one.Head, "two"))
			_, err := a.take(c, a.pulled(a.version(one.Head, "not two"), one))
			return err
		}, ErrRewritten, 1},
		{"a second version on another first", func(t *testing.T, c *Client, a *author) error {
			if _, err := a.take(c, a.pulled(a.version(nil, "one"))); err != nil {
				return err
			}
			_, err := a.take(c, a.pulled(a.version(a.version(nil, "not one").Head, "two")))
			return err
		}, ErrRewritten, 1},
		{"an older state than was alerted", func(t *testing.T, c *Client, a *author) error {
			one := a.version(nil, "one")
			a.alert(c, one)
			a.alert(c, a.version(one.Head, "two"))
			_, err := a.take(c, a.pulled(one))
			return err
		}, message.Stale, 0},
		{"an older copy than was alerted", func(t *testing.T, c *Client, a *author) error {
			one := a.version(nil, "one")
			a.alert(c, a.version(one.Head, "two"))
			w := a.pulled(one)
			w.KeptCopy = true
			_, err := a.take(c, w)
			return err
		}, message.Unavailable, 0},
		{"nothing where something was alerted", func(t *testing.T, c *Client, a *author) error {
			a.alert(c, a.version(nil, "one"))
			_, err := a.take(c, &wirev1.Pulled{})
			return err
		}, message.Stale, 0},
		{"a history with a hole", func(t *testing.T, c *Client, a *author) error {
			one := a.version(nil, "one")
			_, err := a.take(c, a.pulled(a.version(one.Head, "two")))
			return err
		}, message.Invalid, 0},
		{"versions out of order", func(t *testing.T, c *Client, a *author) error {
			one := a.version(nil, "one")
			_, err := a.take(c, a.pulled(one, a.version(one.Head, "two")))
			return err
		}, message.Invalid, 0},
		{"another version of a final message", func(t *testing.T, c *Client, a *author) error {
			a.terms = message.Final
			one := a.version(nil, "one")
			a.terms = message.Revisable
			first := a.version(nil, "one")
			if _, err := a.take(c, a.pulled(one)); err != nil {
				return err
			}
			_, err := a.take(c, a.pulled(a.version(first.Head, "two")))
			return err
		}, ErrRewritten, 1},
		{"another payload", func(t *testing.T, c *Client, a *author) error {
			w := a.pulled(a.version(nil, "one"))
			w.Payload[0] ^= 1
			_, err := a.take(c, w)
			return err
		}, message.BadSignature, 0},
		{"another slot", func(t *testing.T, c *Client, a *author) error {
			w := a.pulled(a.version(nil, "one"))
			w.Slot = a.pulled(a.version(nil, "one")).Slot
			_, err := a.take(c, w)
			return err
		}, message.BadSignature, 0},
		{"a message of somebody else", func(t *testing.T, c *Client, a *author) error {
			w := a.pulled(newAuthor(t, c, a.reader).version(nil, "one"))
			_, err := a.take(c, w)
			return err
		}, message.BadSignature, 0},
		{"a message to somebody else", func(t *testing.T, c *Client, a *author) error {
			other := *a
			other.reader = newKeyring(t)
			_, err := a.take(c, other.pulled(other.version(nil, "one")))
			return err
		}, message.Invalid, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := newKeyring(t)
			c := alone(t, k)
			a := newAuthor(t, c, k)
			if err := tt.do(t, c, a); !errors.Is(err, tt.want) {
				t.Fatalf("%v, not %v", err, tt.want)
			}
			if n := a.evidence(c); n != tt.evidence {
				t.Errorf("%d pairs of evidence, not %d", n, tt.evidence)
			}
		})
	}
}

func TestAlertsThatContradict(t *testing.T) {
	k := newKeyring(t)
	c := alone(t, k)
	a := newAuthor(t, c, k)
	one := a.version(nil, "one")
	if _, err := a.take(c, a.pulled(one)); err != nil {
		t.Fatal(err)
	}
	if m := a.alert(c, a.version(a.version(nil, "not one").Head, "two")); m.Trouble == "" || a.evidence(c) != 1 {
		t.Fatalf("%+v", m)
	}
	// What was believed stays in sight, and says that something is wrong.
	i, err := c.kept(t.Context(), one.Head.Ref())
	if err != nil || i.State != StateUnverified || i.Shown != 1 || i.Trouble == "" {
		t.Fatalf("%+v, %v", i, err)
	}
	if body, _ := i.Content.Body(); body != "one" {
		t.Fatal(body)
	}
}

func TestEntriesThatAreNotBelieved(t *testing.T) {
	k := newKeyring(t)
	c := alone(t, k)
	a := newAuthor(t, c, k)
	good := a.version(nil, "one")
	other := *a
	other.reader = newKeyring(t)
	elsewhere := other.version(nil, "one")
	stranger := &author{t: t, k: newKeyring(t), reader: k, terms: message.Revisable, mid: a.mid}
	tests := map[string]*wirev1.Entry{
		"no sender":         {Head: good.Head.Signed, Mid: a.mid.Bytes()},
		"no mid":            {Head: good.Head.Signed, From: a.k.Address().Bytes()},
		"another mid":       {Head: good.Head.Signed, From: a.k.Address().Bytes(), Mid: message.MID{1}.Bytes()},
		"another sender":    {Head: good.Head.Signed, From: k.Address().Bytes(), Mid: a.mid.Bytes()},
		"another reader":    {Head: elsewhere.Head.Signed, From: a.k.Address().Bytes(), Mid: a.mid.Bytes()},
		"a damaged head":    {Head: &wirev1.Signed{Body: []byte("x"), Key: good.Head.Signed.Key, Signature: good.Head.Signed.Signature}, From: a.k.Address().Bytes(), Mid: a.mid.Bytes()},
		"a forged head":     {Head: &wirev1.Signed{Body: good.Head.Signed.Body, Key: stranger.k.Signer.Public().Bytes(), Signature: good.Head.Signed.Signature}, From: a.k.Address().Bytes(), Mid: a.mid.Bytes()},
		"an unknown author": {Head: stranger.version(nil, "x").Head.Signed, From: stranger.k.Address().Bytes(), Mid: a.mid.Bytes()},
	}
	for name, e := range tests {
		if _, err := c.takeEntry(t.Context(), e); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestSetAsideWhatIsOver(t *testing.T) {
	k := newKeyring(t)
	c := alone(t, k)
	a := newAuthor(t, c, k)
	one := a.version(nil, "one")
	a.alert(c, one)
	if _, err := a.take(c, a.pulled(one)); err != nil {
		t.Fatal(err)
	}
	// Not seen yet: a recall takes it back, here too.
	m := a.alert(c, a.version(one.Head, ""))
	if err := c.eraseRecalled(t.Context(), []home.Message{m}); err != nil {
		t.Fatal(err)
	}
	if i, err := c.kept(t.Context(), one.Head.Ref()); err != nil || i.Content != nil || i.State != StateRecalled {
		t.Fatalf("%+v, %v", i, err)
	}
}

func TestDraftsBecomeNormal(t *testing.T) {
	now := time.Now()
	long := make([]string, message.MaxRecipients+1)
	tests := []struct {
		name  string
		draft Draft
		terms message.Terms
		err   error
	}{
		{"plain", Draft{To: []string{"a"}}, message.Revisable, nil},
		{"expiry implies ephemeral", Draft{To: []string{"a"}, Expires: now.Add(time.Hour)}, message.Ephemeral, nil},
		{"final", Draft{To: []string{"a"}, Terms: message.Final}, message.Final, nil},
		{"public and named", Draft{Public: true, Name: "a/b"}, message.Revisable, nil},
		{"ephemeral without end", Draft{To: []string{"a"}, Terms: message.Ephemeral}, 0, message.Invalid},
		{"final with end", Draft{To: []string{"a"}, Terms: message.Final, Expires: now.Add(time.Hour)}, 0, message.Invalid},
		{"over before it begins", Draft{To: []string{"a"}, Expires: now}, 0, message.Invalid},
		{"to nobody", Draft{}, 0, message.Invalid},
		{"public to somebody", Draft{Public: true, To: []string{"a"}}, 0, message.Invalid},
		{"private and named", Draft{To: []string{"a"}, Name: "x"}, 0, message.Invalid},
		{"bad name", Draft{Public: true, Name: "A B"}, 0, message.Invalid},
		{"too many", Draft{To: long}, 0, message.TooLarge},
		{"too many blind", Draft{Bcc: long}, 0, message.TooLarge},
	}
	for _, tt := range tests {
		err := tt.draft.normal(now)
		if !errors.Is(err, tt.err) || err == nil && tt.draft.Terms != tt.terms {
			t.Errorf("%s: %v, %v", tt.name, tt.draft.Terms, err)
		}
	}
}

func TestBlobsOfContent(t *testing.T) {
	a := message.Attachment{Blob: message.ID{1}}
	c := &message.Content{Attachments: []message.Attachment{a, a}}
	got, err := blobsOf(c, []*wirev1.BlobRef{{Hash: a.Blob[:], Size: 5}})
	if err != nil || len(got) != 2 || got[0] != (store.BlobRef{ID: a.Blob, Size: 5}) {
		t.Error(got, err)
	}
	if kept := used(c, append(got, store.BlobRef{ID: message.ID{9}})); len(kept) != 1 {
		t.Error(kept)
	}
	if _, err := blobsOf(c, []*wirev1.BlobRef{{Hash: []byte("short")}}); !errors.Is(err, message.Invalid) {
		t.Error(err)
	}
}

func TestNoticesAreKept(t *testing.T) {
	k := newKeyring(t)
	c := alone(t, k)
	mid, to := message.MID{1}, message.Address{2}
	for _, w := range []*wirev1.Notice{
		{Mid: []byte("short"), To: to.Bytes()}, {Mid: mid.Bytes(), To: []byte("short")},
		{Mid: mid.Bytes(), To: to.Bytes(), Version: 2, Reason: wirev1.Reason_REASON_UNAVAILABLE, Time: 1},
	} {
		if err := c.takeNotice(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	got, err := c.Notices(t.Context())
	if err != nil || len(got) != 1 || got[0].MID != mid || got[0].To != to || got[0].Version != 2 || got[0].Reason != message.Unavailable {
		t.Fatal(got, err)
	}
}

func TestErrorsSayWhatHappened(t *testing.T) {
	ref := message.Ref{From: message.Address{1}, MID: message.MID{2}}
	tests := []struct {
		err  error
		code error
		says string
	}{
		{&ConflictError{Ref: ref, Mine: 3, Stands: 4, Err: message.Conflict}, message.Conflict, "version 4 stands"},
		{&DraftError{ID: 7, Err: message.Unavailable}, message.Unavailable, "draft 7"},
		{&NameChangedError{Name: "ann@t.example", Pinned: message.Address{1}, Now: message.Address{2}}, message.Conflict, message.Address{2}.String()},
	}
	for _, tt := range tests {
		if !errors.Is(tt.err, tt.code) || !strings.Contains(tt.err.Error(), tt.says) {
			t.Errorf("%v", tt.err)
		}
	}
}

// TestChangedName: a name that stands for somebody else is an error until a
// person accepts it.
func TestChangedName(t *testing.T) {
	c := alone(t, newKeyring(t))
	first, second := message.Address{1}, message.Address{2}
	for _, a := range []message.Address{first, second} {
		if _, err := c.home.Resolve(t.Context(), "ann@t.example", a, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.Resolve(t.Context(), "Ann@T.example")
	changed, ok := errors.AsType[*NameChangedError](err)
	if !ok || changed.Pinned != first || changed.Now != second {
		t.Fatal(err)
	}
	if a, err := c.Accept(t.Context(), "ann@t.example"); err != nil || a != second {
		t.Fatal(a, err)
	}
	if a, err := c.Resolve(t.Context(), "ann@t.example"); err != nil || a != second {
		t.Fatal(a, err)
	}
}

func TestHistoryOfNothing(t *testing.T) {
	c := alone(t, newKeyring(t))
	for _, heads := range [][]*wirev1.Signed{nil, {nil}, {{}, nil}} {
		if _, err := c.history(t.Context(), pulling{ref: message.Ref{From: message.Address{1}, MID: message.MID{1}}}, heads); !errors.Is(err, message.Invalid) {
			t.Errorf("%d heads: %v", len(heads), err)
		}
	}
}
