package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"github.com/google/uuid"

	"fleetbridge/topics"
)

// Do sends a command and decodes its reply into reply (a pointer; nil drops it). A *topics.Problem is the server's own
// refusal; ErrTimeout and ErrUnreachable leave open whether a mutation was carried out. While the connection is lost it
// waits for the next one and sends the command again, under the same idempotency key.
func (c *Client) Do(ctx context.Context, noun, verb string, request, reply any) error {
	spec, known := topics.LookupCommand(noun, verb)
	if !known {
		return fmt.Errorf("%s/%s: no such command", noun, verb)
	}
	body, err := topics.Encode(request, topics.CBOR)
	if err != nil {
		return fmt.Errorf("encode %s/%s: %w", noun, verb, err)
	}
	correlation, err := uuid.NewRandom()
	if err != nil {
		return fmt.Errorf("draw correlation: %w", err)
	}
	wait := make(chan *paho.Publish, 1)
	c.mu.Lock()
	c.pending[string(correlation[:])] = wait
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.pending, string(correlation[:]))
		c.mu.Unlock()
	}()
	m := &paho.Publish{
		Topic: topics.CommandTopic(c.tenant, noun, verb), QoS: 1, Payload: body,
		Properties: &paho.PublishProperties{
			ContentType: "application/cbor", ResponseTopic: c.reply, CorrelationData: correlation[:],
		},
	}
	if spec.Keyed() {
		m.Properties.User.Add("idempotency-key", correlation.String())
	}
	ctx, cancel := context.WithTimeout(ctx, c.context.Timeout)
	defer cancel()
	answer, err := c.exchange(ctx, m, wait)
	if err != nil {
		return fmt.Errorf("%s/%s: %w", noun, verb, err)
	}
	return decode(answer, reply)
}

// exchange publishes m until its reply comes, once per session.
func (c *Client) exchange(ctx context.Context, m *paho.Publish, wait <-chan *paho.Publish) (*paho.Publish, error) {
	for {
		s, err := c.live(ctx)
		if err != nil {
			return nil, err
		}
		expiry := expirySeconds(ctx)
		m.Properties.MessageExpiry = &expiry
		live, cancel := whileLive(ctx, s)
		ack, err := s.Publish(live, m)
		cancel()
		if err != nil && ack != nil && ack.ReasonCode >= 0x80 {
			return nil, refusal(ack.ReasonCode)
		}
		// Any other error is the end of the session or of ctx, which the wait below sees; a reply may be there already.
		select {
		case answer := <-wait:
			return answer, nil
		case <-ctx.Done():
			return nil, ended(ctx)
		case <-s.Done():
			if err := c.settle(ctx, s); err != nil {
				return nil, err
			}
		}
	}
}

// whileLive is ctx, ended with the session too: paho forgets who waits for an answer when a connection without session
// expiry is lost.
func whileLive(ctx context.Context, s *paho.Client) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-s.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// settle waits until keep has seen that s ended, so that live does not hand it out again.
func (c *Client) settle(ctx context.Context, s *paho.Client) error {
	for {
		c.mu.Lock()
		same, changed := c.session == s, c.changed
		c.mu.Unlock()
		if !same {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ended(ctx)
		}
	}
}

func ended(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ErrTimeout
	}
	return ctx.Err()
}

// refusal is the error for a PUBACK that refuses a command [MQTT 5, 3.4.2.1].
func refusal(code byte) error {
	const notAuthorized = 0x87
	if code == notAuthorized {
		return fmt.Errorf("%w for this command", ErrDenied)
	}
	return fmt.Errorf("the server refused the message (reason 0x%02x)", code)
}

func expirySeconds(ctx context.Context) uint32 {
	deadline, ok := ctx.Deadline()
	if !ok {
		return uint32(DefaultTimeout / time.Second)
	}
	return uint32(max(1, time.Until(deadline)/time.Second))
}

// decode reads a reply: a problem when the status says so.
func decode(m *paho.Publish, reply any) error {
	status, err := strconv.Atoi(m.Properties.User.Get("status"))
	if err != nil {
		return fmt.Errorf("reply without a status: %w", err)
	}
	if status >= 400 {
		p := new(topics.Problem)
		if _, err := topics.Decode(m.Payload, p); err != nil {
			return fmt.Errorf("decode problem (status %d): %w", status, err)
		}
		return p
	}
	if reply == nil {
		return nil
	}
	if _, err := topics.Decode(m.Payload, reply); err != nil {
		return fmt.Errorf("decode reply: %w", err)
	}
	return nil
}

// List asks for a list page by page and yields its items. request makes the request for one page. The last pair carries
// the error, if there was one.
func List[T any](ctx context.Context, c *Client, noun, verb string, request func(topics.Page) any) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		page := topics.Page{Limit: topics.MaxPage}
		for {
			var got topics.List[T]
			if err := c.Do(ctx, noun, verb, request(page), &got); err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range got.Items {
				if !yield(item, nil) {
					return
				}
			}
			if got.Next == "" {
				return
			}
			page.Cursor = got.Next
		}
	}
}
