package topics

import (
	"strconv"

	"fleetbridge/ident"
)

// The topics of the contract, built from parsed identifiers; each is what Parse takes apart.

func deviceTopic(t ident.Tenant, d ident.Device, leaf string) string {
	return root + t.String() + "/device/" + d.String() + "/" + leaf
}

// HelloTopic is where a device says hello.
func HelloTopic(t ident.Tenant, d ident.Device) string { return deviceTopic(t, d, "hello") }

// ManifestTopic is where a device finds its manifest.
func ManifestTopic(t ident.Tenant, d ident.Device) string { return deviceTopic(t, d, "manifest") }

// ReportTopic is where a device reports.
func ReportTopic(t ident.Tenant, d ident.Device) string { return deviceTopic(t, d, "report") }

// ReceiptTopic is where a device gets receipts.
func ReceiptTopic(t ident.Tenant, d ident.Device) string { return deviceTopic(t, d, "receipt") }

// FetchTopic is where a device asks for chunks.
func FetchTopic(t ident.Tenant, d ident.Device) string { return deviceTopic(t, d, "fetch") }

// PermitTopic is where a device gets a grant to install.
func PermitTopic(t ident.Tenant, d ident.Device) string { return deviceTopic(t, d, "permit") }

// ChunkPrefix is what all chunk topics of one fetch start with; the index follows. For loops over many chunks.
func ChunkPrefix(t ident.Tenant, d ident.Device, k ident.Token) string {
	return root + t.String() + "/device/" + d.String() + "/chunk/" + k.String() + "/"
}

// ChunkTopic carries chunk index of the fetch that token names.
func ChunkTopic(t ident.Tenant, d ident.Device, k ident.Token, index uint32) string {
	return ChunkPrefix(t, d, k) + strconv.FormatUint(uint64(index), 10)
}

// ChunkErrorTopic carries the problem of a fetch that can't be served.
func ChunkErrorTopic(t ident.Tenant, d ident.Device, k ident.Token) string {
	return ChunkPrefix(t, d, k) + errorLvl
}

// ChunkFilter matches all chunks and errors of a device, whatever the token.
func ChunkFilter(t ident.Tenant, d ident.Device) string { return deviceTopic(t, d, "chunk/#") }

// CommandTopic is where a backend asks for something.
func CommandTopic(t ident.Tenant, noun, verb string) string {
	return root + t.String() + "/command/" + noun + "/" + verb
}

// ReplyTopic is where a client gets its replies; it may add up to MaxTail levels.
func ReplyTopic(t ident.Tenant, client ident.Name) string {
	return root + t.String() + "/reply/" + client.String()
}

// ProgressTopic has a campaign's progress as its state.
func ProgressTopic(t ident.Tenant, c ident.Campaign) string {
	return root + t.String() + "/campaign/" + c.String() + "/progress"
}

// EventTopic carries the transitions of a campaign's assignments.
func EventTopic(t ident.Tenant, c ident.Campaign) string {
	return root + t.String() + "/campaign/" + c.String() + "/event"
}
