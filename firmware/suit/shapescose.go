package suit

import (
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// digests are the algorithms of section 8.2.2, by their number.
var digests = map[string]struct {
	name string
	sum  func([]byte) string
}{
	"-16": {"SHA-256", func(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }},
	"-43": {"SHA-384", func(b []byte) string { s := sha512.Sum384(b); return hex.EncodeToString(s[:]) }},
	"-44": {"SHA-512", func(b []byte) string { s := sha512.Sum512(b); return hex.EncodeToString(s[:]) }},
	"-18": {"SHAKE128", func(b []byte) string { return hex.EncodeToString(sha3.SumSHAKE128(b, 32)) }},
	"-45": {"SHAKE256", func(b []byte) string { return hex.EncodeToString(sha3.SumSHAKE256(b, 64)) }},
}

// digest shows a SUIT_Digest. Of the envelope's member that it is over, if it is over one, it says whether that matches.
func digest(member string) read {
	return func(w *walker, b []byte) *Item {
		i := w.array(b, func(n int) (string, read) {
			if n == 0 {
				return "algorithm-id", digestAlgorithm
			}
			return "digest-bytes", plain
		})
		if i.kind != kindArray || len(i.Items) != 2 {
			return i
		}
		alg, known := digests[i.Items[0].Value]
		if !known {
			return i
		}
		i.Summary = alg.name + " " + i.Items[1].hex()
		over, here := w.envelopeMembers[member]
		switch {
		case member == "":
		case !here:
			i.Note = "severed, and not in this envelope"
		case alg.sum(over) == i.Items[1].hex():
			i.Note = "matches the " + memberName(member) + " of this envelope"
		default:
			i.Note = "DOES NOT MATCH the " + memberName(member) + " of this envelope, which has " + alg.sum(over)
		}
		return i
	}
}

func memberName(key string) string {
	switch key {
	case "3":
		return "manifest"
	case "14":
		return "coswid"
	case "23":
		return "text"
	}
	return severable[key]
}

func digestAlgorithm(w *walker, b []byte) *Item {
	i := plain(w, b)
	i.Note = digests[i.Value].name
	return i
}

// algorithms are names of the COSE registry, as far as SUIT's profiles and their forerunners use them.
var algorithms = map[string]string{
	"-7": "ES256", "-8": "EdDSA", "-9": "ESP256", "-19": "Ed25519", "-35": "ES384", "-36": "ES512", "-51": "ESP384", "-52": "ESP512",
	"-53": "Ed448", "-46": "HSS-LMS", "-48": "ML-DSA-44", "-49": "ML-DSA-65", "-50": "ML-DSA-87", "5": "HMAC 256-256",
	"1": "A128GCM", "3": "A256GCM", "24": "ChaCha20-Poly1305", "-65534": "A128CTR", "-65532": "A256CTR",
	"-3": "A128KW", "-5": "A256KW", "-6": "direct", "-29": "ECDH-ES + A128KW", "-31": "ECDH-ES + A256KW",
}

// coseMessage shows a tagged COSE message (RFC 9052 section 2).
func coseMessage(w *walker, b []byte) *Item {
	return w.tagged(b, func(tag uint64) (string, read) {
		switch tag {
		case 18:
			return "COSE_Sign1", message("signature", plain)
		case 98:
			return "COSE_Sign", message("signatures", layers("signature", "signature"))
		case 17:
			return "COSE_Mac0", message("tag", plain)
		case 97:
			return "COSE_Mac", message("tag", plain)
		case 16:
			return "COSE_Encrypt0", message("", plain)
		case 96:
			return "COSE_Encrypt", message("recipients", layers("recipient", "ciphertext"))
		}
		return "", plain
	})
}

// message shows the body of one: headers, payload, and what the kind of message ends with.
func message(last string, show read) read {
	return func(w *walker, b []byte) *Item {
		return w.array(b, func(n int) (string, read) {
			switch n {
			case 0:
				return "protected", protected
			case 1:
				return "unprotected", headers
			case 2:
				return "payload", detachable
			case 3:
				return last, show
			}
			return "recipients", layers("recipient", "ciphertext")
		})
	}
}

// layers shows a list of COSE_Signature or COSE_recipient.
func layers(each, last string) read {
	return func(w *walker, b []byte) *Item {
		return w.array(b, func(int) (string, read) {
			return each, func(w *walker, b []byte) *Item {
				return w.array(b, func(n int) (string, read) {
					switch n {
					case 0:
						return "protected", protected
					case 1:
						return "unprotected", headers
					}
					return last, plain
				})
			}
		})
	}
}

// protected is a map in a byte string, which stands for an empty map where it is empty.
func protected(w *walker, b []byte) *Item {
	if _, n, _, ok := head(b); ok && n == 0 {
		return plain(w, b)
	}
	return wrapped(headers)(w, b)
}

func detachable(w *walker, b []byte) *Item {
	i := plain(w, b)
	if i.Value == "null" {
		i.Note = "detached"
	}
	return i
}

func headers(w *walker, b []byte) *Item {
	return w.members(b, func(key string) (string, read) {
		switch key {
		case "1":
			return "alg", algorithm
		case "2":
			return "crit", plain
		case "3":
			return "content-type", plain
		case "4":
			return "kid", keyIdentifier
		case "5":
			return "iv", plain
		case "-1":
			return "ephemeral-key", coseKey
		}
		return "", plain
	})
}

func algorithm(w *walker, b []byte) *Item {
	i := plain(w, b)
	if i.Note = algorithms[i.Value]; i.Note != "" {
		i.Summary = i.Note + " (" + i.Value + ")"
	}
	return i
}

// keyIdentifier also shows the text, if it is one.
func keyIdentifier(w *walker, b []byte) *Item {
	i := plain(w, b)
	major, _, content, ok := head(b)
	if ok && major == majorBytes && len(content) > 0 && !slices.ContainsFunc([]rune(string(content)), func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsPrint(r)
	}) {
		i.Note = strconv.Quote(string(content))
	}
	return i
}

func coseKey(w *walker, b []byte) *Item {
	names := map[string]string{"1": "kty", "2": "kid", "3": "alg", "-1": "crv", "-2": "x", "-3": "y"}
	return w.members(b, func(key string) (string, read) { return names[key], plain })
}

// languageText shows the text in one language: by number, or by component.
func languageText(w *walker, b []byte) *Item {
	return w.members(b, func(key string) (string, read) {
		if strings.HasPrefix(key, "[") {
			return "component", componentNotes
		}
		return wordOf(manifestText, key), plain
	})
}

func componentNotes(w *walker, b []byte) *Item {
	return w.members(b, func(key string) (string, read) {
		return wordOf(componentText, key), func(w *walker, b []byte) *Item {
			i := plain(w, b)
			switch word := wordOf(componentText, key); {
			case word == "vendor-domain" && len(w.domains) < maxNames:
				w.domains = append(w.domains, i.text)
			case word == "model-info" && len(w.models) < maxNames:
				w.models = append(w.models, i.text)
			}
			return i
		}
	})
}

func wordOf(words []string, key string) string {
	n, err := strconv.Atoi(key)
	if err != nil || n < 0 || n >= len(words) {
		return ""
	}
	return words[n]
}
