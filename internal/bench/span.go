package bench

// Span is an interval of work that ends by itself, such as a campaign, where [Bench.Measure] is for a load that could go on
// for ever.
type Span struct {
	from    system
	load    []*Proc
	servers []*Proc
}

// StartSpan begins to measure a load, which may be none, and the processes that serve it.
func StartSpan(load []*Proc, servers ...*Proc) (*Span, error) {
	from, err := look()
	return &Span{from, load, servers}, err
}

// End returns what was taken since the start. What was done is for the caller to fill in.
func (s *Span) End() (Sample, error) {
	to, err := look()
	if err != nil {
		return Sample{}, err
	}
	out := Sample{Seconds: to.at.Sub(s.from.at).Seconds(), Server: to.usage(s.servers...), Load: to.usage(s.load...), Others: others(s.from, to)}
	out.Server.CPU -= s.from.usage(s.servers...).CPU
	out.Load.CPU -= s.from.usage(s.load...).CPU
	return out, nil
}
