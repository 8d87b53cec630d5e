package bridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/internal/failpoint"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// call is one command under way.
type call struct {
	b      *Bridge
	by     topics.Principal
	tenant ident.Tenant // of by: what a command touches, unless an admin names another
	spec   topics.CommandSpec
	body   []byte
	req    any // body, decoded
	format topics.Format
	now    time.Time
	key    string // idempotency key; "" for none
	id     string // request_id; "" for none
	// maxReply is the largest reply body that the client takes, in bytes.
	maxReply int
	// secret says that the reply holds a secret, so that a stored copy is sealed.
	secret bool
}

// rawReply is a reply that is encoded already: the stored one of an earlier call with the same idempotency key.
type rawReply []byte

// handler runs one command and returns its reply's body. A *topics.Problem, or an error that problemOf knows, is the
// client's; anything else is ours.
type handler func(ctx context.Context, c *call) (any, error)

// handle adapts a function of a decoded request to a handler.
func handle[Req topics.Validator](run func(ctx context.Context, c *call, req Req) (any, error)) handler {
	return func(ctx context.Context, c *call) (any, error) {
		var req Req
		if _, err := topics.DecodeRequest(c.body, any(&req).(topics.Validator)); err != nil {
			return nil, err
		}
		c.req = req
		return run(ctx, c, req)
	}
}

// handlers is the registry: one entry for each of topics.Commands, which a test checks both ways.
var handlers = map[[2]string]handler{
	{"server", "info"}:       handle(serverInfo),
	{"server", "check"}:      handle(serverCheck),
	{"quota", "get"}:         handle(quotaGet),
	{"quota", "set"}:         handle(quotaSet),
	{"quota", "ledger"}:      handle(quotaLedger),
	{"audit", "list"}:        handle(auditList),
	{"audit", "verify"}:      handle(auditVerify),
	{"tenant", "add"}:        handle(tenantAdd),
	{"tenant", "list"}:       handle(tenantList),
	{"credential", "add"}:    handle(credentialAdd),
	{"credential", "list"}:   handle(credentialList),
	{"credential", "revoke"}: handle(credentialRevoke),
	{"trust", "add"}:         handle(trustAdd),
	{"trust", "list"}:        handle(trustList),
	{"trust", "get"}:         handle(trustGet),
	{"trust", "revoke"}:      handle(trustRevoke),
	{"payload", "begin"}:     handle(payloadBegin),
	{"payload", "append"}:    handle(payloadAppend),
	{"payload", "commit"}:    handle(payloadCommit),
	{"payload", "abort"}:     handle(payloadAbort),
	{"payload", "uploads"}:   handle(payloadUploads),
	{"payload", "delete"}:    handle(payloadDelete),
	{"payload", "list"}:      handle(payloadList),
	{"manifest", "create"}:   handle(manifestCreate),
	{"manifest", "delete"}:   handle(manifestDelete),
	{"manifest", "list"}:     handle(manifestList),
	{"manifest", "get"}:      handle(manifestGet),
	{"device", "add"}:        handle(deviceAdd),
	{"device", "list"}:       handle(deviceList),
	{"device", "get"}:        handle(deviceGet),
	{"device", "label"}:      handle(deviceLabel),
	{"selector", "test"}:     handle(selectorTest),
	{"device", "why"}:        handle(deviceWhy),
	{"device", "clear"}:      handle(deviceClear),
	{"campaign", "create"}:   handle(campaignCreate),
	{"campaign", "update"}:   handle(campaignUpdate),
	{"campaign", "list"}:     handle(campaignList),
	{"campaign", "get"}:      handle(campaignGet),
	{"campaign", "start"}:    handle(campaignStart),
	{"campaign", "plan"}:     handle(campaignPlan),
	{"campaign", "approve"}:  handle(campaignApprove),
	{"campaign", "reject"}:   handle(campaignReject),
	{"campaign", "stop"}:     handle(campaignStop),
	{"campaign", "retry"}:    handle(campaignRetry),
	{"campaign", "pause"}:    handle(campaignPause),
	{"campaign", "resume"}:   handle(campaignResume),
	{"campaign", "next"}:     handle(campaignNext),
	{"campaign", "devices"}:  handle(campaignDevices),
	{"campaign", "archive"}:  handle(campaignArchive),
	{"campaign", "delete"}:   handle(campaignDelete),
	{"campaign", "events"}:   handle(campaignEvents),
	{"campaign", "report"}:   handle(campaignReport),
}

