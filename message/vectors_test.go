package message

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"airdispatch/crypto"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// update adds vectors that are not there yet. What is there is never changed:
// vectors are a published interface.
var update = flag.Bool("update", false, "add new test vectors")

// vectorDir is where the vectors lie, one file for each subject.
const vectorDir = "../testdata/vectors"

// vector is one case: what is done with what, and what comes of it.
type vector struct {
	Name  string          `json:"name"`
	Op    string          `json:"op"`
	In    inputs          `json:"in"`
	Want  json.RawMessage `json:"want,omitempty"`
	Error string          `json:"error,omitempty"`
}

// inputs are those of all operations; each uses some. Bytes are base64.
type inputs struct {
	Text      string    `json:"text,omitempty"`
	Name      string    `json:"name,omitempty"`
	Kind      string    `json:"kind,omitempty"`
	Bytes     []byte    `json:"bytes,omitempty"`
	Size      int       `json:"size,omitempty"`
	Cards     [][]byte  `json:"cards,omitempty"`
	Seen      []int64   `json:"seen,omitempty"`
	Other     [][]byte  `json:"other_cards,omitempty"`
	OtherSeen []int64   `json:"other_seen,omitempty"`
	Statement []byte    `json:"statement,omitempty"`
	Next      []byte    `json:"next,omitempty"`
	Identity  []byte    `json:"identity,omitempty"`
	Address   string    `json:"address,omitempty"`
	Now       int64     `json:"now,omitempty"`
	Key       []byte    `json:"key,omitempty"`
	Context   []byte    `json:"context,omitempty"`
	Slots     [][]byte  `json:"slots,omitempty"`
	Boxes     []boxSeed `json:"boxes,omitempty"`
	Payload   []byte    `json:"payload,omitempty"`
}

// boxSeed is the private half of a box.
type boxSeed struct {
	Kind crypto.BoxKind `json:"kind"`
	Seed []byte         `json:"seed"`
}

// vec offers a case for the vectors: with -update it is added to the file
// unless one of its name is there. fileOp is file and operation with a slash
// between; want is zero for what must succeed.
func vec(t *testing.T, fileOp, name string, in inputs, want Code) {
	t.Helper()
	if !*update {
		return
	}
	file, op, _ := strings.Cut(fileOp, "/")
	path := filepath.Join(vectorDir, file+".json")
	all := readVectors(t, path)
	if slices.ContainsFunc(all, func(v vector) bool { return v.Name == name }) {
		return
	}
	got, err := run(op, in)
	if want != 0 || err != nil {
		if !errors.Is(err, want) {
			t.Fatalf("%s: %s: got %v, want %s", file, name, err, want.Name())
		}
		all = append(all, vector{Name: name, Op: op, In: in, Error: want.Name()})
	} else {
		all = append(all, vector{Name: name, Op: op, In: in, Want: must(json.Marshal(got))(t)})
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(all); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// readVectors reads one file; none of that name has no vectors.
func readVectors(t testing.TB, path string) []vector {
	t.Helper()
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var all []vector
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		err = d.Decode(&all)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return all
}

// Every published vector holds.
func TestVectors(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(vectorDir, "*.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no vectors: %v", err)
	}
	count := 0
	for _, path := range paths {
		names := map[string]bool{}
		for _, v := range readVectors(t, path) {
			count++
			if names[v.Name] {
				t.Errorf("%s: %q twice", path, v.Name)
			}
			names[v.Name] = true
			t.Run(strings.TrimSuffix(filepath.Base(path), ".json")+"/"+v.Name, func(t *testing.T) { v.check(t) })
		}
	}
	if count < 400 {
		t.Errorf("%d vectors", count)
	}
}

// check runs one vector.
func (v vector) check(t *testing.T) {
	t.Helper()
	got, err := run(v.Op, v.In)
	if v.Error != "" {
		refused(t, err, must(ParseCode(v.Error))(t))
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	var have, want any
	if json.Unmarshal(must(json.Marshal(got))(t), &have) != nil || json.Unmarshal(v.Want, &want) != nil {
		t.Fatal("not JSON")
	}
	if !reflect.DeepEqual(have, want) {
		t.Errorf("got  %v\nwant %v", have, want)
	}
}

// result is what an operation gives.
type result = map[string]any

// run does what a vector says.
func run(op string, in inputs) (result, error) {
	ops := map[string]func(inputs) (result, error){
		"parse_address": runAddress, "address_from_bytes": runAddressBytes, "parse_target": runTarget, "parse_reference": runReference,
		"check_user_name": func(in inputs) (result, error) { return result{}, CheckUserName(in.Name) },
		"check_post_name": func(in inputs) (result, error) { return result{}, CheckPostName(in.Name) },
		"named_mid":       func(in inputs) (result, error) { return result{"mid": NamedMID(in.Name).String()}, nil },
		"parse_mid":       runMID, "statement": runStatement, "verify_key": runVerifyKey, "box": runBox,
		"open_chain": runChain, "branch": runBranch, "compare": runCompare, "open_identity": runIdentity,
		"open_route": runRoute, "ticket": runTicket, "open_name": runName, "open_answer": runAnswer, "open_self_answer": runSelfAnswer,
		"access": runAccess, "open_receipt": runReceipt, "open_head": runHead, "check_next": runNext, "check_slots": runSlots, "open": runOpen,
		"derive": runDerive, "seal_payload": runSealPayload, "open_payload": runOpenPayload,
		"pad": func(in inputs) (result, error) { return result{"bytes": crypto.Pad(in.Bytes)}, nil }, "unpad": runUnpad,
		"blob_id": runBlob, "parse_content": runContent,
		"attachment_name": func(in inputs) (result, error) { return result{"text": AttachmentName(in.Text)}, nil },
	}
	do, ok := ops[op]
	if !ok {
		return nil, refuse(Unsupported, "vector: op %q", op)
	}
	return do(in)
}

// framesOf reads serialised statements.
func framesOf(raw [][]byte) ([]*wirev1.Signed, error) {
	var out []*wirev1.Signed
	for _, b := range raw {
		s, err := frameOf(b)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// frameOf reads one serialised statement.
func frameOf(b []byte) (*wirev1.Signed, error) {
	var s wirev1.Signed
	if err := proto.Unmarshal(b, &s); err != nil {
		return nil, refuse(Invalid, "vector: %v", err)
	}
	return &s, nil
}

// chainOf opens serialised cards; they are sound in every vector that is not
// about chains.
func chainOf(raw [][]byte) (*Chain, error) {
	cards, err := framesOf(raw)
	if err != nil {
		return nil, err
	}
	return OpenChain(crypto.Single{}, cards)
}

// bytesOf is the serialised form of a message.
func bytesOf(t testing.TB, m proto.Message) []byte {
	t.Helper()
	return must(proto.Marshal(m))(t)
}

// cardsOf is the serialised form of a chain.
func cardsOf(t testing.TB, c *Chain) [][]byte {
	t.Helper()
	return rawCards(t, c.Signed(0))
}

// rawCards is the serialised form of statements.
func rawCards(t testing.TB, signed []*wirev1.Signed) [][]byte {
	t.Helper()
	var out [][]byte
	for _, s := range signed {
		out = append(out, bytesOf(t, s))
	}
	return out
}

// at is a time of a vector.
func at(ms int64) time.Time { return fromMillis(ms) }

// ms is a time for a vector; the zero time is null.
func ms(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return millis(t)
}

// texts are addresses for a vector.
func texts(list []Address) []string {
	out := []string{}
	for _, a := range list {
		out = append(out, a.String())
	}
	return out
}
