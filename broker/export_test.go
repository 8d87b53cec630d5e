package broker

// Serving says whether Serve has begun, which no caller outside of tests needs to know.
func Serving(b *Broker) bool {
	b.intake.mu.Lock()
	defer b.intake.mu.Unlock()
	return b.intake.handler != nil
}
