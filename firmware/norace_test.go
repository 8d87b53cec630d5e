//go:build !race

package firmware_test

// slowdown is how much longer than usual things may take.
const slowdown = 1
