package bridge

import (
	"context"
	"errors"
	"sync"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// progressEvery is the least time between two progress messages of one campaign.
const progressEvery = time.Second

// progress remembers which campaigns have news, and when each was told last. It holds those that moved within the last
// interval only. Safe for concurrent use.
type progress struct {
	every time.Duration // between two messages of one campaign
	mu    sync.Mutex
	marks map[job]*mark
	kick  chan struct{}
}

type mark struct {
	news bool
	told time.Time
}

func newProgress() *progress {
	return &progress{every: progressEvery, marks: map[job]*mark{}, kick: make(chan struct{}, 1)}
}

// mark notes that j has news.
func (p *progress) mark(j job) {
	p.mu.Lock()
	m := p.marks[j]
	if m == nil {
		m = &mark{}
		p.marks[j] = m
	}
	fresh := !m.news
	m.news = true
	p.mu.Unlock()
	if fresh {
		select {
		case p.kick <- struct{}{}:
		default: // a kick is waiting already
		}
	}
}

// take returns the campaigns to be told of at now, and how long until the next one is due (negative: none waits).
func (p *progress) take(now time.Time) (due []job, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	wait = -1
	for j, m := range p.marks {
		next := m.told.Add(p.every)
		switch {
		case next.After(now):
			if d := next.Sub(now); wait < 0 || d < wait {
				wait = d
			}
		case m.news:
			m.news, m.told = false, now
			due = append(due, j)
		default:
			delete(p.marks, j)
		}
	}
	if len(due) > 0 {
		wait = 0
	}
	return due, wait
}

// runProgress publishes the progress of campaigns that moved until ctx ends.
func (b *Bridge) runProgress(ctx context.Context) error {
	for ctx.Err() == nil {
		due, wait := b.progress.take(b.o.Now())
		for _, j := range due {
			b.publishProgress(ctx, j)
		}
		if len(due) > 0 {
			continue
		}
		if err := sleep(ctx, wait, b.progress.kick); err != nil {
			return nil // ctx has ended
		}
	}
	return nil
}

func (b *Bridge) publishProgress(ctx context.Context, j job) {
	var s state
	err := b.o.Store.View(ctx, func(r campaign.Reader) error {
		c, err := r.Campaign(j.tenant, j.campaign)
		if err != nil {
			return err
		}
		s, err = progressState(r, j.tenant, c, b.o.Now())
		return err
	})
	switch {
	case err == nil:
		b.publish(ctx, link.Message{Topic: s.topic, Payload: s.payload, Retain: true})
	case ctx.Err() != nil:
	case errors.Is(err, campaign.ErrNotFound): // deleted: whoever watches is told that there is no state any more
		b.publish(ctx, link.Message{Topic: topics.ProgressTopic(j.tenant, j.campaign), Retain: true})
	default:
		b.o.Logger.Error("progress could not be read", "tenant", j.tenant, "campaign", j.campaign, "err", err)
		b.progress.mark(j)
	}
}
