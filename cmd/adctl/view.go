package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"airdispatch/client"
	"airdispatch/message"
	"airdispatch/store"
)

// messageJSON is one message with --json. docs/adctl.md documents the fields;
// they stay.
type messageJSON struct {
	ID          string           `json:"id"`
	Version     uint64           `json:"version"`
	From        string           `json:"from"`
	To          []string         `json:"to"`
	Time        string           `json:"time"`
	Kind        string           `json:"kind"`
	Audience    string           `json:"audience"`
	Name        string           `json:"name,omitempty"`
	Subject     string           `json:"subject"`
	Body        *string          `json:"body,omitempty"`
	BodyType    string           `json:"body_type,omitempty"`
	Attachments []attachmentJSON `json:"attachments"`
	Components  []componentJSON  `json:"components,omitempty"`
	Contract    string           `json:"contract"`
	Expires     string           `json:"expires,omitempty"`
	State       client.State     `json:"state"`
	Folder      string           `json:"folder,omitempty"`
	Arrived     string           `json:"arrived,omitempty"`
	Shown       uint64           `json:"shown_version,omitempty"`
	PostQuantum *bool            `json:"post_quantum,omitempty"`
	ReplyTo     string           `json:"reply_to,omitempty"`
	Thread      string           `json:"thread,omitempty"`
	ForwardOf   string           `json:"forward_of,omitempty"`
	Diff        *string          `json:"diff,omitempty"`
	Copy        bool             `json:"copy,omitempty"`
	Blind       bool             `json:"blind,omitempty"`
	Trouble     string           `json:"trouble,omitempty"`
}

// attachmentJSON is one attachment.
type attachmentJSON struct {
	Name      string `json:"name"`
	MediaType string `json:"media_type"`
	Size      int64  `json:"size"`
}

// componentJSON is one component that belongs to an application.
type componentJSON struct {
	Type string `json:"type"`
	Size int    `json:"size"`
	Data []byte `json:"data"`
}

// rfc3339 is a time in JSON; nothing for none.
func rfc3339(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// headJSON is what a head says.
func headJSON(h *message.Head) messageJSON {
	m := messageJSON{
		ID: h.Ref().String(), Version: h.Version, From: h.From.String(), To: []string{}, Time: rfc3339(h.Time), Kind: "content", Audience: "private",
		Name: h.Name, Attachments: []attachmentJSON{}, Contract: h.Terms.String(), Expires: rfc3339(h.Expires),
	}
	for _, a := range h.To {
		m.To = append(m.To, a.String())
	}
	if h.Tombstone() {
		m.Kind = "tombstone"
	}
	if h.Audience == message.Public {
		m.Audience = "public"
	}
	return m
}

// folders are the words for folders.
var folders = map[store.Folder]string{store.Inbox: "inbox", store.Requests: "requests", store.Archive: "archive"}

// itemJSON is a message, with what it says where that is here.
func itemJSON(i *client.Item) messageJSON {
	m := headJSON(i.Head)
	m.Subject, m.State, m.Folder, m.Arrived, m.Shown, m.Trouble = i.Subject, i.State, folders[i.Folder], rfc3339(i.Arrived), i.Shown, i.Trouble
	for _, a := range i.Attachments() {
		m.Attachments = append(m.Attachments, attachmentJSON{a.Name, a.MediaType, a.Size})
	}
	if i.Content == nil {
		return m
	}
	if i.Head.Audience == message.Private {
		strong := !i.Classical
		m.PostQuantum = &strong
	}
	for typ, to := range map[string]*string{message.TypeReplyTo: &m.ReplyTo, message.TypeThread: &m.Thread, message.TypeForwardOf: &m.ForwardOf} {
		if cite, ok := i.Content.Citation(typ); ok {
			*to = cite.Ref.String()
		}
	}
	text, typ := i.Content.Body()
	m.Body, m.BodyType = &text, strings.TrimPrefix(typ, "airdispatch/")
	for _, c := range i.Content.Components {
		if !strings.HasPrefix(c.Type, "airdispatch/") {
			m.Components = append(m.Components, componentJSON{c.Type, len(c.Data), c.Data})
		}
	}
	return m
}

// shortID is enough of an id to type: the beginning of the mid, of which the
// first twelve digits are the time.
func shortID(ref message.Ref) string { return ref.MID.String()[:16] }

// title is what a list shows of a message: its subject, else its first line.
func title(i *client.Item) string {
	text := i.Subject
	if text == "" && i.Content != nil {
		body, _ := i.Content.Body()
		for line := range strings.Lines(body) {
			if text = strings.TrimSpace(line); text != "" {
				break
			}
		}
	}
	text = oneLine(text)
	if r := []rune(text); len(r) > 72 {
		text = string(r[:71]) + "…"
	}
	return text
}

// table writes rows: aligned on a terminal, with tabs between for programs.
type table struct {
	a    *app
	tabs *tabwriter.Writer
}

func (a *app) newTable() *table {
	t := &table{a: a}
	if isTerminal(a.out) {
		t.tabs = tabwriter.NewWriter(a.out, 0, 4, 2, ' ', 0)
	}
	return t
}

// row adds one row; cells hold no tabs and no line feeds.
func (t *table) row(cells ...string) error {
	for n := range cells {
		cells[n] = oneLine(cells[n])
	}
	line := strings.Join(cells, "\t") + "\n"
	if t.tabs != nil {
		_, err := fmt.Fprint(t.tabs, line)
		return err
	}
	return t.a.print(line)
}

// flush writes what is aligned.
func (t *table) flush() error {
	if t.tabs != nil {
		return t.tabs.Flush()
	}
	return nil
}

// local is a time for people on a terminal, and for programs elsewhere.
func (a *app) local(t time.Time) string {
	switch {
	case t.IsZero():
		return ""
	case isTerminal(a.out):
		return t.Local().Format("2006-01-02 15:04")
	}
	return rfc3339(t)
}

// idOf is an id for people on a terminal, and all of it elsewhere.
func (a *app) idOf(ref message.Ref) string {
	if isTerminal(a.out) {
		return shortID(ref)
	}
	return ref.String()
}

// list prints messages: one object on a line with --json, else a table of id,
// state, time, who and title.
func (a *app) list(items []*client.Item, who func(*client.Item) string) error {
	t := a.newTable()
	for _, i := range items {
		var err error
		if a.json {
			err = a.emit(itemJSON(i))
		} else {
			err = t.row(a.idOf(i.Ref), string(i.State), a.local(i.Head.Time), who(i), title(i))
		}
		if err != nil {
			return err
		}
	}
	return t.flush()
}

// names knows people by the names that the person gave them.
type names map[message.Address]string

// of is a contact's name, or the address: short on a terminal.
func (n names) of(a *app, addr message.Address) string {
	if name := n[addr]; name != "" {
		return name
	}
	if isTerminal(a.out) {
		return addr.Short() + "…"
	}
	return addr.String()
}

// all is several of them.
func (n names) all(a *app, addrs []message.Address) string {
	out := make([]string, 0, len(addrs))
	for _, addr := range addrs {
		out = append(out, n.of(a, addr))
	}
	return strings.Join(out, ",")
}
