/* The part of CBOR (RFC 8949) that a device needs: a reader that never reads past the end and remembers its first
 * error, and a writer into a bounded buffer that does the same. */
#ifndef CBOR_H
#define CBOR_H

#include <stddef.h>
#include <stdint.h>

enum { UINT, NEGINT, BSTR, TSTR, ARRAY, MAP, TAG, SIMPLE };

struct cbor_in {
	const uint8_t *at, *end;
	uint8_t bad; /* something was not as wanted: nothing read since counts */
};

/* cbor_head reads a head and returns its argument; another major type than want is an error. */
uint32_t cbor_head(struct cbor_in *in, uint8_t want);
/* cbor_bytes returns the contents of a string of type want, which lie in the buffer that is read. */
const uint8_t *cbor_bytes(struct cbor_in *in, uint8_t want, size_t *n);
/* cbor_enter makes a reader of the contents of a byte string. */
struct cbor_in cbor_enter(struct cbor_in *in);
/* cbor_expect reads exactly these bytes. */
void cbor_expect(struct cbor_in *in, const void *want, size_t n);

struct cbor_out {
	uint8_t *at, *end;
	uint8_t full;
};

void cbor_put_head(struct cbor_out *out, uint8_t major, uint32_t argument);
void cbor_put_bytes(struct cbor_out *out, uint8_t major, const void *data, size_t n);
void cbor_put_text(struct cbor_out *out, const char *text);
void cbor_put_raw(struct cbor_out *out, const void *data, size_t n);

#endif
