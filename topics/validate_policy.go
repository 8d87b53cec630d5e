package topics

// rollout checks the members of a policy that say when a campaign may go on.
func (f *faults) rollout(p Policy) {
	f.span(p.Soak, "/policy/soak")
	f.check(isPercent(p.WaveFailurePercent), "/policy/wave_failure_percent", "above 0 to 100; absent: never")
	f.check(isPercent(p.WaveSilentPercent), "/policy/wave_silent_percent", "above 0 to 100; absent: never")
}
