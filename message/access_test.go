package message

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/crypto"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

func TestAccessWindow(t *testing.T) {
	ann, server := user(t, "ann"), newPerson(t, "server", RoleServer)
	header := must(SignAccess(ann.Chain, server.Address(), testTime(), time.Minute, ann.Signer))(t)
	for at, want := range map[time.Duration]Code{
		-AccessSlack - time.Millisecond: Clock,
		-AccessSlack:                    0,
		0:                               0,
		time.Minute:                     0,
		time.Minute + AccessSlack:       0,
		time.Minute + AccessSlack + time.Millisecond: Clock,
	} {
		vec(t, "access/access", "at "+at.String(), inputs{Text: header, Cards: cardsOf(t, ann.Chain), Address: server.Address().String(), Now: millis(testTime().Add(at))}, want)
		claim := must(ParseAccess(header))(t)
		a, err := claim.Verify(crypto.Single{}, ann.Chain, server.Address(), testTime().Add(at))
		if want != 0 {
			refused(t, err, want)
			continue
		}
		if err != nil || a.From != ann.Address() || a.Audience != server.Address() || !a.Expires.Equal(testTime().Add(time.Minute)) {
			t.Errorf("at %s: %+v, %v", at, a, err)
		}
	}
	long := must(ParseAccess(must(SignAccess(ann.Chain, server.Address(), testTime(), time.Hour, ann.Signer))(t)))(t)
	if a := must(long.Verify(crypto.Single{}, ann.Chain, server.Address(), testTime()))(t); a.Expires.Sub(a.Time) != MaxAccessLife {
		t.Errorf("valid for %s", a.Expires.Sub(a.Time))
	}
}

func TestAccessRefusals(t *testing.T) {
	ann, bob, server := user(t, "ann"), user(t, "bob"), newPerson(t, "server", RoleServer)
	d := ann.draft()
	d.Signers = []crypto.VerifyKey{key(t, "device").Public()}
	revoked := after(t, ann.Chain, d, ann.paper)
	d = ann.draft()
	d.Closed = true
	closed := after(t, ann.Chain, d, ann.paper)
	now := testTime().UnixMilli()
	life := MaxAccessLife.Milliseconds()
	id := ann.Chain.Head().ID
	for name, c := range map[string]struct {
		edit  func(w *wirev1.Access)
		chain *Chain
		by    crypto.SigningKey
		want  Code
	}{
		"good":                 {func(*wirev1.Access) {}, ann.Chain, ann.Signer, 0},
		"exactly ten minutes":  {func(w *wirev1.Access) { w.Expires = w.Time + life }, ann.Chain, ann.Signer, 0},
		"longer":               {func(w *wirev1.Access) { w.Expires = w.Time + life + 1 }, ann.Chain, ann.Signer, Invalid},
		"over at once":         {func(w *wirev1.Access) { w.Expires = w.Time }, ann.Chain, ann.Signer, Invalid},
		"no author":            {func(w *wirev1.Access) { w.From = nil }, ann.Chain, ann.Signer, Invalid},
		"another author":       {func(*wirev1.Access) {}, bob.Chain, ann.Signer, Unauthenticated},
		"no audience":          {func(w *wirev1.Access) { w.Audience = nil }, ann.Chain, ann.Signer, Invalid},
		"for another server":   {func(w *wirev1.Access) { w.Audience = bob.Address().Bytes() }, ann.Chain, ann.Signer, Unauthenticated},
		"no card":              {func(w *wirev1.Access) { w.CardId = nil }, ann.Chain, ann.Signer, Invalid},
		"a card not known":     {func(w *wirev1.Access) { w.CardId = make([]byte, 32) }, ann.Chain, ann.Signer, NeedBundle},
		"another's key":        {func(*wirev1.Access) {}, ann.Chain, bob.Signer, BadSignature},
		"a rotation key":       {func(*wirev1.Access) {}, ann.Chain, ann.paper, BadSignature},
		"a removed device":     {func(*wirev1.Access) {}, revoked, ann.Signer, BadSignature},
		"a closed identity":    {func(*wirev1.Access) {}, closed, ann.Signer, Denied},
		"before 1970":          {func(w *wirev1.Access) { w.Time = -1 }, ann.Chain, ann.Signer, Invalid},
		"a time that overruns": {func(w *wirev1.Access) { w.Expires = 1<<63 - 1 }, ann.Chain, ann.Signer, Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			w := &wirev1.Access{From: ann.Address().Bytes(), CardId: id[:], Audience: server.Address().Bytes(), Time: now, Expires: now + 1000}
			c.edit(w)
			header := headerOf(t, must(sign(kindAccess, w, c.by))(t))
			vec(t, "access/access", name, inputs{Text: header, Cards: cardsOf(t, c.chain), Address: server.Address().String(), Now: now}, c.want)
			claim, err := ParseAccess(header)
			if err == nil {
				_, err = claim.Verify(crypto.Single{}, c.chain, server.Address(), testTime())
			}
			if c.want != 0 || err != nil {
				refused(t, err, c.want)
			}
		})
	}
	forged := must(sign(kindAccess, &wirev1.Access{From: ann.Address().Bytes(), CardId: id[:], Audience: server.Address().Bytes(), Time: now, Expires: now + 1}, ann.Signer))(t)
	forged.Signature[0] ^= 1
	_, err := must(ParseAccess(headerOf(t, forged)))(t).Verify(crypto.Single{}, ann.Chain, server.Address(), testTime())
	refused(t, err, BadSignature)
	_, err = SignAccess(ann.Chain, server.Address(), testTime(), time.Minute, crypto.SigningKey{})
	refused(t, err, Internal)
}

