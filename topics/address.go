package topics

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"fleetbridge/ident"
)

// Limits of topic names and topic filters, judged before anything else.
const (
	MaxTopic  = 256 // bytes
	MaxLevels = 12
	// MaxTail is how many levels a client may add below its reply topic; with it no topic of ours has more than 8
	// levels, which is what the large cloud brokers allow.
	MaxTail = 3
	// MaxWord is the longest noun or verb, in bytes.
	MaxWord = 32
)

// ErrTopic is wrapped where a topic name or filter is not one of the contract.
var ErrTopic = errors.New("not a topic of the contract")

// Version is the contract's, in the second level of every topic.
const Version = 1

const (
	root     = "fleet/v1/"
	errorLvl = "error"
)

// Address is a parsed topic name. Which members are set follows from Channel: see ChannelSpec.Pattern. Parse and String
// are inverse. Identifiers alias the parsed string.
type Address struct {
	Channel  Channel
	Tenant   ident.Tenant
	Device   ident.Device
	Campaign ident.Campaign
	Noun     string
	Verb     string
	Client   ident.Name
	// Tail is what a client added below its reply topic, without a leading slash.
	Tail  string
	Token ident.Token
	// Index counts a payload's chunks from 0; unused when IsError.
	Index uint32
	// IsError says that the chunk topic ends in `error` in place of an index.
	IsError bool
}

// Parse parses a topic name. It does not allocate for a good one. The error wraps ErrTopic.
func Parse(topic string) (Address, error) {
	if err := checkSize(topic); err != nil {
		return Address{}, err
	}
	rest, ok := strings.CutPrefix(topic, root)
	if !ok {
		return Address{}, fmt.Errorf("parse topic: want fleet/v1/…: %w", ErrTopic)
	}
	tenant, rest, _ := strings.Cut(rest, "/")
	kind, rest, _ := strings.Cut(rest, "/")
	t, err := ident.ParseTenant(tenant)
	if err != nil {
		return Address{}, fmt.Errorf("parse topic: %w: %w", ErrTopic, err)
	}
	a := Address{Tenant: t}
	switch kind {
	case "device":
		err = a.parseDevice(rest)
	case "command":
		err = a.parseCommand(rest)
	case "reply":
		err = a.parseReply(rest)
	case "campaign":
		err = a.parseCampaign(rest)
	default:
		err = errors.New("third level is none of device, command, reply, campaign")
	}
	if err != nil {
		return Address{}, fmt.Errorf("parse topic: %w: %w", ErrTopic, err)
	}
	return a, nil
}

var errLevels = errors.New("levels missing or too many")

func (a *Address) parseDevice(rest string) (err error) {
	device, rest, _ := strings.Cut(rest, "/")
	if a.Device, err = ident.ParseDevice(device); err != nil {
		return err
	}
	switch c := Channel(rest); c {
	case ChannelHello, ChannelManifest, ChannelReport, ChannelReceipt, ChannelFetch, ChannelPermit:
		a.Channel = c
		return nil
	}
	rest, ok := strings.CutPrefix(rest, "chunk/")
	if !ok {
		return errors.New("no such channel of a device")
	}
	a.Channel = ChannelChunk
	token, index, _ := strings.Cut(rest, "/")
	if a.Token, err = ident.ParseToken(token); err != nil {
		return err
	}
	if index == errorLvl {
		a.IsError = true
		return nil
	}
	a.Index, ok = parseIndex(index)
	if !ok {
		return errors.New("chunk index is not a plain decimal number of 32 bits")
	}
	return nil
}

// parseIndex accepts exactly what strconv prints, so that Parse and String stay inverse: no sign, no leading zero.
func parseIndex(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || s[0] == '+' || s[0] == '0' && len(s) > 1 {
		return 0, false
	}
	return uint32(n), true
}

func (a *Address) parseCommand(rest string) error {
	noun, verb, _ := strings.Cut(rest, "/")
	if !isWord(noun) || !isWord(verb) {
		return errors.New("noun and verb are lower-case words")
	}
	a.Channel, a.Noun, a.Verb = ChannelCommand, noun, verb
	return nil
}

// isWord says whether s is `[a-z][a-z0-9-]{0,31}`.
func isWord(s string) bool {
	if s == "" || len(s) > MaxWord || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

func (a *Address) parseReply(rest string) (err error) {
	client, tail, more := strings.Cut(rest, "/")
	if a.Client, err = ident.ParseName(client); err != nil {
		return err
	}
	a.Channel, a.Tail = ChannelReply, tail
	if !more {
		return nil
	}
	levels := 0
	for more {
		var level string
		level, tail, more = strings.Cut(tail, "/")
		if levels++; levels > MaxTail {
			return errLevels
		}
		// A level of the tail has the alphabet of identifiers, whatever it means to its client.
		if _, err := ident.ParseToken(level); err != nil {
			return err
		}
	}
	return nil
}

func (a *Address) parseCampaign(rest string) (err error) {
	campaign, leaf, _ := strings.Cut(rest, "/")
	if a.Campaign, err = ident.ParseCampaign(campaign); err != nil {
		return err
	}
	switch c := Channel(leaf); c {
	case ChannelProgress, ChannelEvent:
		a.Channel = c
		return nil
	}
	return errors.New("no such channel of a campaign")
}

// String returns the topic name; "" for an address without a channel.
func (a Address) String() string {
	switch a.Channel {
	case ChannelHello, ChannelManifest, ChannelReport, ChannelReceipt, ChannelFetch, ChannelPermit:
		return deviceTopic(a.Tenant, a.Device, string(a.Channel))
	case ChannelChunk:
		if a.IsError {
			return ChunkErrorTopic(a.Tenant, a.Device, a.Token)
		}
		return ChunkTopic(a.Tenant, a.Device, a.Token, a.Index)
	case ChannelCommand:
		return CommandTopic(a.Tenant, a.Noun, a.Verb)
	case ChannelReply:
		if a.Tail != "" {
			return ReplyTopic(a.Tenant, a.Client) + "/" + a.Tail
		}
		return ReplyTopic(a.Tenant, a.Client)
	case ChannelProgress:
		return ProgressTopic(a.Tenant, a.Campaign)
	case ChannelEvent:
		return EventTopic(a.Tenant, a.Campaign)
	}
	return ""
}

// checkSize holds the limits that keep a broker's topic tree cheap, for names and filters alike [MQTT-1.5.4-2].
func checkSize(topic string) error {
	switch {
	case topic == "":
		return fmt.Errorf("parse topic: empty: %w", ErrTopic)
	case len(topic) > MaxTopic:
		return fmt.Errorf("parse topic: %d bytes, at most %d: %w", len(topic), MaxTopic, ErrTopic)
	case strings.Count(topic, "/") >= MaxLevels:
		return fmt.Errorf("parse topic: more than %d levels: %w", MaxLevels, ErrTopic)
	case !utf8.ValidString(topic) || strings.IndexByte(topic, 0) >= 0:
		return fmt.Errorf("parse topic: not UTF-8 without NUL: %w", ErrTopic)
	}
	return nil
}
