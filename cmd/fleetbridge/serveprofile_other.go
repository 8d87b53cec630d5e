//go:build !unix

package main

import (
	"context"
	"errors"
	"os"
)

var profileSignal os.Signal = os.Interrupt

func profiles(_ context.Context, _ string, failed func(error)) {
	failed(errors.New("profile: no signal to begin and end one on this system"))
}