// maxKey is the longest idempotency key, in bytes.
const maxKey = 128

// handleCommand runs a command and answers it. The answer is sent before Done, so a client that has its PUBACK has been
// answered; a client that has neither asks again under the same idempotency key. A scan is acknowledged first, and answered
// from a goroutine of its own.
func (b *Bridge) handleCommand(ctx context.Context, a topics.Address, in link.Inbound) {
	b.stats.commands.Add(1)
	if !scanning[[2]string{a.Noun, a.Verb}] {
		b.answer(ctx, a, in, nil)
		in.Ack.Done(link.Success)
		return
	}
	in.Payload, in.Props.CorrelationData = bytes.Clone(in.Payload), bytes.Clone(in.Props.CorrelationData) // the link's until Done
	if err := b.scans.take(a.Tenant); err != nil {
		b.answer(ctx, a, in, err)
		in.Ack.Done(link.Success)
		return
	}
	in.Ack.Done(link.Success)
	b.scans.start(ctx, a.Tenant, func(ctx context.Context) { b.answer(ctx, a, in, nil) })
}

// answer runs a command, unless refused says why not, and sends its reply.
func (b *Bridge) answer(ctx context.Context, a topics.Address, in link.Inbound, refused error) {
	c := &call{b: b, by: in.Principal, tenant: in.Principal.Tenant, body: in.Payload, now: b.o.Now(),
		format: replyFormat(in), id: topics.RequestID(in.Payload), key: in.Props.Get("idempotency-key")}
	to, err := replyTopic(in)
	c.maxReply = replyRoom(in, to)
	var reply any
	if err == nil {
		err = refused
	}
	if err == nil {
		reply, err = b.runCommand(ctx, c, a, in)
	}
	b.reply(ctx, c, in, to, reply, err)
}

// replyFormat is the request's; without a body it is what the content type names, else JSON.
func replyFormat(in link.Inbound) topics.Format {
	if len(in.Payload) > 0 {
		return topics.FormatOf(in.Payload)
	}
	if f, ok := topics.ParseContentType(in.Props.ContentType); ok {
		return f
	}
	return topics.JSON
}

// runCommand checks what all commands have in common, then runs the one that a names.
func (b *Bridge) runCommand(ctx context.Context, c *call, a topics.Address, in link.Inbound) (any, error) {
	spec, known := topics.LookupCommand(a.Noun, a.Verb)
	run := handlers[[2]string{a.Noun, a.Verb}]
	switch {
	case in.Retain:
		return nil, problem(topics.ProblemRetainedCommand, "a command must not be retained: publish it without the retain flag")
	case !known || run == nil:
		return nil, problem(topics.ProblemUnknownCommand, "there is no command %s/%s", a.Noun, a.Verb)
	case !spec.Allows(c.by.Role):
		return nil, problem(topics.ProblemNotAllowed, "role %s may not use %s/%s", c.by.Role, a.Noun, a.Verb)
	case len(c.key) > maxKey:
		return nil, problem(topics.ProblemInvalidRequest, "idempotency-key has %d bytes, at most %d", len(c.key), maxKey)
	}
	c.spec = spec
	if in.Props.Expiry > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(in.Props.Expiry)*time.Second)
		defer cancel()
	}
	reply, err := b.inTurn(ctx, a, func() (any, error) { return run(ctx, c) })
	if err != nil && ctx.Err() != nil && errors.Is(err, context.DeadlineExceeded) {
		return nil, problem(topics.ProblemDeadlinePassed, "the message expiry passed before the command was done")
	}
	return reply, err
}

// inTurn runs fn, at once or, if it scans, when its turn has come.
func (b *Bridge) inTurn(ctx context.Context, a topics.Address, fn func() (any, error)) (any, error) {
	if scanning[[2]string{a.Noun, a.Verb}] {
		return b.scans.run(ctx, fn)
	}
	return fn()
}

// replyTopic is where the answer goes: the Response Topic, which must be the client's own [MQTT-3.3.2-14], or else the
// client's reply topic. With an error it is the latter.
func replyTopic(in link.Inbound) (string, error) {
	p := in.Principal
	own := topics.ReplyTopic(p.Tenant, p.Name)
	asked := in.Props.ResponseTopic
	if asked == "" {
		return own, nil
	}
	a, err := topics.Parse(asked)
	if err != nil || a.Channel != topics.ChannelReply || a.Tenant != p.Tenant || a.Client != p.Name {
		return own, problem(topics.ProblemResponseTopicDenied, "the response topic must be %s or below it", own)
	}
	return asked, nil
}

