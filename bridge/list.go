package bridge

import (
	"context"
	"fmt"

	"fleetbridge/campaign"
	"fleetbridge/topics"
)

// defaultPage is the number of items of a list whose request names none.
const defaultPage = 100

// lister says how one kind of record is listed: K is its place in the order, T the record, V what a reply shows.
type lister[K, T, V any] struct {
	parse func(string) (K, error)
	place func(T) string
	read  func(r campaign.Reader, after K, limit int) ([]T, error)
	// view returns false for a record that is not to be shown.
	view func(r campaign.Reader, v T) (V, bool, error)
}

// run reads one page. A page that would not fit the client's maximum packet is made shorter.
func (l lister[K, T, V]) run(ctx context.Context, c *call, p topics.Page) (any, error) {
	var after K
	if p.Cursor != "" {
		var err error
		if after, err = l.parse(p.Cursor); err != nil {
			return nil, invalid("/cursor", "not a cursor of this list")
		}
	}
	limit := p.Limit
	if limit == 0 {
		limit = defaultPage
	}
	var (
		items  []V
		places []string
		end    string // the place of the last record read, when there are more
	)
	err := c.view(ctx, func(r campaign.Reader) error {
		records, err := l.read(r, after, limit+1)
		if err != nil {
			return err
		}
		end = ""
		if len(records) > limit {
			records = records[:limit]
			end = l.place(records[limit-1])
		}
		items, places = make([]V, 0, len(records)), make([]string, 0, len(records))
		for _, rec := range records {
			v, shown, err := l.view(r, rec)
			if err != nil {
				return err
			}
			if shown {
				items, places = append(items, v), append(places, l.place(rec))
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	return fit(c, items, places, end)
}

// fit encodes as many items as the client takes; places and end say where the next page starts.
func fit[V any](c *call, items []V, places []string, end string) (any, error) {
	for n := len(items); ; n /= 2 {
		list := topics.List[V]{Items: items[:n], Next: end}
		if n < len(items) {
			list.Next = places[n-1]
		}
		body, err := c.encode(list)
		if err != nil {
			return nil, err
		}
		if len(body) <= c.maxReply || n <= 1 {
			return rawReply(body), nil
		}
	}
}

// plainly adapts a view that shows every record and can't fail.
func plainly[T, V any](view func(T) V) func(campaign.Reader, T) (V, bool, error) {
	return func(_ campaign.Reader, v T) (V, bool, error) { return view(v), true, nil }
}
