#include "suit.h"

#include <string.h>

#include "cbor.h"
#include "port.h"
#include "sha256.h"

enum { ES256 = 7 }; /* -7: alg is NEGINT 6, so 7 - 1 */
enum { DIGEST_BYTES = 36 };

/* Every digest of the profile is [-16, h'…32 bytes']: SHA-256. */
static const uint8_t digest_head[4] = {0x82, 0x2f, 0x58, 0x20};

/* The members of the envelope, where they lie in it. */
struct envelope {
	struct cbor_in auth, manifest; /* contents */
	const uint8_t *wrapped;        /* the manifest with the head of its byte string: what the digest covers */
};

static int open_envelope(const uint8_t *b, size_t n, struct envelope *e)
{
	struct cbor_in in = {b, b + n, 0};
	int seen = 0;
	if (cbor_head(&in, TAG) != 107)
		return 0;
	for (uint32_t left = cbor_head(&in, MAP); left > 0 && !in.bad; left--) {
		switch (cbor_head(&in, UINT)) {
		case 2:
			e->auth = cbor_enter(&in);
			seen |= 1;
			break;
		case 3:
			e->wrapped = in.at;
			e->manifest = cbor_enter(&in);
			seen |= 2;
			break;
		case 23: /* text is for people */
			cbor_enter(&in);
			break;
		default:
			return 0;
		}
	}
	return !in.bad && in.at == in.end && seen == 3;
}

const uint8_t *suit_digest(const uint8_t *b, size_t n)
{
	/* The start of the envelope is enough, so that one too large for the buffer can still be named. */
	struct cbor_in in = {b, b + n, 0};
	cbor_head(&in, TAG);
	cbor_head(&in, MAP);
	if (cbor_head(&in, UINT) != 2 || in.bad)
		return 0;
	cbor_head(&in, BSTR);
	cbor_head(&in, ARRAY);
	if (cbor_head(&in, BSTR) != DIGEST_BYTES || in.bad)
		return 0;
	cbor_expect(&in, digest_head, sizeof digest_head);
	return in.bad || in.end - in.at < 32 ? 0 : in.at;
}

/* signed_by_author looks for a COSE_Sign1 block (RFC 9052) of our algorithm that verifies. */
static int signed_by_author(struct cbor_in auth, struct sha256 *s)
{
	static const uint8_t context[] = "\x84\x6aSignature1", no_more[] = {0xa0, 0xf6}, detached[] = {0x40, 0x58, DIGEST_BYTES};
	uint32_t blocks = cbor_head(&auth, ARRAY);
	size_t n;
	const uint8_t *digest = cbor_bytes(&auth, BSTR, &n);
	for (uint32_t i = 1; i < blocks && !auth.bad; i++) {
		struct cbor_in block = cbor_enter(&auth);
		cbor_expect(&block, "\xd2\x84", 2);
		const uint8_t *protected = block.at;
		struct cbor_in header = cbor_enter(&block);
		size_t protected_n = (size_t)(block.at - protected), signature_n;
		cbor_expect(&block, no_more, sizeof no_more);
		const uint8_t *signature = cbor_bytes(&block, BSTR, &signature_n);
		cbor_head(&header, MAP);
		if (cbor_head(&header, UINT) != 1 || cbor_head(&header, NEGINT) != ES256 - 1 || header.bad || block.bad ||
		    signature_n != 64 || n != DIGEST_BYTES)
			continue;
		uint8_t hash[32];
		sha256_start(s);
		sha256_add(s, context, sizeof context - 1);
		sha256_add(s, protected, protected_n);
		sha256_add(s, detached, sizeof detached);
		sha256_add(s, digest, n);
		sha256_end(s, hash);
		return port_verify(hash, signature);
	}
	return 0;
}

static int digest_holds(const struct envelope *e, const uint8_t *digest, struct sha256 *s)
{
	uint8_t hash[32];
	sha256_start(s);
	sha256_add(s, e->wrapped, (size_t)(e->manifest.end - e->wrapped));
	sha256_end(s, hash);
	return memcmp(hash, digest, sizeof hash) == 0;
}

static void copy(struct cbor_in *in, uint8_t *to, size_t want)
{
	size_t n;
	const uint8_t *from = cbor_bytes(in, BSTR, &n);
	if (n == want)
		memcpy(to, from, n);
	else
		in->bad = 1;
}

/* read_common reads {2: [[h'00']], 4: << [override-parameters, {vendor, class, digest, size}, vendor-id, class-id] >>}. */
static int read_common(struct cbor_in in, struct manifest *m)
{
	cbor_expect(&in, "\xa2\x02\x81\x81\x41\x00\x04", 7);
	struct cbor_in shared = cbor_enter(&in);
	cbor_expect(&shared, "\x86\x14\xa4\x01", 4);
	copy(&shared, m->vendor, sizeof m->vendor);
	cbor_expect(&shared, "\x02", 1);
	copy(&shared, m->class, sizeof m->class);
	cbor_expect(&shared, "\x03\x58\x24\x82\x2f", 5);
	copy(&shared, m->payload, sizeof m->payload);
	cbor_expect(&shared, "\x0e", 1);
	m->size = cbor_head(&shared, UINT);
	cbor_expect(&shared, "\x01\x0f\x02\x0f", 4);
	return !in.bad && in.at == in.end && !shared.bad && shared.at == shared.end;
}

/* read_install reads [override-parameters, {uri: "payload/<digest>"}, fetch, image-match]: the payload is asked for by its
 * digest, so the address is only checked. */
static int read_install(struct cbor_in in, const uint8_t payload[32])
{
	static const char hex[] = "0123456789abcdef";
	cbor_expect(&in, "\x86\x14\xa1\x15\x78\x48payload/", 14);
	for (int i = 0; i < 32; i++) {
		char pair[2] = {hex[payload[i] >> 4], hex[payload[i] & 15]};
		cbor_expect(&in, pair, 2);
	}
	cbor_expect(&in, "\x15\x02\x03\x0f", 4);
	return !in.bad && in.at == in.end;
}

static int read_manifest(struct cbor_in in, struct manifest *m)
{
	int members = 0;
	for (uint32_t left = cbor_head(&in, MAP); left > 0 && !in.bad; left--) {
		uint32_t key = cbor_head(&in, UINT);
		switch (key) {
		case 1:
			if (cbor_head(&in, UINT) != 1)
				return 0;
			break;
		case 2:
			m->sequence = cbor_head(&in, UINT);
			break;
		case 3:
			if (!read_common(cbor_enter(&in), m))
				return 0;
			break;
		case 7: /* validate: image-match */
			cbor_expect(&in, "\x43\x82\x03\x0f", 4);
			break;
		case 20:
			if (!read_install(cbor_enter(&in), m->payload))
				return 0;
			break;
		case 23: { /* the digest of the text */
			size_t n;
			cbor_expect(&in, digest_head, 2);
			cbor_bytes(&in, BSTR, &n);
			continue;
		}
		default:
			return 0;
		}
		members++;
	}
	return !in.bad && in.at == in.end && members == 5;
}

enum verdict suit_read(const uint8_t *b, size_t n, struct manifest *m)
{
	struct envelope e = {0};
	struct sha256 s; /* one for both hashes: it is the largest thing on the stack */
	const uint8_t *digest = suit_digest(b, n);
	if (!digest || !open_envelope(b, n, &e))
		return UNSUPPORTED;
	if (!signed_by_author(e.auth, &s) || !digest_holds(&e, digest, &s))
		return SIGNATURE_INVALID;
	return read_manifest(e.manifest, m) ? GOOD : UNSUPPORTED;
}
