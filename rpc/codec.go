package rpc

import (
	"bytes"
	"fmt"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"airdispatch/message"
)

// codecs are what handlers read. All refuse, before they parse, bytes that would
// become far more memory than they are (message.MaxFields).
func codecs() connect.HandlerOption {
	return connect.WithHandlerOptions(connect.WithCodec(protoCodec{}), connect.WithCodec(jsonCodec{"json"}), connect.WithCodec(jsonCodec{"json; charset=utf-8"}))
}

// messageOf is v as a message of a call; Connect's generated code passes nothing else.
func messageOf(v any) (proto.Message, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("rpc: %T is no message: %w", v, message.Internal)
	}
	return m, nil
}

// protoCodec is the binary form.
type protoCodec struct{}

// Name is what Connect calls the form.
func (protoCodec) Name() string { return "proto" }

// Marshal writes a message.
func (c protoCodec) Marshal(v any) ([]byte, error) { return c.MarshalAppend(nil, v) }

// MarshalAppend writes a message into a buffer that Connect has.
func (protoCodec) MarshalAppend(b []byte, v any) ([]byte, error) {
	m, err := messageOf(v)
	if err != nil {
		return nil, err
	}
	return proto.MarshalOptions{}.MarshalAppend(b, m)
}

// Unmarshal reads a message.
func (protoCodec) Unmarshal(b []byte, v any) error {
	m, err := messageOf(v)
	if err != nil {
		return err
	}
	if err := message.CheckFields(b, m); err != nil {
		return err
	}
	return proto.Unmarshal(b, m)
}

// jsonCodec is the form for people with curl. Its name has two spellings.
type jsonCodec struct{ name string }

// Name is what Connect calls the form.
func (c jsonCodec) Name() string { return c.name }

// Marshal writes a message.
func (c jsonCodec) Marshal(v any) ([]byte, error) { return c.MarshalAppend(nil, v) }

// MarshalAppend writes a message into a buffer that Connect has.
func (jsonCodec) MarshalAppend(b []byte, v any) ([]byte, error) {
	m, err := messageOf(v)
	if err != nil {
		return nil, err
	}
	return protojson.MarshalOptions{}.MarshalAppend(b, m)
}

// Unmarshal reads a message; fields that are not known here are passed over.
func (jsonCodec) Unmarshal(b []byte, v any) error {
	m, err := messageOf(v)
	if err != nil {
		return err
	}
	if len(b) == 0 {
		return fmt.Errorf("rpc: empty JSON: %w", message.Invalid)
	}
	// A value begins after one of these; base64 has none of them.
	if n := bytes.Count(b, []byte{','}) + bytes.Count(b, []byte{'{'}) + bytes.Count(b, []byte{'['}); n > message.MaxFields {
		return fmt.Errorf("rpc: %d values of JSON: %w", n, message.TooLarge)
	}
	return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(b, m)
}
