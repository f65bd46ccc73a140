package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"airdispatch/message"
	"airdispatch/store/home"
)

// recent is how many messages a shell is offered.
const recent = 50

// offer is what a shell may be offered for a word that is being typed.
type offer func(ctx context.Context, h *home.Home, me message.Address) ([]cobra.Completion, error)

// complete says for every command what its words can be. Only the home is
// asked: a shell waits for the answer, nobody is there to be asked for a
// passphrase, and no server need learn what somebody begins to type.
func (a *app) complete(root *cobra.Command) {
	first := map[string]offer{
		"read": messages(false), "save": messages(false), "reply": messages(false), "forward": messages(false),
		"status": messages(true), "edit": messages(true), "recall": messages(true),
		"lookup": people, "posts": people, "follow": people, "unfollow": people, "allow": people, "block": people, "profile show": people,
		"contacts remove": contacts, "contacts accept": people, "drafts send": drafts, "drafts delete": drafts,
	}
	every := map[string]offer{"archive": messages(false), "delete": messages(false), "mark": messages(false)}
	a.eachCommand(root, func(name string, cmd *cobra.Command) {
		switch {
		case first[name] != nil:
			cmd.ValidArgsFunction = a.completion(first[name], func(n int) bool { return n == 0 })
		case name == "mark":
			cmd.ValidArgsFunction = a.completion(every[name], func(n int) bool { return n > 0 })
			cmd.ValidArgsFunction = orWords(cmd.ValidArgsFunction, "read", "unread")
		case every[name] != nil:
			cmd.ValidArgsFunction = a.completion(every[name], func(int) bool { return true })
		}
		for flag, o := range map[string]offer{"to": people, "bcc": people} {
			if cmd.Flags().Lookup(flag) != nil {
				_ = cmd.RegisterFlagCompletionFunc(flag, a.completion(o, always)) // the flag is there
			}
		}
		if cmd.Flags().Lookup("contract") != nil {
			_ = cmd.RegisterFlagCompletionFunc("contract", cobra.FixedCompletions([]cobra.Completion{"revisable", "final", "ephemeral"}, cobra.ShellCompDirectiveNoFileComp)) // as above
		}
	})
	_ = root.RegisterFlagCompletionFunc("as", a.ownAddresses) // as above
}

// completionShells makes completion without a shell, and for one that is not
// known, a usage error, as it is for every command.
func (a *app) completionShells(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" {
			cmd.Args = cobra.NoArgs
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return a.which(cmd) }
		}
	}
}

// always offers for every word.
func always(int) bool { return true }

// eachCommand calls each for every command, with its name as it is typed.
func (a *app) eachCommand(cmd *cobra.Command, each func(name string, cmd *cobra.Command)) {
	for _, sub := range cmd.Commands() {
		each(strings.TrimPrefix(sub.CommandPath(), "adctl "), sub)
		a.eachCommand(sub, each)
	}
}

// completion asks the home where wanted says so of the word's place; elsewhere a
// word is the name of a file.
func (a *app) completion(o offer, wanted func(place int) bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if !wanted(len(args)) {
			return nil, cobra.ShellCompDirectiveDefault
		}
		directive := cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
		h, me := a.memory(cmd)
		if h == nil {
			return nil, directive
		}
		defer h.Close() // it was only read
		all, err := o(cmd.Context(), h, me)
		if err != nil {
			return nil, directive
		}
		return slices.DeleteFunc(all, func(c cobra.Completion) bool { return !strings.HasPrefix(c, begun) }), directive
	}
}

// orWords offers words in the first place.
func orWords(f cobra.CompletionFunc, words ...string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return words, cobra.ShellCompDirectiveNoFileComp
		}
		return f(cmd, args, begun)
	}
}

// memory opens the home where there is one, and tells who one is in it; nil
// where that cannot be told.
func (a *app) memory(cmd *cobra.Command) (*home.Home, message.Address) {
	if err := a.fromEnvironment(cmd.Flags()); err != nil {
		return nil, message.Address{}
	}
	if _, err := os.Stat(filepath.Join(a.home, home.FileName)); err != nil {
		return nil, message.Address{}
	}
	me, err := a.identity()
	if err != nil {
		return nil, me
	}
	h, err := home.Open(cmd.Context(), a.home)
	if err != nil {
		return nil, me
	}
	return h, me
}

// ownAddresses are the identities of the home.
func (a *app) ownAddresses(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if err := a.fromEnvironment(cmd.Flags()); err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	all, _ := a.identities() // what cannot be listed is not offered
	var out []cobra.Completion
	for _, addr := range all {
		out = append(out, addr.String())
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// messages offers the newest messages, short and whole: with own only those that
// one wrote.
func messages(own bool) offer {
	return func(ctx context.Context, h *home.Home, me message.Address) ([]cobra.Completion, error) {
		q := home.Query{Limit: recent}
		if own {
			q.Authors = []message.Address{me}
		}
		all, err := h.List(ctx, me, q)
		if err != nil {
			return nil, err
		}
		slices.Reverse(all)
		var short, whole []cobra.Completion
		for _, m := range all {
			about := oneLine(m.Subject)
			short = append(short, cobra.CompletionWithDesc(shortID(m.Ref), about))
			whole = append(whole, cobra.CompletionWithDesc(m.Ref.String(), about))
		}
		return append(short, whole...), nil
	}
}

// people offers contacts and names by what they are called, and one's own
// addresses.
func people(ctx context.Context, h *home.Home, me message.Address) ([]cobra.Completion, error) {
	out, err := contacts(ctx, h, me)
	if err != nil {
		return nil, err
	}
	pins, err := h.Pins(ctx)
	for _, p := range pins {
		out = append(out, cobra.CompletionWithDesc(oneLine(p.Name), p.Address.Short()+"…"))
	}
	if !me.IsZero() {
		out = append(out, cobra.CompletionWithDesc(me.String(), "yourself"))
	}
	return out, err
}

// contacts offers contacts by name.
func contacts(ctx context.Context, h *home.Home, _ message.Address) ([]cobra.Completion, error) {
	all, err := h.Contacts(ctx)
	var out []cobra.Completion
	for _, c := range all {
		out = append(out, cobra.CompletionWithDesc(c.Name, c.Address.Short()+"…"))
	}
	return out, err
}

// drafts offers drafts by number.
func drafts(ctx context.Context, h *home.Home, me message.Address) ([]cobra.Completion, error) {
	all, err := h.Drafts(ctx, me)
	var out []cobra.Completion
	for _, d := range all {
		out = append(out, cobra.CompletionWithDesc(strconv.FormatInt(d.ID, 10), oneLine(d.Trouble)))
	}
	return out, err
}
