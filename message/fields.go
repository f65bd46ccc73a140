package message

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// MaxFields bounds the length-delimited fields of one call or statement, at all
// depths together. An empty message costs two bytes to send and a hundred to
// hold, so that four megabytes of them would become three hundred of memory. The
// densest honest call, one of nothing but short chains, has about 110,000.
const MaxFields = 128 << 10

// CheckFields refuses bytes that would become far more memory than they are. It
// is called before they are parsed as m and costs none itself; bytes that are no
// m at all are left to the parser. Errors: TooLarge.
func CheckFields(b []byte, m proto.Message) error {
	if len(b)/2 <= MaxFields {
		return nil // a field has at least a tag and a length
	}
	left := MaxFields
	if countFields(b, m.ProtoReflect().Descriptor(), &left); left < 0 {
		return refuse(TooLarge, "%d bytes of more than %d fields", len(b), MaxFields)
	}
	return nil
}

// countFields takes the fields of b off left and stops when that is below zero,
// at bytes that are no fields, and where the schema, which nests nothing in
// itself, goes no deeper.
func countFields(b []byte, d protoreflect.MessageDescriptor, left *int) {
	for len(b) > 0 && *left >= 0 {
		number, kind, size := protowire.ConsumeTag(b)
		if size < 0 {
			return
		}
		b = b[size:]
		if size = protowire.ConsumeFieldValue(number, kind, b); size < 0 {
			return
		}
		if kind == protowire.BytesType {
			*left--
			if f := d.Fields().ByNumber(number); f != nil && f.Message() != nil {
				value, _ := protowire.ConsumeBytes(b)
				countFields(value, f.Message(), left)
			}
		}
		b = b[size:]
	}
}
