// Package client speaks the public commands of a fleetbridge server over MQTT 5: what it does, any backend service can
// do with a stock client. A Client keeps one connection, makes it again when it is lost, and repeats a command that was
// under way with the same idempotency key, so that a command is carried out once however often it is sent. It knows the
// contract (package topics) and nothing of the server's inside.
package client
