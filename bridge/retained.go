package bridge

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

// retainedPage is how many topics are read in one view of the store. They are yielded outside of it, because a yield
// may wait for a slow connection.
const retainedPage = 64

// state is a topic and what it holds.
type state struct {
	topic   string
	payload []byte
}

// Retained yields the states of p's tenant that filter matches: the manifest topics of devices with a live assignment
// and the progress topics of campaigns. Whether p may see each one is the link's question to topics.
func (d *Directory) Retained(ctx context.Context, p topics.Principal, filter string, yield func(topic string, payload []byte) bool) error {
	if err := d.retainedManifests(ctx, p.Tenant, filter, yield); err != nil {
		return fmt.Errorf("read retained manifests: %w", err)
	}
	if err := d.retainedProgress(ctx, p.Tenant, filter, yield); err != nil {
		return fmt.Errorf("read retained progress: %w", err)
	}
	return nil
}

// named returns level i of filter (from 0), and whether it names one thing; a wildcard or a missing level does not.
func named(filter string, i int) (string, bool) {
	levels := strings.SplitN(filter, "/", i+2)
	if len(levels) <= i || levels[i] == "+" || levels[i] == "#" {
		return "", false
	}
	return levels[i], true
}

// idLevel is the level of the device or the campaign in a topic: fleet/v1/{tenant}/{kind}/{id}/….
const idLevel = 4

func (d *Directory) retainedManifests(ctx context.Context, t ident.Tenant, filter string, yield func(string, []byte) bool) error {
	name, one := named(filter, idLevel)
	if !one {
		name = "any"
	}
	probe, err := ident.ParseDevice(name)
	if err != nil || !topics.Match(filter, topics.ManifestTopic(t, probe)) {
		return nil
	}
	if one {
		return d.pages(ctx, yield, func(r manifestReader) ([]state, bool, error) {
			payload, err := onTopic(r, t, probe)
			if err != nil || payload == nil {
				return nil, false, err
			}
			return []state{{topics.ManifestTopic(t, probe), payload}}, false, nil
		})
	}
	var after ident.Device
	return d.pages(ctx, yield, func(r manifestReader) ([]state, bool, error) {
		works, err := r.Works(t, after, retainedPage)
		if err != nil {
			return nil, false, err
		}
		var page []state
		for _, w := range works {
			payload, err := workOnTopic(r, t, w.Device, w.Work)
			if err != nil {
				return nil, false, err
			}
			if payload != nil {
				page = append(page, state{topics.ManifestTopic(t, w.Device), payload})
			}
			after = w.Device
		}
		return page, len(works) == retainedPage, nil
	})
}

func (d *Directory) retainedProgress(ctx context.Context, t ident.Tenant, filter string, yield func(string, []byte) bool) error {
	name, one := named(filter, idLevel)
	if !one {
		name = "any"
	}
	probe, err := ident.ParseCampaign(name)
	if err != nil || !topics.Match(filter, topics.ProgressTopic(t, probe)) {
		return nil
	}
	now := d.now()
	if one {
		return d.pages(ctx, yield, func(r manifestReader) ([]state, bool, error) {
			c, err := r.Campaign(t, probe)
			if errors.Is(err, campaign.ErrNotFound) {
				return nil, false, nil
			}
			if err != nil {
				return nil, false, err
			}
			s, err := progressState(r, t, c, now)
			return []state{s}, false, err
		})
	}
	var after ident.Campaign
	return d.pages(ctx, yield, func(r manifestReader) ([]state, bool, error) {
		cs, err := r.Campaigns(t, after, retainedPage)
		if err != nil {
			return nil, false, err
		}
		page := make([]state, len(cs))
		for i, c := range cs {
			if page[i], err = progressState(r, t, c, now); err != nil {
				return nil, false, err
			}
			after = c.ID
		}
		return page, len(cs) == retainedPage, nil
	})
}

// pages yields what read returns, page by page, until it says that there is no more.
func (d *Directory) pages(ctx context.Context, yield func(string, []byte) bool, read func(manifestReader) ([]state, bool, error)) error {
	for more := true; more; {
		var page []state
		err := d.manifests.view(ctx, d.store, func(r manifestReader) error {
			var err error
			page, more, err = read(r)
			return err
		})
		if err != nil {
			return err
		}
		for _, s := range page {
			if !yield(s.topic, s.payload) {
				return nil
			}
		}
	}
	return nil
}

// progressState is what the progress topic of c holds.
func progressState(r campaign.Reader, t ident.Tenant, c campaign.Campaign, now time.Time) (state, error) {
	n, err := r.Counts(t, c.ID)
	if err != nil {
		return state{}, fmt.Errorf("read counts of %s: %w", c.ID, err)
	}
	body, err := topics.Encode(progressOf(c, n, now), topics.JSON)
	if err != nil {
		return state{}, fmt.Errorf("encode progress of %s: %w", c.ID, err)
	}
	return state{topics.ProgressTopic(t, c.ID), body}, nil
}
