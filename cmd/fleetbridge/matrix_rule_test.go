package main

import "fleetbridge/firmware/cose"

// An option is a way in which an author makes an update.
type option string

const (
	optPlain      option = "plain"
	optText       option = "severed text"
	optHTTPS      option = "https URI"
	optIntegrated option = "integrated"
	optDelta      option = "delta from what is installed"
	optOtherDelta option = "delta from something else"
	optTwo        option = "two signature blocks"
	optWrapGCM    option = "A128KW, A128GCM"
	optWrapCTR    option = "A128KW, A128CTR"
	optAgreeGCM   option = "ECDH-ES+A128KW, A128GCM"
	optAgreeCTR   option = "ECDH-ES+A128KW, A128CTR"
	optSecret     option = "integrated, A128KW, A128GCM"
)

var options = []option{optPlain, optText, optHTTPS, optIntegrated, optDelta, optOtherDelta, optTwo, optWrapGCM, optWrapCTR,
	optAgreeGCM, optAgreeCTR, optSecret}

func (o option) encrypted() bool {
	return o == optWrapGCM || o == optWrapCTR || o == optAgreeGCM || o == optAgreeCTR || o == optSecret
}

// A capability is what a device can do, and says of it.
type capability string

const (
	saysNothing capability = "says no algorithms"
	saysExactly capability = "says exactly the manifest's"
	saysAnother capability = "says another one only"
	lacksKey    capability = "lacks the decryption key"
	lacksOld    capability = "lacks the old image's bytes"
)

var capabilities = []capability{saysNothing, saysExactly, saysAnother, lacksKey, lacksOld}

var algorithms = []cose.Alg{cose.ES256, cose.ESP256, cose.EdDSA, cose.Ed25519}

// another is the algorithm that a device knows which doesn't know alg; for ES256 and EdDSA one of the same kind of key.
func another(alg cose.Alg) cose.Alg {
	return map[cose.Alg]cose.Alg{cose.ES256: cose.ESP256, cose.ESP256: cose.EdDSA, cose.EdDSA: cose.Ed25519, cose.Ed25519: cose.ES256}[alg]
}

// fetched is what a device asks the server for.
type fetched string

const (
	fetchesNothing    fetched = "nothing"
	fetchesImage      fetched = "the image"
	fetchesDelta      fetched = "the delta"
	fetchesCiphertext fetched = "the ciphertext"
)

// An ending is how a cell of the matrix ends: at the server, and at the device.
type ending struct {
	state, reason string
	fetched       fetched
}

// ends is the rule that the matrix is judged by.
func ends(o option, c capability) ending {
	installs := func(f fetched) ending { return ending{"confirmed", "", f} }
	switch {
	case c == saysAnother && o != optTwo: // no block that it could check: it is offered nothing
		return ending{"skipped", "no-common-algorithm", fetchesNothing}
	case o == optHTTPS: // the simulated device speaks MQTT only
		return ending{"rejected", "unsupported-manifest", fetchesNothing}
	case o.encrypted() && c == lacksKey:
		return ending{"rejected", "unsupported-manifest", fetchesNothing}
	case o == optIntegrated, o == optSecret:
		return installs(fetchesNothing)
	case o.encrypted():
		return installs(fetchesCiphertext)
	case o == optDelta && c != lacksOld:
		return installs(fetchesDelta)
	}
	return installs(fetchesImage)
}
