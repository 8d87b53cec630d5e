package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"
)

// Role is a function of this binary that runs as a process of its own.
type Role func(ctx context.Context, w *Worker) error

// The commands of a bench to a role's process, one a line; each is answered with one line of JSON.
const (
	beginCommand = "begin"
	markCommand  = "mark"
)

// Worker is a role's end of the pipe to its bench.
type Worker struct {
	in  *bufio.Reader
	out *json.Encoder
}

// Work runs a role over the pipe that its process was started with.
func Work(ctx context.Context, in io.Reader, out io.Writer, role Role) error {
	return role(ctx, &Worker{in: bufio.NewReaderSize(in, 1<<16), out: json.NewEncoder(out)})
}

// Params reads what the bench gave the role.
func (w *Worker) Params(into any) error {
	line, err := w.in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read parameters: %w", err)
	}
	if err := json.Unmarshal(line, into); err != nil {
		return fmt.Errorf("read parameters: %w", err)
	}
	return nil
}

// Ready says that the role can begin; v is what the bench wants to know of it.
func (w *Worker) Ready(v any) error { return w.out.Encode(v) }

// Serve answers the bench until it hangs up: begin starts the work and returns, mark returns what is done so far. Either may
// be nil.
func (w *Worker) Serve(begin func(), mark func() any) error {
	for {
		line, err := w.in.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read command: %w", err)
		}
		var answer any = struct{}{}
		switch {
		case line == beginCommand+"\n" && begin != nil:
			begin()
		case line == markCommand+"\n" && mark != nil:
			answer = mark()
		}
		if err := w.out.Encode(answer); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
}

// Role starts a role with its parameters, and waits until it is ready, at most within. ready gets what it then says; nil for
// nothing.
func (b *Bench) Role(ctx context.Context, name string, params, ready any, within time.Duration) (*Proc, error) {
	p := &Proc{Name: name, ended: make(chan struct{}), replies: make(chan []byte, 1), cmd: exec.Command(b.exe, "bench", "role", name)}
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	if err := b.start(p); err != nil {
		return nil, err
	}
	p.in = in
	go p.hear(out)
	text, err := json.Marshal(params)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, p.ask(ctx, string(text), ready, within)
}

// hear takes the replies of a role, and its end.
func (p *Proc) hear(out io.Reader) {
	lines := bufio.NewReaderSize(out, 1<<16)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			p.wait()
			return
		}
		p.replies <- line
	}
}

// ask sends a line to a role and takes the answer.
func (p *Proc) ask(ctx context.Context, line string, into any, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	// A role that reads nothing does not hold the bench, and one that can't be written to has ended.
	go func() { _, _ = io.WriteString(p.in, line+"\n") }()
	select {
	case reply := <-p.replies:
		if into == nil {
			return nil
		}
		if err := json.Unmarshal(reply, into); err != nil {
			return fmt.Errorf("answer of %s: %w", p.Name, err)
		}
		return nil
	case <-p.ended:
		return p.failure()
	case <-ctx.Done():
		return fmt.Errorf("%s does not answer: %w", p.Name, ctx.Err())
	}
}

// answerWithin is how long a role under load may take to answer a mark.
const answerWithin = 30 * time.Second

// Begin starts a role's work.
func (p *Proc) Begin(ctx context.Context) error { return p.ask(ctx, beginCommand, nil, answerWithin) }

// Mark asks a role for what it has done so far.
func (p *Proc) Mark(ctx context.Context, into any) error {
	return p.ask(ctx, markCommand, into, answerWithin)
}
