package message

import (
	"path"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	wirev1 "airdispatch/wire/airdispatch/v1"
)

// The common vocabulary of component types. Everything else belongs to
// applications and passes through untouched (docs/protocol.md §7.8).
const (
	// TypeSubject: one line of UTF-8 text.
	TypeSubject = "airdispatch/subject"
	// TypeMarkdown: the body as CommonMark, UTF-8.
	TypeMarkdown = "airdispatch/markdown"
	// TypeText: the body as plain text, UTF-8.
	TypeText = "airdispatch/text"
	// TypeReplyTo: a Citation of the version that this message answers.
	TypeReplyTo = "airdispatch/reply-to"
	// TypeForwardOf: a Citation of the version that is forwarded.
	TypeForwardOf = "airdispatch/forward-of"
	// TypeThread: a Citation of the first message of the conversation.
	TypeThread = "airdispatch/thread"
	// TypeProfileName, TypeProfileAbout: of the public message named profile.
	TypeProfileName  = "airdispatch/profile-name"
	TypeProfileAbout = "airdispatch/profile-about"
)

// ProfileName is the name of the public message that describes its author.
const ProfileName = "profile"

// Attachment names an encrypted blob and holds the key to it.
type Attachment struct {
	// Name as the sender gave it: the last element of a path, nothing more.
	Name      string
	MediaType string
	// Size in bytes of plaintext.
	Size int64
	// Blob is the id of the stored blob.
	Blob ID
	// Key is the blob's content key, 32 bytes.
	Key []byte
}

// Component is one typed part of a message.
type Component struct {
	Type string
	Data []byte
	// Blob is set, instead of Data, where the data is kept as a blob.
	Blob *Attachment
}

// Citation names one version of a message.
type Citation struct {
	Ref     Ref
	Version uint64
	ID      ID
}

// Content is what a message says.
type Content struct {
	Components  []Component
	Attachments []Attachment
}

// Component is the first component of a type.
func (c *Content) Component(typ string) (Component, bool) {
	for _, p := range c.Components {
		if p.Type == typ {
			return p, true
		}
	}
	return Component{}, false
}

// Text is the data of the first component of a type, as valid UTF-8.
func (c *Content) Text(typ string) string {
	p, _ := c.Component(typ)
	return strings.ToValidUTF8(string(p.Data), "\uFFFD")
}

// Subject is the subject, or empty.
func (c *Content) Subject() string { return c.Text(TypeSubject) }

// Body is the Markdown or plain body, or empty, and its type.
func (c *Content) Body() (body, typ string) {
	for _, t := range []string{TypeMarkdown, TypeText} {
		if _, ok := c.Component(t); ok {
			return c.Text(t), t
		}
	}
	return "", ""
}

// Set replaces the component of this type, or adds one; empty data removes it.
func (c *Content) Set(typ string, data []byte) {
	kept := make([]Component, 0, len(c.Components)+1)
	for _, p := range c.Components {
		if p.Type != typ {
			kept = append(kept, p)
		}
	}
	if len(data) != 0 {
		kept = append(kept, Component{Type: typ, Data: data})
	}
	c.Components = kept
}

// Cite adds a citation.
func (c *Content) Cite(typ string, cite Citation) error {
	b, err := proto.Marshal(&wirev1.Citation{From: cite.Ref.From.Bytes(), Mid: cite.Ref.MID.Bytes(), Version: cite.Version, Id: cite.ID[:]})
	if err != nil {
		return refuse(Internal, "cite: %v", err)
	}
	c.Set(typ, b)
	return nil
}

