package main

import (
	"strings"

	"fleetbridge/topics"
)

// ourCommands names, for the commands that hints speak of, the command lines that send them.
var ourCommands = []string{
	"campaign/get", "campaign show",
	"campaign/list", "campaign ls",
	"campaign/plan", "campaign plan",
	"credential/list", "credential ls",
	"device/add", "device add",
	"device/list", "device ls",
	"manifest/create", "manifest push",
	"payload/begin, append and commit", "payload push",
	"payload/begin", "payload push",
	"payload/uploads", "payload uploads",
	"tenant/list", "tenant ls",
	"trust/get", "trust show",
	"trust/list", "trust ls",
}

// commandHint is what mends a problem, for somebody at a command line. Where the members that are wrong are all there
// is to say, the error has said it.
func commandHint(p topics.ProblemSpec) string {
	if p.Type == topics.ProblemInvalidRequest {
		return ""
	}
	var pairs []string
	for i, s := range ourCommands {
		if i%2 == 1 {
			s = "`fleetbridge " + s + "`"
		}
		pairs = append(pairs, s)
	}
	return strings.NewReplacer(pairs...).Replace(p.Fix)
}
