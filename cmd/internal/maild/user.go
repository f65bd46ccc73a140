package maild

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"airdispatch/cmd/internal/daemon"
	"airdispatch/crypto"
	"airdispatch/mailserver"
	"airdispatch/message"
	"airdispatch/store"
)

// inviteLife is how long an invitation is good for.
const inviteLife = 30 * 24 * time.Hour

// commands are invite, user and passer.
func commands(open daemon.Opener) []*cobra.Command {
	user := &cobra.Command{
		Use: "user", Short: "Look at accounts and change them; also while serving", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return daemon.Usage("which? list, show, quota, suspend, resume, remove, allow, deny")
		},
	}
	user.AddCommand(userList(open), userShow(open), userQuota(open),
		userSuspend(open, "suspend", "Let an account read and nothing else", true),
		userSuspend(open, "resume", "Undo suspend", false),
		userRemove(open),
		userListing(open, "allow", "Let an address join, whatever the policy", store.Allowed),
		userListing(open, "deny", "Refuse an address, whatever the policy", store.Refused),
		userListing(open, "unlist", "Undo allow or deny", store.Unlisted))
	return []*cobra.Command{inviteCommand(open), user, passerCommand(open)}
}

// inviteCommand prints a token. What is kept is its hash.
func inviteCommand(open daemon.Opener) *cobra.Command {
	var uses int
	cmd := &cobra.Command{
		Use: "invite", Short: "Print a token that lets somebody join", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if uses < 1 || uses > 1_000_000 {
				return daemon.Usage("--uses: 1 to 1000000, not %d", uses)
			}
			return open(cmd, func(ctx context.Context, s *daemon.Site) error {
				b, err := crypto.RandomBytes(s.Rand, 15)
				if err != nil {
					return err
				}
				token, err := crypto.EncodeBech32m("inv", crypto.ToSymbols(b))
				if err != nil {
					return err
				}
				until := time.Now().Add(inviteLife)
				if err := s.Mail.Invites.PutInvite(ctx, mailserver.InviteHash(token), uses, until); err != nil {
					return err
				}
				_ = write(cmd.ErrOrStderr(), "good for %d, until %s\n", uses, until.Format(time.DateOnly))
				return write(cmd.OutOrStdout(), "%s\n", token)
			})
		},
	}
	cmd.Flags().IntVar(&uses, "uses", 1, "how many may join with it")
	return cmd
}

// userList lists the accounts.
func userList(open daemon.Opener) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the accounts", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return open(cmd, func(ctx context.Context, s *daemon.Site) error {
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				for last := (message.Address{}); ; {
					page, err := s.Mail.Accounts.Accounts(ctx, last, 500)
					if err != nil {
						return err
					}
					for _, a := range page {
						state := ""
						if a.Suspended {
							state = "suspended"
						}
						if err := write(w, "%s\t%s\t%s\t%d\t%s\n", a.Address, a.Joined.Format(time.DateOnly), size(a.BytesUsed), a.MessagesUsed, state); err != nil {
							return err
						}
						last = a.Address
					}
					if len(page) == 0 {
						return w.Flush()
					}
				}
			})
		},
	}
}

// userShow shows one account.
func userShow(open daemon.Opener) *cobra.Command {
	return &cobra.Command{
		Use: "show ADDRESS", Short: "Show one account", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withAddress(open, cmd, args[0], func(ctx context.Context, s *daemon.Site, a message.Address) error {
				acc, err := account(ctx, s, a)
				if err != nil {
					return err
				}
				listing, err := s.Mail.Listings.Listing(ctx, a)
				if err != nil {
					return err
				}
				state := "active"
				if acc.Suspended {
					state = "suspended"
				}
				listed := map[store.Listing]string{store.Unlisted: "no", store.Allowed: "allowed", store.Refused: "denied"}[listing]
				return write(cmd.OutOrStdout(), "address   %s\nstate     %s\njoined    %s\nbytes     %s of %s\nmessages  %d of %s\nlisted    %s\ntrackers  %s\n",
					acc.Address, state, acc.Joined.Format(time.RFC3339), size(acc.BytesUsed), limitText(acc.BytesLimit, size),
					acc.MessagesUsed, limitText(acc.MessagesLimit, func(n int64) string { return strconv.FormatInt(n, 10) }), listed, strings.Join(acc.Trackers, " "))
			})
		},
	}
}

// account is one account, with words for where there is none.
func account(ctx context.Context, s *daemon.Site, a message.Address) (store.Account, error) {
	acc, err := s.Mail.Accounts.Account(ctx, a)
	if errors.Is(err, message.NotFound) {
		return acc, fmt.Errorf("%s has no account here: %w", a, message.NotFound)
	}
	return acc, err
}