// Citation reads the citation of this type; false where there is none that
// can be read.
func (c *Content) Citation(typ string) (Citation, bool) {
	p, ok := c.Component(typ)
	if !ok {
		return Citation{}, false
	}
	var w wirev1.Citation
	if proto.Unmarshal(p.Data, &w) != nil {
		return Citation{}, false
	}
	from, err1 := AddressFromBytes(w.GetFrom())
	mid, err2 := MIDFromBytes(w.GetMid())
	id, err3 := IDFromBytes(w.GetId())
	if err1 != nil || err2 != nil || err3 != nil {
		return Citation{}, false
	}
	return Citation{Ref: Ref{From: from, MID: mid}, Version: w.GetVersion(), ID: id}, true
}

// Blobs are the ids of all blobs that the content uses.
func (c *Content) Blobs() []Attachment {
	var out []Attachment
	for _, p := range c.Components {
		if p.Blob != nil {
			out = append(out, *p.Blob)
		}
	}
	return append(out, c.Attachments...)
}

// MarshalContent serialises content for a payload. Errors: Invalid, TooLarge.
func MarshalContent(c *Content) ([]byte, error) {
	if len(c.Components) > MaxComponents || len(c.Attachments) > MaxComponents {
		return nil, refuse(TooLarge, "content: more than %d components or attachments", MaxComponents)
	}
	w := &wirev1.Content{}
	blobs := c.Blobs()
	if len(blobs) > MaxBlobs {
		return nil, refuse(TooLarge, "content: %d blobs, at most %d", len(blobs), MaxBlobs)
	}
	for _, a := range blobs {
		if _, err := parseAttachment(a.wire()); err != nil {
			return nil, err
		}
	}
	for _, p := range c.Components {
		if err := checkType(p.Type); err != nil {
			return nil, err
		}
		wp := &wirev1.Component{Type: p.Type, Data: p.Data}
		if p.Blob != nil {
			wp.Data, wp.Blob = nil, p.Blob.wire()
		}
		w.Components = append(w.Components, wp)
	}
	for _, a := range c.Attachments {
		w.Attachments = append(w.Attachments, a.wire())
	}
	b, err := proto.Marshal(w)
	if err != nil {
		return nil, refuse(Invalid, "content: %v", err)
	}
	return b, nil
}

// maxContentFields is how many fields a content may have at most, unknown ones
// counted: a megabyte of empty components would become a hundred of memory.
const maxContentFields = 4 * MaxComponents

// ParseContent reads a decrypted payload. Errors: Invalid, TooLarge.
func ParseContent(b []byte) (*Content, error) {
	if len(b) > MaxPayload {
		return nil, refuse(TooLarge, "content: %d bytes", len(b))
	}
	if fields(b, maxContentFields) > maxContentFields {
		return nil, refuse(TooLarge, "content: too many fields")
	}
	var w wirev1.Content
	if err := proto.Unmarshal(b, &w); err != nil {
		return nil, refuse(Invalid, "content: not the expected message")
	}
	if len(w.GetComponents()) > MaxComponents || len(w.GetAttachments()) > MaxComponents {
		return nil, refuse(TooLarge, "content: more than %d components or attachments", MaxComponents)
	}
	c := &Content{}
	for _, wp := range w.GetComponents() {
		if err := checkType(wp.GetType()); err != nil {
			return nil, err
		}
		p := Component{Type: wp.GetType(), Data: wp.GetData()}
		if wp.GetBlob() != nil {
			a, err := parseAttachment(wp.GetBlob())
			if err != nil {
				return nil, err
			}
			p.Data, p.Blob = nil, &a
		}
		c.Components = append(c.Components, p)
	}
	for _, wa := range w.GetAttachments() {
		a, err := parseAttachment(wa)
		if err != nil {
			return nil, err
		}
		c.Attachments = append(c.Attachments, a)
	}
	if n := len(c.Blobs()); n > MaxBlobs {
		return nil, refuse(TooLarge, "content: %d blobs, at most %d", n, MaxBlobs)
	}
	return c, nil
}

func (a Attachment) wire() *wirev1.Attachment {
	return &wirev1.Attachment{Name: a.Name, MediaType: a.MediaType, Size: uint64(a.Size), Hash: a.Blob[:], Key: a.Key}
}

