package campaign

import "fleetbridge/ident"

// Versioned is an optional ability of a Store: what was read of a device may be kept for as long as its version stays.
type Versioned interface {
	// Version changes with each commit that puts the Work or the Device record of d, after Views read the new one and
	// before Update returns; it may change without. So whoever asks for it first and then reads holds nothing that is
	// older than the version says. It waits for nobody and allocates nothing.
	Version(t ident.Tenant, d ident.Device) uint64
}