// userQuota changes what an account may keep.
func userQuota(open daemon.Opener) *cobra.Command {
	var bytes string
	var messages int64
	cmd := &cobra.Command{
		Use: "quota ADDRESS", Short: "Change what an account may keep", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var change store.AccountChange
			if cmd.Flags().Changed("bytes") {
				n, err := parseSize(bytes)
				if err != nil {
					return daemon.Usage("--bytes: %w", err)
				}
				change.BytesLimit = &n
			}
			if cmd.Flags().Changed("messages") {
				if messages < 0 {
					return daemon.Usage("--messages: 0 (no limit) or more, not %d", messages)
				}
				change.MessagesLimit = &messages
			}
			if change.BytesLimit == nil && change.MessagesLimit == nil {
				return daemon.Usage("what to change? give --bytes SIZE or --messages N")
			}
			return changeAccount(open, cmd, args[0], change)
		},
	}
	cmd.Flags().StringVar(&bytes, "bytes", "", "a `SIZE` like 500MiB, 20GiB; 0 is no limit")
	cmd.Flags().Int64Var(&messages, "messages", 0, "a number; 0 is no limit")
	return cmd
}

// userSuspend suspends an account, or resumes it.
func userSuspend(open daemon.Opener, verb, short string, suspended bool) *cobra.Command {
	return &cobra.Command{
		Use: verb + " ADDRESS", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return changeAccount(open, cmd, args[0], store.AccountChange{Suspended: &suspended})
		},
	}
}

// changeAccount applies a change.
func changeAccount(open daemon.Opener, cmd *cobra.Command, address string, change store.AccountChange) error {
	return withAddress(open, cmd, address, func(ctx context.Context, s *daemon.Site, a message.Address) error {
		if _, err := account(ctx, s, a); err != nil {
			return err
		}
		return s.Mail.Accounts.ChangeAccount(ctx, a, change)
	})
}

// userRemove erases an account.
func userRemove(open daemon.Opener) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "remove ADDRESS", Short: "Erase an account and all that it keeps here", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !yes {
				return daemon.Usage("this erases everything that %s keeps here, for good: add --yes", args[0])
			}
			return withAddress(open, cmd, args[0], func(ctx context.Context, s *daemon.Site, a message.Address) error {
				if _, err := account(ctx, s, a); err != nil {
					return err
				}
				return s.Mail.Accounts.RemoveAccount(ctx, a)
			})
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "yes, erase it")
	return cmd
}

// userListing lists an address, or takes it off the list.
func userListing(open daemon.Opener, verb, short string, l store.Listing) *cobra.Command {
	return &cobra.Command{
		Use: verb + " ADDRESS", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withAddress(open, cmd, args[0], func(ctx context.Context, s *daemon.Site, a message.Address) error {
				return s.Mail.Listings.SetListing(ctx, a, l)
			})
		},
	}
}

// withAddress reads the address, before anything is opened, and opens the site.
func withAddress(open daemon.Opener, cmd *cobra.Command, text string, use func(context.Context, *daemon.Site, message.Address) error) error {
	a, err := message.ParseAddress(text)
	if err != nil {
		// The first line says where the typing error is; what follows is for peers.
		reason, _, _ := strings.Cut(err.Error(), "\n")
		return daemon.Usage("%q is not an address: %s", text, reason)
	}
	return open(cmd, func(ctx context.Context, s *daemon.Site) error { return use(ctx, s, a) })
}

// sizeUnits are powers of 1024, the largest first.
var sizeUnits = []struct {
	name string
	size int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

// size is a number of bytes in words.
func size(n int64) string {
	for _, u := range sizeUnits {
		if n >= u.size {
			return strconv.FormatFloat(float64(n)/float64(u.size), 'f', 1, 64) + " " + u.name
		}
	}
	return strconv.FormatInt(n, 10) + " B"
}

// limitText is a limit in words.
func limitText(n int64, text func(int64) string) string {
	if n == 0 {
		return "no limit"
	}
	return text(n)
}

// parseSize reads a number of bytes, with a unit or without.
func parseSize(s string) (int64, error) {
	number, unit := strings.TrimSpace(s), int64(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(number, u.name); ok {
			number, unit = strings.TrimSpace(rest), u.size
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/unit {
		return 0, fmt.Errorf("%q is not a size like 500MiB or 20GiB", s)
	}
	return n * unit, nil
}
