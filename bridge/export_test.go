package bridge

import "time"

// TellEvery shortens the time between two progress messages of one campaign. Call it before Run.
func (b *Bridge) TellEvery(d time.Duration) { b.progress.every = d }

// AwaitFetches returns when no fetch is being served. Nothing may be fetched meanwhile.
func (b *Bridge) AwaitFetches() { b.fetches.running.Wait() }