func parseAttachment(w *wirev1.Attachment) (Attachment, error) {
	a := Attachment{Name: AttachmentName(w.GetName()), MediaType: mediaType(w.GetMediaType()), Size: int64(w.GetSize()), Key: w.GetKey()}
	if w.GetSize() > MaxBlob {
		return a, refuse(TooLarge, "attachment: %d bytes", w.GetSize())
	}
	if len(a.Key) != 32 {
		return a, refuse(Invalid, "attachment: key of %d bytes", len(a.Key))
	}
	var err error
	a.Blob, err = IDFromBytes(w.GetHash())
	return a, err
}

// checkType refuses component types that are not printable ASCII of 1 to 100
// characters with a slash inside.
func checkType(t string) error {
	if len(t) < 3 || len(t) > 100 || !strings.Contains(t[1:len(t)-1], "/") {
		return refuse(Invalid, "component type %q", clip(t))
	}
	for i := range len(t) {
		if t[i] <= ' ' || t[i] > '~' {
			return refuse(Invalid, "component type %q", clip(t))
		}
	}
	return nil
}

// mediaType is what a sender says about a file, if it could stand in a header:
// printable ASCII, at most 100 characters. Anything else is nothing.
func mediaType(s string) string {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' || len(s) > 100 {
			return ""
		}
	}
	return s
}

// maxAttachmentName leaves room for a suffix in the 255 bytes that file systems
// allow.
const maxAttachmentName = 200

// AttachmentName makes a sender's file name harmless: the last element of a
// path by the rules of every system, without control and direction characters,
// never hidden, never an option, never a device of Windows, never empty, at
// most 200 bytes. What it returns it returns unchanged.
func AttachmentName(s string) string {
	s = path.Base(strings.ReplaceAll(strings.ToValidUTF8(s, "_"), "\\", "/"))
	s = strings.Map(func(r rune) rune {
		switch {
		case r < ' ', r >= 0x7f && r < 0xa0, strings.ContainsRune(`/:*?"<>|`, r), !Visible(r):
			return '_'
		}
		return r
	}, s)
	s = strings.TrimLeft(s, ". ")
	if strings.HasPrefix(s, "-") || isDevice(s) {
		s = "_" + s
	}
	for len(s) > maxAttachmentName {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	if s = strings.TrimRight(s, ". "); s == "" {
		return "attachment"
	}
	return s
}

// isDevice reports whether Windows takes a file of this name for a device: con,
// nul, com1 and their like, whatever follows a dot and whatever the case.
func isDevice(s string) bool {
	stem, _, _ := strings.Cut(strings.ToLower(s), ".")
	stem = strings.TrimRight(stem, " ")
	switch stem {
	case "con", "prn", "aux", "nul", "conin$", "conout$", "clock$":
		return true
	}
	port, isPort := strings.CutPrefix(stem, "com")
	if !isPort {
		port, isPort = strings.CutPrefix(stem, "lpt")
	}
	// Superscript digits count as digits there.
	return isPort && utf8.RuneCountInString(port) == 1 && strings.Contains("0123456789¹²³", port)
}

// Visible reports whether r is a character that shows itself: not a control,
// not a zero-width character, not one that changes the direction of text.
func Visible(r rune) bool {
	switch {
	case r < ' ', r >= 0x7f && r < 0xa0:
		return false
	case r >= 0x200b && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2060 && r <= 0x206f:
		return false
	case r == 0x034f, r == 0x115f, r == 0x1160, r == 0x17b4, r == 0x17b5, r == 0x180e, r == 0x3164, r == 0xffa0:
		return false // fillers and joiners that take no room, or all of it
	case r == 0xfeff, r == 0x061c, r == 0x00ad, r >= 0xfff9 && r <= 0xfffb, r >= 0xe0000 && r <= 0xe0fff, r == 0x2028, r == 0x2029:
		return false
	}
	return true
}
