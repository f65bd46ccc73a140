package message

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	wirev1 "airdispatch/wire/airdispatch/v1"
)

// asRefused finds a refusal in an error.
func asRefused(err error) (*Refused, bool) { return errors.AsType[*Refused](err) }

// Every reason of the wire has a word and a sentence, and no two share one.
func TestCodes(t *testing.T) {
	words, said := map[string]bool{}, map[string]bool{}
	for number := range wirev1.Reason_name {
		if number == 0 {
			continue
		}
		c := Code(number)
		if !c.Known() || c.Name() == "" || words[c.Name()] || said[c.Error()] {
			t.Errorf("code %d: %q, %q", number, c.Name(), c.Error())
		}
		words[c.Name()], said[c.Error()] = true, true
		if got, err := ParseCode(c.Name()); err != nil || got != c {
			t.Errorf("%q became %v, %v", c.Name(), got, err)
		}
		if "REASON_"+upper(c.Name()) != wirev1.Reason(number).String() {
			t.Errorf("%q is not the word of %s", c.Name(), wirev1.Reason(number))
		}
	}
	if len(words) != len(names) || len(words) != len(sentences) {
		t.Error("a word or sentence for a code that the wire does not have")
	}
	odd := Code(99)
	if odd.Known() || odd.Name() != "" || odd.Error() != "refused for a reason unknown here (99)" {
		t.Errorf("code 99: %q", odd.Error())
	}
	_, err := ParseCode("")
	refused(t, err, Invalid)
}

func upper(s string) string {
	b := []byte(s)
	for i := range b {
		if b[i] >= 'a' && b[i] <= 'z' {
			b[i] -= 'a' - 'A'
		}
	}
	return string(b)
}

func TestRefusals(t *testing.T) {
	a := user(t, "ann").Address()
	now := time.UnixMilli(1_700_000_000_000).UTC()
	for name, c := range map[string]struct {
		err     error
		want    Code
		address bool
	}{
		"a code":                    {NotFound, NotFound, false},
		"wrapped":                   {fmt.Errorf("tracker: find x: %w", Stale), Stale, false},
		"of this room":              {refuse(Clock, "x"), Clock, false},
		"no code":                   {errors.New("disk on fire at /secret"), Internal, false},
		"a bundle is needed":        {fmt.Errorf("x: %w", Need(a)), NeedBundle, true},
		"an address for this alone": {&Refused{Code: Quota, Address: a}, Quota, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := Refusal(c.err, now)
			err := OpenRefusal(w)
			r, ok := asRefused(err)
			if !ok || r.Code != c.want || !errors.Is(err, c.want) || !r.ServerTime.Equal(now) || (r.Address == a) != c.address || err.Error() != c.want.Error() {
				t.Errorf("got %+v", r)
			}
		})
	}
	if Refusal(nil, now) != nil || OpenRefusal(nil) != nil || OpenRefusal(&wirev1.Refusal{ServerTime: 1}) != nil {
		t.Error("a refusal out of nothing")
	}
	r, _ := asRefused(OpenRefusal(&wirev1.Refusal{Reason: 999, ServerTime: -5, Address: []byte("x")}))
	if r == nil || r.Code != Internal || !r.ServerTime.IsZero() || !r.Address.IsZero() {
		t.Errorf("a refusal that makes no sense: %+v", r)
	}
	if got := Refusal(Need(a), now); !proto.Equal(got, &wirev1.Refusal{Reason: wirev1.Reason_REASON_NEED_BUNDLE, ServerTime: 1_700_000_000_000, Address: a.Bytes()}) {
		t.Errorf("got %v", got)
	}
}
