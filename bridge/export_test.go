package bridge

import "time"

// TellEvery shortens the time between two progress messages of one campaign. Call it before Run.
func (b *Bridge) TellEvery(d time.Duration) { b.progress.every = d }
