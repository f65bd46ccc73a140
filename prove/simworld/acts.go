package simworld

import (
	"context"
	"fmt"
	"time"

	"airdispatch/client"
)

// after is called when an act has ended.
func (w *World) after(p *Person) {
	if w.living {
		w.next(p)
	}
}

// next has a person do the next thing, after a while.
func (w *World) next(p *Person) {
	dice := w.dice(fmt.Sprintf("%s act %d", p.name, p.acts))
	after := time.Duration(dice.Int64N(int64(20 * time.Second)))
	switch n := dice.IntN(10); {
	case n < 5:
		to := w.people[dice.IntN(len(w.people))]
		w.does(p, "sends", after, func(ctx context.Context) error {
			_, err := p.client.Send(ctx, client.Draft{To: []string{to.keyring.Address().String()}, Subject: "a letter", Body: fmt.Sprintf("canary %s %d", p.name, p.acts)})
			return err
		})
	default:
		w.does(p, "reads", after, func(ctx context.Context) error {
			if _, err := p.client.Sync(ctx); err != nil {
				return err
			}
			return p.client.FetchNew(ctx)
		})
	}
}