// headerOf is the header that carries a statement.
func headerOf(t testing.TB, s *wirev1.Signed) string {
	t.Helper()
	return AccessScheme + " " + base64.RawURLEncoding.EncodeToString(must(proto.Marshal(s))(t))
}

func TestAccessHeaders(t *testing.T) {
	ann := user(t, "ann")
	good := must(SignAccess(ann.Chain, ann.Address(), testTime(), time.Minute, ann.Signer))(t)
	_, text, _ := strings.Cut(good, " ")
	for header, want := range map[string]Code{
		"":                          Unauthenticated,
		text:                        Unauthenticated,
		"Bearer " + text:            Unauthenticated,
		"Airdispatch":               Unauthenticated,
		"Airdispatch ":              Invalid,
		"Airdispatch " + text + "=": Invalid,
		"Airdispatch  " + text:      Invalid,
		"Airdispatch !":             Invalid,
		"Airdispatch " + text[:40] + "\r\n" + text[40:]: Invalid,
		"Airdispatch " + text[:40]:                      Invalid,
		"Airdispatch AAAA":                              Invalid,
		good + strings.Repeat("A", 2*MaxName):           TooLarge,
		"airdispatch " + text:                           0,
		good:                                            0,
	} {
		if _, err := ParseAccess(header); want != 0 || err != nil {
			refused(t, err, want)
		}
	}
}

func TestReceipts(t *testing.T) {
	ann, server := user(t, "ann"), newPerson(t, "server", RoleServer)
	d := server.draft()
	d.Signers = []crypto.VerifyKey{key(t, "device").Public()}
	later := after(t, server.Chain, d, server.paper)
	sound := Receipt{Issuer: server.Address(), Kind: ReceiptAlerted, ID: ID{1}, AcceptedAt: testTime(), Epoch: 3, LogSeq: 9, For: ann.Address()}
	s := must(SignReceipt(sound, server.Signer))(t).Signed
	// A promise outlives the key that made it.
	for _, chain := range []*Chain{server.Chain, later} {
		r := must(OpenReceipt(crypto.Single{}, chain, s))(t)
		if r.Signed = nil; *r != sound {
			t.Errorf("got %+v", r)
		}
	}
	if a := must(ReceiptIssuer(s))(t); a != server.Address() {
		t.Errorf("claims to come from %s", a)
	}
	for name, c := range map[string]struct {
		edit func(w *wirev1.Receipt)
		by   crypto.SigningKey
		want Code
	}{
		"submitted":           {func(w *wirev1.Receipt) { w.Kind, w.For = 1, nil }, server.Signer, 0},
		"published":           {func(w *wirev1.Receipt) { w.Kind, w.For = 3, nil }, server.Signer, 0},
		"fetched":             {func(w *wirev1.Receipt) { w.Kind = 4 }, server.Signer, 0},
		"opened, by itself":   {func(w *wirev1.Receipt) { w.Kind, w.For = 5, w.Issuer }, server.Signer, 0},
		"no kind":             {func(w *wirev1.Receipt) { w.Kind = 0 }, server.Signer, Invalid},
		"unknown kind":        {func(w *wirev1.Receipt) { w.Kind = 6 }, server.Signer, Invalid},
		"no issuer":           {func(w *wirev1.Receipt) { w.Issuer = nil }, server.Signer, Invalid},
		"another issuer":      {func(w *wirev1.Receipt) { w.Issuer = ann.Address().Bytes() }, server.Signer, Invalid},
		"no id":               {func(w *wirev1.Receipt) { w.Id = nil }, server.Signer, Invalid},
		"for no form":         {func(w *wirev1.Receipt) { w.For = []byte{1} }, server.Signer, Invalid},
		"alerted nobody":      {func(w *wirev1.Receipt) { w.For = nil }, server.Signer, Invalid},
		"fetched for nobody":  {func(w *wirev1.Receipt) { w.Kind, w.For = 4, nil }, server.Signer, Invalid},
		"submitted for one":   {func(w *wirev1.Receipt) { w.Kind = 1 }, server.Signer, Invalid},
		"opened by no reader": {func(w *wirev1.Receipt) { w.Kind = 5 }, server.Signer, Invalid},
		"before 1970":         {func(w *wirev1.Receipt) { w.AcceptedAt = -1 }, server.Signer, Invalid},
		"another's key":       {func(*wirev1.Receipt) {}, ann.Signer, BadSignature},
	} {
		t.Run(name, func(t *testing.T) {
			var w wirev1.Receipt
			if err := proto.Unmarshal(s.Body, &w); err != nil {
				t.Fatal(err)
			}
			c.edit(&w)
			s := must(sign(kindReceipt, &w, c.by))(t)
			vec(t, "receipts/open_receipt", name, inputs{Cards: cardsOf(t, server.Chain), Statement: bytesOf(t, s)}, c.want)
			_, err := OpenReceipt(crypto.Single{}, server.Chain, s)
			if c.want != 0 || err != nil {
				refused(t, err, c.want)
			}
		})
	}
	s.Signature[0] ^= 1
	_, err := OpenReceipt(crypto.Single{}, server.Chain, s)
	refused(t, err, BadSignature)
	_, err = OpenReceipt(crypto.Single{}, server.Chain, nil)
	refused(t, err, Invalid)
	_, err = ReceiptIssuer(nil)
	refused(t, err, Invalid)
	_, err = SignReceipt(sound, crypto.SigningKey{})
	refused(t, err, Internal)
}
