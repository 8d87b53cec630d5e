package bench

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// What a child took is ours when it has ended, too: a server that was killed is not one of the others.
func TestChildrenThatEndedCount(t *testing.T) {
	before, err := UsageOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command("/bin/sh", "-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done")
	if err := child.Run(); err != nil {
		t.Fatal(err)
	}
	took := child.ProcessState.UserTime() + child.ProcessState.SystemTime()
	if took < 3*tick {
		t.Fatalf("the child took %v only", took)
	}
	after, err := UsageOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if got := after.CPU - before.CPU; got < took-2*tick-time.Millisecond {
		t.Errorf("%v more, of which the child took %v", got, took)
	}
}
