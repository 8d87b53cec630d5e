package main

import (
	"errors"
	"strconv"
)

// percentFlag is a flag of 0 to 100 that knows whether it was given.
type percentFlag struct{ value *float64 }

var errPercent = errors.New("want 0 to 100")

// Set parses text.
func (f *percentFlag) Set(text string) error {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(v >= 0 && v <= 100) { // written so that NaN fails
		return errPercent
	}
	f.value = &v
	return nil
}

// String is what was given, "" for nothing.
func (f *percentFlag) String() string {
	if f.value == nil {
		return ""
	}
	return strconv.FormatFloat(*f.value, 'g', -1, 64)
}

// Type names the kind of value in help.
func (f *percentFlag) Type() string { return "percent" }
