// Command fleetbridge updates fleets of devices over MQTT: server, client and simulator in one binary. This package is
// the command line and the wiring; it holds no rule of the domain. The client half speaks only the public commands over
// MQTT, so that whatever it does, any backend service can do.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // windows name IANA zones; not every machine has them
)

// env is the outside world as a command sees it, so that tests need no globals.
type env struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	getenv func(string) string
	// interrupts delivers the signals that ask to stop: the first one gracefully, the second at once.
	interrupts <-chan os.Signal
}

func main() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	e := env{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv, interrupts: signals}
	os.Exit(run(context.Background(), e, os.Args[1:]))
}
