package crypto

import (
	"crypto/cipher"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestSecretsAreNotPrinted prints every secret in every way that could end up in a log, and looks for its bytes.
func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()
	seed := []byte("SEEDSEEDSEEDSEEDSEEDSEEDSEEDSEED")
	signing, err1 := SigningKeyFromSeed(seed)
	nacl, err2 := BoxKeyFromSeed(BoxNaCl, seed)
	hybrid, err3 := BoxKeyFromSeed(BoxHybrid, seed)
	content, err4 := ContentKeyFromBytes(seed)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	payload := PayloadKey{aead: hide[cipher.AEAD](tellTale{string(seed)})}
	type holder struct {
		Shown  any
		hidden any
	}
	for _, secret := range []any{Secret(seed), signing, nacl, hybrid, content, payload, &signing, &content} {
		for _, v := range []any{secret, []any{secret}, map[string]any{"k": secret}, holder{secret, 1}} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%c", "%t", "%U"} {
				checkSilent(t, verb, fmt.Sprintf(verb, v))
			}
			b, err := json.Marshal(v)
			if err == nil {
				checkSilent(t, "json", string(b))
			}
		}
		text, err := secret.(interface{ MarshalText() ([]byte, error) }).MarshalText()
		if err != nil || string(text) != shown {
			t.Errorf("%T: MarshalText = %q, %v", secret, text, err)
		}
		if s := secret.(fmt.Stringer).String(); s != shown {
			t.Errorf("%T: String = %q", secret, s)
		}
		if s := secret.(fmt.GoStringer).GoString(); s != shown {
			t.Errorf("%T: GoString = %q", secret, s)
		}
		if b, err := json.Marshal(secret); err != nil || string(b) != `"`+shown+`"` {
			t.Errorf("%T: JSON = %s, %v", secret, b, err)
		}
	}
	for _, key := range []any{signing, nacl, hybrid, content, payload} {
		checkSilent(t, "unexported field", fmt.Sprintf("%+v %x %s", holder{1, key}, holder{1, key}, holder{1, key}))
	}
}

// checkSilent fails if out shows the seed as text, hexadecimal, decimal or base64.
func checkSilent(t *testing.T, how, out string) {
	t.Helper()
	for _, leak := range []string{"SEED", "53454544", "83 69 69 68", "83,69,69,68", "0x53, 0x45", "U0VFRF"} {
		if strings.Contains(strings.ToUpper(out), strings.ToUpper(leak)) {
			t.Errorf("%s shows a secret: %s", how, out)
		}
	}
}

// tellTale is a cipher that shows its key to whoever prints it.
type tellTale struct{ Key string }

func (tellTale) NonceSize() int                         { return 0 }
func (tellTale) Overhead() int                          { return 0 }
func (tellTale) Seal(_, _, _, _ []byte) []byte          { return nil }
func (tellTale) Open(_, _, _, _ []byte) ([]byte, error) { return nil, nil }

func TestRandomBytes(t *testing.T) {
	t.Parallel()
	if b, err := RandomBytes(source("x"), 33); err != nil || len(b) != 33 {
		t.Errorf("RandomBytes = %d bytes, %v", len(b), err)
	}
	if _, err := RandomBytes(strings.NewReader("short"), 6); err == nil {
		t.Error("a source that runs dry gives a key")
	}
	if _, err := RandomBytes(nil, 1); err == nil {
		t.Error("no source gives a key")
	}
	if _, err := RandomBytes(source("x"), -1); err == nil {
		t.Error("a negative length gives a key")
	}
}

// TestDrySource checks that every maker of keys reports a source that ends too early.
func TestDrySource(t *testing.T) {
	t.Parallel()
	dry := func() *strings.Reader { return strings.NewReader(strings.Repeat("x", 31)) }
	_, err1 := NewSigningKey(dry())
	_, err2 := NewBoxKey(BoxNaCl, dry())
	_, err3 := NewBoxKey(BoxHybrid, dry())
	_, err4 := NewContentKey(dry())
	_, err5 := boxKey(t, BoxNaCl).Public().Seal(dry(), nil, nil)
	_, err6 := boxKey(t, BoxNaCl).Public().Seal(nil, nil, nil)
	for i, err := range []error{err1, err2, err3, err4, err5, err6} {
		if err == nil {
			t.Errorf("maker %d takes a short source", i+1)
		}
	}
}
