package message

import (
	"io"

	"airdispatch/crypto"
)

// NewAttachment makes an attachment with a fresh key; Size and Blob are filled
// in when it has been sealed.
func NewAttachment(name, mediaType string, rand io.Reader) (Attachment, error) {
	key, err := crypto.NewContentKey(rand)
	if err != nil {
		return Attachment{}, refuse(Internal, "attachment: %v", err)
	}
	return Attachment{Name: AttachmentName(name), MediaType: mediaType, Key: key.Bytes()}, nil
}

// PayloadKey is the key that the attachment's blob is sealed with: derived
// from Key in the context Hash("attachment"), so that the key of an attachment
// opens nothing else. One key, one blob (docs/protocol.md §7.7).
func (a Attachment) PayloadKey() (crypto.PayloadKey, error) {
	key, err := crypto.ContentKeyFromBytes(a.Key)
	if err != nil {
		return crypto.PayloadKey{}, refuse(Invalid, "attachment: %v", err)
	}
	pk, _ := key.Derive(crypto.Hash("attachment"))
	return pk, nil
}
