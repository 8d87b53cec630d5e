package broker_test

import (
	"fmt"
	"net"
	"runtime"
	"testing"
)

// BenchmarkIdleConnection shows what a device costs that is connected, has subscribed to its manifest and its chunks, and is
// silent: heap and stacks, after a collection. The other end is in this process, and costs next to nothing: no goroutine, no
// buffer.
func BenchmarkIdleConnection(b *testing.B) {
	const n = 2000
	s := start(b)
	before := memory()
	for b.Loop() {
		conns := make([]net.Conn, n)
		for i := range conns {
			conns[i] = s.idle(b, fmt.Sprintf("d%d", i))
		}
		after := memory()
		b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/n, "heap-B/conn")
		b.ReportMetric(float64(int64(after.StackInuse)-int64(before.StackInuse))/n, "stack-B/conn")
		for _, c := range conns {
			if err := c.Close(); err != nil {
				b.Fatal(err)
			}
		}
		eventually(b, "all are gone", func() bool { return s.b.Stats().Sockets == 0 })
	}
	after := memory()
	b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/n, "left-B/conn")
}

// memory is what is in use once everything is collected; stacks shrink by half in each collection.
func memory() runtime.MemStats {
	for range 5 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m
}

// idle connects a device that subscribes and then says nothing.
func (s *bench) idle(t testing.TB, name string) net.Conn {
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	c := &raw{t: t, conn: nc, version: v5}
	own := "fleet/v1/acme/device/" + name
	b := c.connectBytes(login{user: "acme/" + name, password: "secret", id: name})
	b = append(b, c.subscribeBytes(own+"/manifest", 0)...)
	b = append(b, c.subscribeBytes(own+"/chunk/#", 0)...)
	c.write(b)
	for suback, got := 0, make([]byte, 256); suback < 2; {
		k, err := nc.Read(got)
		if err != nil {
			t.Fatal(err)
		}
		for p := got[:k]; len(p) > 1; p = p[min(len(p), 2+int(p[1])):] {
			if p[0] == tSuback<<4 {
				suback++
			}
		}
	}
	return nc
}
