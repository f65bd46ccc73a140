package whisper

import (
	"bytes"
	"encoding/json"
)

// extension is what only peers of this kind understand, under one key of an
// ordinary object. With a Kind it is said to a neighbour and goes no further;
// without one it belongs to the message that it stands in.
type extension struct {
	Kind string `json:"Kind,omitempty"`
	// Addr is where the neighbour that says hello listens.
	Addr string `json:"Addr,omitempty"`
	// IDs are ids of messages that the neighbour has, or wants.
	IDs []string `json:"IDs,omitempty"`
	// Old says that what is wanted is no news: it says nothing about the tree.
	Old bool `json:"Old,omitempty"`
	// Know are addresses of other peers of this kind.
	Know []string `json:"Know,omitempty"`
	// Chain and Signature prove who wrote the message.
	Chain     []byte `json:"Chain,omitempty"`
	Signature []byte `json:"Signature,omitempty"`
}

// What neighbours say to each other (docs/protocol.md §16.4).
const (
	kindHello = "hello" // who I am, what I have, whom I know
	kindHave  = "have"  // ids, instead of the messages
	kindWant  = "want"  // send me these, and all that comes from now on
	kindPrune = "prune" // I had that already: tell me ids only
	kindPart  = "part"  // I have too many neighbours; take these instead of me
)

// maxList bounds every list of an extension.
const maxList = 128

// bytes is the extension on the wire, alone in its object.
func (e *extension) bytes() []byte {
	b, err := json.Marshal(struct{ Whisper *extension }{e})
	if err != nil {
		return nil // texts and lists have a form
	}
	return append(b, '\n')
}

// control reads an object in which there is nothing but an extension with a Kind, as most
// objects between peers of our kind are; nil for any other.
func control(raw []byte) *extension {
	if !bytes.HasPrefix(raw, []byte(`{"`+keyOurs+`":{"Kind":"`)) {
		return nil
	}
	var only map[string]*extension
	if json.Unmarshal(raw, &only) != nil || len(only) != 1 || only[keyOurs] == nil || only[keyOurs].Kind == "" {
		return nil
	}
	return only[keyOurs]
}

// sound reports whether the lists are within bounds.
func (e *extension) sound() bool {
	if len(e.IDs) > maxList || len(e.Know) > maxList || len(e.Addr) > maxAddr {
		return false
	}
	for _, id := range e.IDs {
		if len(id) > maxID {
			return false
		}
	}
	for _, addr := range e.Know {
		if len(addr) > maxAddr {
			return false
		}
	}
	return true
}
