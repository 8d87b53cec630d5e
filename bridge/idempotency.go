package bridge

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

const (
	// replyKept is how long a reply is kept for its idempotency key.
	replyKept = 24 * time.Hour
	// expireAtOnce is how many expired replies each keyed command takes away: more than it adds, so they don't pile up.
	expireAtOnce = 4
)

// storedBox keeps the reply of a command under its idempotency key. All that is random or slow is done when it is made,
// so that its methods may run again with their transaction.
type storedBox struct {
	c     *call
	name  string       // under which the reply is kept: a hash, because the key itself opens a sealed reply
	body  ident.Digest // of the command and its request
	aead  cipher.AEAD  // seals the reply; nil when it holds no secret
	nonce []byte
}

// newStoredBox returns a box that keeps nothing when the command has no key.
func (c *call) newStoredBox() (*storedBox, error) {
	b := &storedBox{c: c}
	if c.key == "" {
		return b, nil
	}
	b.name = hex.EncodeToString(derive("name", c.key))[:32]
	b.body = ident.SumDigest(append([]byte(c.spec.Noun+"/"+c.spec.Verb+"\x00"), c.body...))
	if !c.secret {
		return b, nil
	}
	block, err := aes.NewCipher(derive("seal", c.key))
	if err != nil {
		return nil, fmt.Errorf("seal reply: %w", err)
	}
	if b.aead, err = cipher.NewGCM(block); err != nil {
		return nil, fmt.Errorf("seal reply: %w", err)
	}
	b.nonce = make([]byte, b.aead.NonceSize())
	if _, err := io.ReadFull(c.b.o.Rand, b.nonce); err != nil {
		return nil, fmt.Errorf("seal reply: %w", err)
	}
	return b, nil
}

// derive makes 32 bytes for one use of an idempotency key.
func derive(use, key string) []byte {
	sum := sha256.Sum256([]byte("fleetbridge stored reply\x00" + use + "\x00" + key))
	return sum[:]
}

// open returns the stored reply, if there is one for the same request.
func (b *storedBox) open(tx campaign.Tx) (reply []byte, found bool, err error) {
	if b.name == "" {
		return nil, false, nil
	}
	if _, err := tx.ExpireReplies(b.c.by.Tenant, b.c.now, expireAtOnce); err != nil {
		return nil, false, fmt.Errorf("expire replies: %w", err)
	}
	r, err := tx.Reply(b.c.by.Tenant, b.c.by.Name, b.name, b.c.now)
	if errors.Is(err, campaign.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read stored reply: %w", err)
	}
	if r.Body != b.body {
		return nil, false, problem(topics.ProblemIdempotencyMismatch, "this idempotency key was used with another request: take a new one")
	}
	if b.aead == nil {
		return r.Reply, true, nil
	}
	n := b.aead.NonceSize()
	if len(r.Reply) < n {
		return nil, false, errors.New("open stored reply: too short")
	}
	if reply, err = b.aead.Open(nil, r.Reply[:n], r.Reply[n:], b.body[:]); err != nil {
		return nil, false, fmt.Errorf("open stored reply: %w", err)
	}
	return reply, true, nil
}

// put stores the reply of a command that has just succeeded.
func (b *storedBox) put(tx campaign.Tx, reply any) error {
	if b.name == "" {
		return nil
	}
	body, err := b.c.encode(reply)
	if err != nil {
		return err
	}
	if b.aead != nil {
		body = b.aead.Seal(append([]byte(nil), b.nonce...), b.nonce, body, b.body[:])
	}
	return tx.PutReply(b.c.by.Tenant, b.c.by.Name, b.name, campaign.StoredReply{
		Body: b.body, Status: 200, Reply: body, Type: b.c.format.ContentType(), Expires: b.c.now.Add(replyKept),
	})
}