// replyRoom is how large the body of a reply may be: the client's maximum packet less what goes around the body.
func replyRoom(in link.Inbound, to string) int {
	if in.MaxPacket == 0 {
		return topics.MaxBody
	}
	// Header, topic, property lengths, content type and status; the correlation data is the client's own.
	around := 128 + len(to) + len(in.Props.CorrelationData)
	return min(topics.MaxBody, max(0, int(in.MaxPacket)-around))
}

// reply sends the answer; a reply that does not fit becomes a problem that says so.
func (b *Bridge) reply(ctx context.Context, c *call, in link.Inbound, to string, body any, err error) {
	status, contentType := 200, c.format.ContentType()
	var payload []byte
	if err == nil {
		payload, err = c.encode(body)
	}
	if err == nil && len(payload) > c.maxReply {
		err = problem(topics.ProblemTooLarge, "the reply has %d bytes, the client takes %d: raise the maximum packet size or ask for less", len(payload), c.maxReply)
	}
	if err != nil {
		b.stats.problems.Add(1)
		p := problemOf(err)
		if p.Status >= 500 {
			b.o.Logger.Error("command ended in an internal problem", "tenant", c.tenant, "command", in.Topic, "err", err)
		}
		p.RequestID = c.id
		status, contentType = p.Status, c.format.ProblemContentType()
		if payload, err = c.encodeProblem(p); err != nil {
			b.o.Logger.Error("problem could not be encoded", "command", in.Topic, "err", err)
			return
		}
	}
	b.publish(context.WithoutCancel(ctx), link.Message{Topic: to, Payload: payload, QoS: 1, Props: link.Properties{
		ContentType: contentType, CorrelationData: in.Props.CorrelationData,
		User: []link.Property{{Key: "status", Value: fmt.Sprint(status)}},
	}})
}

// encode encodes a reply in the request's format, with its request_id.
func (c *call) encode(body any) ([]byte, error) {
	if raw, ok := body.(rawReply); ok {
		return raw, nil
	}
	b, err := topics.Encode(body, c.format)
	if err != nil {
		return nil, err
	}
	return topics.AddRequestID(b, c.id)
}

// encodeProblem encodes a problem; to a client that takes little, only what a program needs of it.
func (c *call) encodeProblem(p *topics.Problem) ([]byte, error) {
	body, err := topics.Encode(p, c.format)
	if err != nil || len(body) <= c.maxReply {
		return body, err
	}
	return topics.Encode(topics.Problem{Type: p.Type, Status: p.Status, RequestID: p.RequestID}, c.format)
}

// view reads for a command.
func (c *call) view(ctx context.Context, fn func(campaign.Reader) error) error {
	var refused error
	err := c.b.o.Store.View(ctx, func(r campaign.Reader) error {
		refused = fn(r)
		return refused
	})
	if err != nil && refused == nil {
		return fmt.Errorf("%w: %w", campaign.ErrUnavailable, err)
	}
	return err
}

// mutate runs a command's one transaction: the stored reply if there is one, else fn and the storing of its reply. What
// fn returns as a Result is announced after the commit.
func (c *call) mutate(ctx context.Context, fn func(campaign.Tx) (any, campaign.Result, error)) (any, error) {
	var (
		reply any
		res   campaign.Result
	)
	box, err := c.newStoredBox()
	if err != nil {
		return nil, err
	}
	err = c.b.commit(ctx, func(tx campaign.Tx) error {
		res = campaign.Result{}
		stored, found, err := box.open(tx)
		if err != nil || found {
			reply = rawReply(stored)
			return err
		}
		if reply, res, err = c.audited(tx, fn); err != nil {
			return err
		}
		failpoint.At("command: before commit", c.spec.Noun+"/"+c.spec.Verb)
		return box.put(tx, reply)
	})
	failpoint.At("command: after commit", c.outcome(reply))
	if err != nil {
		c.b.remind(ctx, c.tenant, res)
		return nil, err
	}
	c.b.announce(ctx, c.tenant, res)
	failpoint.At("command: before reply", c.outcome(reply))
	return reply, nil
}
