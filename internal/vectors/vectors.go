// Package vectors is how rooms publish test vectors: cases of what they read off
// the wire, with what comes of it or the reason of a refusal (docs/protocol.md §8.2),
// for those who write another implementation.
//
// A room has a Set, whose operations are its own readers. With -update its tests offer
// cases to the set, which runs them and adds those that are new to a file; a case
// that is there is never changed, since others have read it. Without it they offer
// nothing, and Check holds the room to every case of its files. Only tests use this
// package. Room message, which is below it, does the same by itself.
package vectors

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"airdispatch/message"
)

// Set is the vectors of one room, whose cases have the inputs In.
type Set[In any] struct {
	// Dir is where its files lie, one for each subject.
	Dir string
	// Ops are what may be done with inputs, by name. An error wraps a message.Code.
	Ops map[string]func(testing.TB, In) (any, error)
	// Update says that new cases are added.
	Update bool
}

// vector is one case: what is done with what, and what comes of it.
type vector[In any] struct {
	Name  string          `json:"name"`
	Op    string          `json:"op"`
	In    In              `json:"in"`
	Want  json.RawMessage `json:"want,omitempty"`
	Error string          `json:"error,omitempty"`
}

// Offer adds a case where the set is to be updated and its file has none of that name.
// place is file and operation with a slash between; want is zero for what must succeed.
func (s Set[In]) Offer(t testing.TB, place, name string, in In, want message.Code) {
	t.Helper()
	if !s.Update {
		return
	}
	file, op, _ := strings.Cut(place, "/")
	path := filepath.Join(s.Dir, file+".json")
	all := s.read(t, path)
	if slices.ContainsFunc(all, func(v vector[In]) bool { return v.Name == name }) {
		return
	}
	v := vector[In]{Name: name, Op: op, In: in}
	got, err := s.Ops[op](t, in)
	if want != 0 || err != nil {
		if !errors.Is(err, want) {
			t.Fatalf("%s: %s: got %v, %v, want %s", place, name, got, err, want.Name())
		}
		v.Error = want.Name()
	} else if v.Want, err = json.Marshal(got); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := errors.Join(e.Encode(append(all, v)), os.MkdirAll(s.Dir, 0o755), os.WriteFile(path, b.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// read reads one file; none of that name has no vectors.
func (s Set[In]) read(t testing.TB, path string) []vector[In] {
	t.Helper()
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var all []vector[In]
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

// Check runs every case, and demands that there are so many at the least.
func (s Set[In]) Check(t *testing.T, least int) {
	paths, err := filepath.Glob(filepath.Join(s.Dir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, path := range paths {
		names := map[string]bool{}
		for _, v := range s.read(t, path) {
			count++
			if names[v.Name] {
				t.Errorf("%s: %q twice", path, v.Name)
			}
			names[v.Name] = true
			t.Run(strings.TrimSuffix(filepath.Base(path), ".json")+"/"+v.Name, func(t *testing.T) { s.check(t, v) })
		}
	}
	if count < least {
		t.Errorf("%d vectors, at least %d were published", count, least)
	}
}

// check runs one case.
func (s Set[In]) check(t *testing.T, v vector[In]) {
	do := s.Ops[v.Op]
	if do == nil {
		t.Fatalf("no operation %q", v.Op)
	}
	got, err := do(t, v.In)
	if v.Error != "" {
		if code := message.CodeOf(err); err == nil || code.Name() != v.Error {
			t.Errorf("got %v, %v, want %s", got, err, v.Error)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var have, want any
	if err := errors.Join(json.Unmarshal(b, &have), json.Unmarshal(v.Want, &want)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(have, want) {
		t.Errorf("got  %s\nwant %s", b, v.Want)
	}
}
