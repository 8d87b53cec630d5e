#include "cbor.h"

#include <string.h>

static uint32_t bad(struct cbor_in *in)
{
	in->bad = 1;
	in->at = in->end;
	return 0;
}

uint32_t cbor_head(struct cbor_in *in, uint8_t want)
{
	if (in->at >= in->end || *in->at >> 5 != want)
		return bad(in);
	uint8_t info = *in->at++ & 31;
	if (info < 24)
		return info;
	size_t n = (size_t)1 << (info - 24);
	if (info > 26 || (size_t)(in->end - in->at) < n) /* no 64-bit values, nothing of indefinite length */
		return bad(in);
	uint32_t v = 0;
	while (n-- > 0)
		v = v << 8 | *in->at++;
	return v;
}

const uint8_t *cbor_bytes(struct cbor_in *in, uint8_t want, size_t *n)
{
	*n = cbor_head(in, want);
	if (*n > (size_t)(in->end - in->at)) {
		*n = bad(in);
	}
	const uint8_t *start = in->at;
	in->at += *n;
	return start;
}

struct cbor_in cbor_enter(struct cbor_in *in)
{
	size_t n;
	const uint8_t *start = cbor_bytes(in, BSTR, &n);
	return (struct cbor_in){start, start + n, in->bad};
}

void cbor_expect(struct cbor_in *in, const void *want, size_t n)
{
	if ((size_t)(in->end - in->at) < n || memcmp(in->at, want, n) != 0)
		bad(in);
	else
		in->at += n;
}

void cbor_put_raw(struct cbor_out *out, const void *data, size_t n)
{
	if (out->full || (size_t)(out->end - out->at) < n) {
		out->full = 1;
		return;
	}
	memcpy(out->at, data, n);
	out->at += n;
}

void cbor_put_head(struct cbor_out *out, uint8_t major, uint32_t v)
{
	uint8_t b[5] = {(uint8_t)(major << 5)};
	size_t n = v < 24 ? 0 : v < 0x100 ? 1 : v < 0x10000 ? 2 : 4;
	b[0] |= n == 0 ? (uint8_t)v : n == 1 ? 24 : n == 2 ? 25 : 26;
	for (size_t i = 0; i < n; i++)
		b[1 + i] = (uint8_t)(v >> (8 * (n - 1 - i)));
	cbor_put_raw(out, b, 1 + n);
}

void cbor_put_bytes(struct cbor_out *out, uint8_t major, const void *data, size_t n)
{
	cbor_put_head(out, major, (uint32_t)n);
	cbor_put_raw(out, data, n);
}

void cbor_put_text(struct cbor_out *out, const char *text) { cbor_put_bytes(out, TSTR, text, strlen(text)); }
