package broker

// Serving says whether Serve has begun, which no caller outside of tests needs to know.
func Serving(b *Broker) bool {
	b.intake.mu.Lock()
	defer b.intake.mu.Unlock()
	return b.intake.handler != nil
}

// MochiClients is how many clients mochi has in its map.
func MochiClients(b *Broker) int { return b.server.Clients.Len() }

// MochiRetained is how many messages mochi retains; it must be none.
func MochiRetained(b *Broker) int { return b.server.Topics.Retained.Len() }
