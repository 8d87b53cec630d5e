#include "sha256.h"

#include <string.h>

static const uint32_t k[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t ror(uint32_t x, int n) { return x >> n | x << (32 - n); }

/* The message schedule is kept as a ring of its last 16 words: 64 bytes instead of 256. */
static void compress(uint32_t h[8], const uint8_t block[64])
{
	uint32_t w[16], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f = h[5], g = h[6], i = h[7];
	for (int t = 0; t < 64; t++) {
		uint32_t *x = &w[t & 15];
		if (t < 16) {
			*x = (uint32_t)block[4 * t] << 24 | (uint32_t)block[4 * t + 1] << 16 |
			     (uint32_t)block[4 * t + 2] << 8 | block[4 * t + 3];
		} else {
			uint32_t p = w[(t + 1) & 15], q = w[(t + 14) & 15];
			*x += (ror(p, 7) ^ ror(p, 18) ^ p >> 3) + w[(t + 9) & 15] + (ror(q, 17) ^ ror(q, 19) ^ q >> 10);
		}
		uint32_t t1 = i + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) + ((e & f) ^ (~e & g)) + k[t] + *x;
		uint32_t t2 = (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
		i = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
	}
	h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e, h[5] += f, h[6] += g, h[7] += i;
}

void sha256_start(struct sha256 *s)
{
	static const uint32_t first[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
					  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
	memcpy(s->h, first, sizeof first);
	s->length = 0;
}

void sha256_add(struct sha256 *s, const void *data, size_t n)
{
	const uint8_t *p = data;
	while (n-- > 0) {
		s->block[s->length++ % 64] = *p++;
		if (s->length % 64 == 0)
			compress(s->h, s->block);
	}
}

void sha256_end(struct sha256 *s, uint8_t digest[32])
{
	uint64_t bits = s->length * 8;
	static const uint8_t one = 0x80, zero = 0;
	sha256_add(s, &one, 1);
	while (s->length % 64 != 56)
		sha256_add(s, &zero, 1);
	for (int i = 56; i >= 0; i -= 8) {
		uint8_t b = (uint8_t)(bits >> i);
		sha256_add(s, &b, 1);
	}
	for (int i = 0; i < 32; i++)
		digest[i] = (uint8_t)(s->h[i / 4] >> (24 - 8 * (i % 4)));
}
