// Package simulator is a fleet of devices, for tests, demos and load. Its devices are outsiders: they reach the server
// only over MQTT, with what any device has (an address, a user name, a token, the author's public key), and they verify
// signatures and digests themselves. The package imports the contract (topics) and the manifest codecs (firmware), and
// nothing of the server.
//
// Each device has a flash that survives its power losses and reboots: the installed image, the manifest it works on, the
// chunks it has stored, the reports that nobody has acknowledged, and its counters. Everything else is lost when it
// loses power. What goes wrong with a device is drawn from the seed and the device's name alone, never from timing, so
// the same seed gives the same outcomes.
//
// A device is one goroutine. A Fleet may be used from several goroutines.
package simulator
