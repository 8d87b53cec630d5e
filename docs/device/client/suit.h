/* Reads a signed SUIT manifest (draft-ietf-suit-manifest-37) in the shape that `fleetbridge manifest create` writes for one
 * plain image. Whatever else stands in it, known to SUIT or not, is unsupported: a device must not guess. */
#ifndef SUIT_H
#define SUIT_H

#include <stddef.h>
#include <stdint.h>

struct manifest {
	uint32_t sequence;
	uint8_t vendor[16], class[16];
	uint8_t payload[32];
	uint32_t size; /* of the payload, bytes */
};

enum verdict { GOOD, SIGNATURE_INVALID, UNSUPPORTED };

/* suit_digest finds the manifest's digest, its name in every report; 0 if the envelope has none. Nothing is verified. */
const uint8_t *suit_digest(const uint8_t *envelope, size_t n);

/* suit_read verifies an envelope and reads its manifest, which counts only when it returns GOOD. In this order: the
 * author's signature over the digest; the digest over the manifest; what the manifest says. */
enum verdict suit_read(const uint8_t *envelope, size_t n, struct manifest *m);

#endif
