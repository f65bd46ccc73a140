package daemon

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

const (
	// leastSpace is the free space below which doctor complains.
	leastSpace = 1 << 30
	// expiresSoon is how long before its end a certificate is worth a word.
	expiresSoon = 14 * 24 * time.Hour
	// askTime bounds each question to somebody else.
	askTime = 10 * time.Second
)

// Space is the room on a file system, in bytes: what may still be written, and all.
type Space struct{ Free, Total int64 }

// Finding is one line of doctor.
type Finding struct {
	// What was looked at.
	What string
	// Err is what is wrong; nil for nothing.
	Err error
	// Note is more about what is right, or what to do.
	Note string
}

// doctorCommand is doctor.
func (p *Program) doctorCommand(c *call) *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Look for what is wrong: settings, keys, database, certificate, reachability, clock, disk", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			bad := 0
			for _, f := range p.examine(cmd.Context(), c) {
				mark, note := "ok ", f.Note
				if f.Err != nil {
					bad++
					mark, note = "BAD", f.Err.Error()
				}
				if note != "" {
					note = ": " + note
				}
				if _, err := fmt.Fprintf(c.std.Out, "%s  %s%s\n", mark, f.What, note); err != nil {
					return err
				}
			}
			if bad > 0 {
				return fmt.Errorf("%d of the above need attention", bad)
			}
			return nil
		},
	}
}

// examine makes all findings. What stands in the way of further ones ends the
// list.
func (p *Program) examine(ctx context.Context, c *call) []Finding {
	config, err := p.settings(c)
	out := []Finding{{What: "settings", Err: err}}
	if err != nil {
		return out
	}
	dir, err := c.dataDir()
	if err != nil {
		return append(out, Finding{What: "data directory", Err: err})
	}
	_, err = p.keys(dir)
	out = append(out, Finding{What: "keys", Err: err})
	if err != nil {
		return out
	}
	s, err := p.open(ctx, c)
	if err != nil {
		return append(out, Finding{What: "database", Err: err})
	}
	out = append(out, Finding{What: "database", Err: s.Data.Check(ctx)})
	out = append(out, examineCertificate(dir, config.Shared()), examineSpace(dir), s.examineSelf(ctx))
	if p.Examine != nil {
		out = append(out, p.Examine(ctx, s)...)
	}
	return append(out, closing(s)...)
}

// closing closes the site, which should go well.
func closing(s *Site) []Finding {
	if err := s.Close(); err != nil {
		return []Finding{{What: "closing", Err: err}}
	}
	return nil
}

// examineCertificate looks at the certificate's files.
func examineCertificate(dir string, s *Settings) Finding {
	f := Finding{What: "certificate", Note: string(s.TLS)}
	cert, key := filepath.Join(dir, certFile), filepath.Join(dir, keyFile)
	switch s.TLS {
	case TLSOff, TLSACME:
		return f
	case TLSFiles:
		cert, key = inDir(dir, s.TLSCert), inDir(dir, s.TLSKey)
	}
	if _, f.Err = loadPair(cert, key); f.Err != nil {
		return f
	}
	leaf, err := leafOf(cert)
	if err != nil {
		f.Err = err
		return f
	}
	now := time.Now()
	switch {
	case now.After(leaf.NotAfter):
		f.Err = fmt.Errorf("%s expired on %s", cert, leaf.NotAfter.Format(time.DateOnly))
	case s.TLS == TLSFiles && leaf.VerifyHostname(s.URL.Host()) != nil:
		f.Err = fmt.Errorf("%s is not for %s", cert, s.URL.Host())
	case leaf.NotAfter.Sub(now) < expiresSoon:
		f.Err = fmt.Errorf("%s expires on %s", cert, leaf.NotAfter.Format(time.DateOnly))
	default:
		f.Note += ", until " + leaf.NotAfter.Format(time.DateOnly)
	}
	return f
}

// examineSpace looks at the free space of the disk.
func examineSpace(dir string) Finding {
	f := Finding{What: "disk"}
	space, err := SpaceOf(dir)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		f.Note = "free space cannot be told on this system"
	case err != nil:
		f.Err = err
	case space.Free < leastSpace:
		f.Err = fmt.Errorf("%d MiB free: less than 1 GiB is left for %s", space.Free>>20, dir)
	default:
		f.Note = fmt.Sprintf("%d MiB free", space.Free>>20)
	}
	return f
}

// examineSelf asks the server at its own URL who it is, as others would.
func (s *Site) examineSelf(ctx context.Context) Finding {
	return s.ExamineReference(ctx, "this server at "+string(s.Settings.URL), s.Reference())
}

// ExamineReference asks a server or tracker who it is, and compares clocks.
func (s *Site) ExamineReference(ctx context.Context, what string, ref message.Reference) Finding {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	f := Finding{What: what}
	client := s.Client()
	defer client.Close()
	asked := time.Now()
	peer, answer, err := client.Open(ctx, ref)
	if err != nil {
		f.Err = err
		if errors.Is(err, message.Unavailable) {
			f.Err = fmt.Errorf("not reachable: is it running, and does a firewall stand between? %w", err)
		}
		return f
	}
	if _, err := peer.Directory().Lookup(ctx, &wirev1.LookupRequest{Queries: []*wirev1.Query{{}}}); err != nil {
		f.Err = err
		return f
	}
	apart := answer.Time.Sub(asked).Round(time.Second)
	f.Note = "reachable"
	if apart.Abs() > message.AccessSlack {
		f.Err = fmt.Errorf("its clock and this one are %s apart; set both by NTP", apart.Abs())
	}
	return f
}
