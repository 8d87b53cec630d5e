#include "fleet.h"

#include <string.h>

#include "cbor.h"
#include "sha256.h"
#include "suit.h"

/* Where an update stands; it survives in nv.stage. From DOWNLOADING to FAILED each is a state that is reported. */
enum { IDLE, DOWNLOADING, DOWNLOADED, INSTALLING, REBOOTING, INSTALLED, FAILED, REJECTED, RECEIVED };
static const char *const state_words[] = {"",           "downloading", "downloaded", "installing", "rebooting",
					  "installed", "failed",      "rejected",   "received"};

enum { NONE, R_SIGNATURE, R_UNSUPPORTED, R_VENDOR, R_CLASS, R_OLD, R_SPACE, R_TIMEOUT, R_DIGEST, R_FLASH, R_INSTALL, R_ROLLED_BACK };
static const char *const reason_words[] = {"", "signature-invalid", "unsupported-manifest", "wrong-vendor", "wrong-class",
					   "version-not-newer", "no-space", "download-timeout", "digest-mismatch",
					   "flash-error", "install-error", "rolled-back"};

enum { KEEPALIVE_S = 60, FIRST_WAIT_MS = 500, FETCH_MS = 3000, MAX_TRIES = 8, SEQ_BLOCK = 64, TOKEN = 16 };

/* later says whether time a is after b, on a clock that wraps. */
static int later(uint32_t a, uint32_t b) { return (int32_t)(a - b) > 0; }

/* next_seq takes a message number. Flash is written once for a block of them: after a loss of power the rest of the block
 * is skipped, which is fine, since numbers only have to rise. */
static uint32_t next_seq(struct device *d)
{
	if (d->seq >= d->nv.seq_limit) {
		d->nv.seq_limit = d->seq + SEQ_BLOCK;
		port_save(&d->nv);
	}
	return ++d->seq;
}

/* tell makes state what the server is to be told, in place of what it was not told yet: a report is the whole state. */
static void tell(struct device *d, uint8_t state) { d->report = state, d->sent = 0; }

static void stage(struct device *d, uint8_t stage, uint8_t reason)
{
	d->nv.stage = stage;
	d->nv.reason = reason;
	port_save(&d->nv);
	tell(d, stage);
}

static void put_digest(struct cbor_out *out, const uint8_t digest[32])
{
	cbor_put_raw(out, "\x82\x2f", 2);
	cbor_put_bytes(out, BSTR, digest, 32);
}

static void put_uint(struct cbor_out *out, uint8_t key, uint32_t v)
{
	cbor_put_head(out, UINT, key);
	cbor_put_head(out, UINT, v);
}

/* put_installed writes [{component, digest, sequence}] of the image that runs. */
static void put_installed(struct device *d, struct cbor_out *out, uint8_t key)
{
	cbor_put_head(out, UINT, key);
	cbor_put_raw(out, "\x81\xa3\x01\x62\x30\x30\x02", 7);
	put_digest(out, d->image);
	put_uint(out, 3, d->nv.sequence);
}

static int publish(struct device *d, const char *channel, uint16_t id, const struct cbor_out *out, const uint8_t *body)
{
	return out->full ? -1 : mqtt_publish(&d->mqtt, d->id.user, channel, id, (size_t)(out->at - body));
}

static struct cbor_out body(struct device *d, const char *channel, uint16_t id)
{
	size_t room;
	uint8_t *b = mqtt_body(&d->mqtt, d->id.user, channel, id, &room);
	return (struct cbor_out){b, b + room, 0};
}

static int send_hello(struct device *d)
{
	struct cbor_out out = body(d, "hello", 1);
	const uint8_t *start = out.at;
	cbor_put_head(&out, MAP, 7);
	put_uint(&out, 1, next_seq(d));
	cbor_put_head(&out, UINT, 2);
	cbor_put_bytes(&out, BSTR, d->id.vendor, 16);
	cbor_put_head(&out, UINT, 3);
	cbor_put_bytes(&out, BSTR, d->id.class, 16);
	put_installed(d, &out, 4);
	put_uint(&out, 5, d->nv.boot);
	put_uint(&out, 6, CHUNK);
	cbor_put_raw(&out, "\x08\x81\x26", 3); /* algs: [ES256] */
	return publish(d, "hello", 1, &out, start);
}

static int send_report(struct device *d)
{
	if (++d->packet < 2)
		d->packet = 2; /* 1 is the hello's */
	struct cbor_out out = body(d, "report", d->packet);
	const uint8_t *start = out.at;
	int reason = d->nv.reason && (d->report == FAILED || d->report == REJECTED);
	int progress = d->report == DOWNLOADING, proof = d->report == INSTALLED || d->report == FAILED;
	cbor_put_head(&out, MAP, (uint32_t)(4 + reason + progress + proof));
	put_uint(&out, 1, next_seq(d));
	cbor_put_head(&out, UINT, 2);
	put_digest(&out, d->nv.manifest);
	cbor_put_head(&out, UINT, 3);
	cbor_put_text(&out, state_words[d->report]);
	if (reason) {
		cbor_put_head(&out, UINT, 4);
		cbor_put_text(&out, reason_words[d->nv.reason]);
	}
	if (progress)
		put_uint(&out, 6, d->nv.stored * CHUNK < d->nv.size ? d->nv.stored * CHUNK : d->nv.size);
	if (proof)
		put_installed(d, &out, 7);
	put_uint(&out, 8, d->nv.boot);
	d->sent = 1;
	return publish(d, "report", d->packet, &out, start);
}

static uint32_t chunks(const struct device *d) { return (d->nv.size + CHUNK - 1) / CHUNK; }

/* window is how many chunks the fetch under way may bring. */
static uint32_t window(const struct device *d)
{
	uint32_t left = chunks(d) - d->nv.stored;
	return left < WINDOW ? left : WINDOW;
}

/* token_text writes the token of the fetch under way: boot and fetch number in hex, so that none comes twice. */
static void token_text(const struct device *d, char text[TOKEN + 1])
{
	uint32_t numbers[2] = {d->nv.boot, d->fetches};
	for (int i = 0; i < TOKEN; i++)
		text[i] = "0123456789abcdef"[numbers[i / 8] >> (28 - 4 * (i % 8)) & 15];
	text[TOKEN] = 0;
}

static int send_fetch(struct device *d)
{
	char token[TOKEN + 1];
	d->fetches++;
	token_text(d, token);
	uint8_t wanted = (uint8_t)(((1u << window(d)) - 1) & ~d->got);
	struct cbor_out out = body(d, "fetch", 0);
	const uint8_t *start = out.at;
	cbor_put_head(&out, MAP, 6);
	cbor_put_head(&out, UINT, 1);
	cbor_put_text(&out, token);
	cbor_put_head(&out, UINT, 2);
	put_digest(&out, d->nv.payload);
	put_uint(&out, 3, CHUNK);
	put_uint(&out, 4, d->nv.stored);
	put_uint(&out, 5, window(d));
	cbor_put_head(&out, UINT, 6);
	cbor_put_bytes(&out, BSTR, &wanted, 1);
	d->due = port_millis() + ((uint32_t)FETCH_MS << (d->tries < 4 ? d->tries : 4));
	return publish(d, "fetch", 0, &out, start);
}

static void measure(int (*read)(uint32_t, void *, size_t), uint8_t digest[32])
{
	struct sha256 s;
	uint8_t piece[64];
	int n;
	sha256_start(&s);
	for (uint32_t at = 0; (n = read(at, piece, sizeof piece)) > 0; at += (uint32_t)n)
		sha256_add(&s, piece, (size_t)n);
	sha256_end(&s, digest);
}

/* downloaded judges the whole payload as the flash reads it back. */
static void downloaded(struct device *d)
{
	uint8_t digest[32];
	measure(port_slot_read, digest);
	if (memcmp(digest, d->nv.payload, sizeof digest) == 0) {
		stage(d, DOWNLOADED, NONE);
	} else {
		d->nv.stored = 0;
		stage(d, FAILED, R_DIGEST);
	}
}

static int parse_index(const char *s, size_t n, uint32_t *index)
{
	*index = 0;
	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9' || *index > UINT32_MAX / 10 - 1)
			return 0;
		*index = *index * 10 + (uint32_t)(s[i] - '0');
	}
	return n > 0;
}

/* take_chunk stores chunk i, if it is one that was asked for. */
static int take_chunk(struct device *d, uint32_t i, const struct packet *p)
{
	uint32_t bit = i - d->nv.stored, at = i * CHUNK;
	if (i < d->nv.stored || bit >= window(d) || d->got >> bit & 1)
		return 0;
	size_t want = d->nv.size - at < CHUNK ? d->nv.size - at : CHUNK;
	if (p->lost_n || p->body_n != want)
		return 0;
	if (port_slot_write(at, p->body, want) != 0) {
		stage(d, FAILED, R_FLASH);
		return 0;
	}
	d->got |= (uint8_t)(1u << bit);
	d->tries = 0;
	uint32_t all = (1u << window(d)) - 1;
	if (d->got != all)
		return bit == window(d) - 1 ? send_fetch(d) : 0; /* the last one is here and others are not: lost */
	d->nv.stored += window(d);
	d->got = 0;
	port_save(&d->nv);
	if (d->nv.stored < chunks(d))
		return send_fetch(d);
	downloaded(d);
	return 0;
}

static int contains(const uint8_t *b, size_t n, const char *word)
{
	size_t m = strlen(word);
	for (size_t i = 0; i + m <= n; i++)
		if (memcmp(b + i, word, m) == 0)
			return 1;
	return 0;
}

/* on_chunk takes what came on chunk/TOKEN/INDEX or chunk/TOKEN/error. */
static int on_chunk(struct device *d, const char *rest, size_t n, const struct packet *p)
{
	char token[TOKEN + 1];
	uint32_t index;
	token_text(d, token);
	if (d->nv.stage != DOWNLOADING || n <= TOKEN || memcmp(rest, token, TOKEN) != 0 || rest[TOKEN] != '/')
		return 0;
	rest += TOKEN + 1, n -= TOKEN + 1;
	if (n == 5 && memcmp(rest, "error", 5) == 0) {
		if (contains(p->body, p->body_n, "fetch-not-assigned"))
			d->nv.stage = IDLE, port_save(&d->nv); /* the offer is gone */
		return 0;                                      /* anything else: the timeout asks again */
	}
	return parse_index(rest, n, &index) ? take_chunk(d, index, p) : 0;
}

/* judge says why a manifest is not for this device, or NONE. */
static uint8_t judge(const struct device *d, const struct manifest *m)
{
	if (memcmp(m->vendor, d->id.vendor, 16) != 0)
		return R_VENDOR;
	if (memcmp(m->class, d->id.class, 16) != 0)
		return R_CLASS;
	int same = memcmp(m->payload, d->image, 32) == 0;
	if (m->sequence < d->nv.sequence || (m->sequence == d->nv.sequence && !same))
		return R_OLD;
	return m->size == 0 || m->size > port_slot_size ? R_SPACE : NONE;
}

static int ended(const struct device *d) { return d->nv.stage >= INSTALLED && d->nv.stage <= REJECTED; }

/* on_manifest takes what the manifest topic holds. */
static void on_manifest(struct device *d, const struct packet *p)
{
	struct manifest m = {0};
	const uint8_t *digest = suit_digest(p->body, p->body_n);
	if (p->body_n == 0) { /* taken back; what is being installed stays its own */
		if (d->nv.stage < INSTALLING || ended(d))
			d->nv.stage = IDLE, d->report = d->sent = 0, port_save(&d->nv);
		return;
	}
	if (!digest)
		return; /* it has no name to report on */
	if (d->nv.stage != IDLE && memcmp(digest, d->nv.manifest, 32) == 0) {
		if (!p->retain && !d->report) /* asked again: say where we are */
			tell(d, d->nv.stage);
		return;
	}
	if (d->nv.stage == INSTALLING || d->nv.stage == REBOOTING)
		return; /* it is there after the boot as well */
	memcpy(d->nv.manifest, digest, 32);
	d->got = d->tries = 0;
	enum verdict v = p->lost_n ? UNSUPPORTED : suit_read(p->body, p->body_n, &m);
	uint8_t reason = v == SIGNATURE_INVALID ? R_SIGNATURE : v == UNSUPPORTED ? R_UNSUPPORTED : judge(d, &m);
	if (reason) {
		stage(d, REJECTED, reason);
	} else {
		int resume = d->nv.size == m.size && memcmp(d->nv.payload, m.payload, 32) == 0;
		d->nv.stored = resume && d->nv.stored < (m.size + CHUNK - 1) / CHUNK ? d->nv.stored : 0;
		memcpy(d->nv.payload, m.payload, 32);
		d->nv.size = m.size;
		d->nv.new_sequence = m.sequence;
		int there = memcmp(m.payload, d->image, 32) == 0;
		if (there)
			d->nv.sequence = m.sequence;
		stage(d, there ? INSTALLED : DOWNLOADING, NONE);
		d->due = port_millis();
	}
	tell(d, RECEIVED); /* first word: it is in flash; the verdict follows once this is acknowledged */
}

/* acknowledged goes on to what had to wait until the server knows. */
static void acknowledged(struct device *d)
{
	uint8_t told = d->report;
	d->report = d->sent = 0;
	if (told == RECEIVED) {
		tell(d, d->nv.stage);
	} else if (told == DOWNLOADED) {
		stage(d, INSTALLING, NONE);
	} else if (told == INSTALLING) {
		if (port_install(d->nv.size) == 0)
			stage(d, REBOOTING, NONE);
		else
			stage(d, FAILED, R_INSTALL);
	}
}

static int on_packet(struct device *d, const struct packet *p)
{
	size_t n;
	if (p->type == PUBACK && d->sent && p->id == d->packet)
		acknowledged(d);
	if (p->type != PUBLISH)
		return 0;
	const char *channel = mqtt_channel(p, d->id.user, &n);
	if (!channel)
		return 0;
	if (n == 8 && memcmp(channel, "manifest", 8) == 0)
		on_manifest(d, p);
	else if (n > 6 && memcmp(channel, "chunk/", 6) == 0)
		return on_chunk(d, channel + 6, n - 6, p);
	return 0;
}

/* do_what_is_due sends what waits. One report is under way at a time. */
static int do_what_is_due(struct device *d)
{
	uint32_t now = port_millis();
	if (d->report && !d->sent)
		return send_report(d);
	if (d->nv.stage == DOWNLOADING && !later(d->due, now)) {
		if (d->tries++ == MAX_TRIES)
			stage(d, FAILED, R_TIMEOUT);
		else
			return send_fetch(d);
	}
	if (later(now, d->pinged + KEEPALIVE_S * 500)) {
		d->pinged = now;
		return mqtt_ping();
	}
	return later(now, d->heard + KEEPALIVE_S * 1500) ? -1 : 0; /* nothing heard: the connection is dead */
}

/* session ends when the connection does, or with 1 when the device has to reboot. */
static int session(struct device *d)
{
	struct packet p;
	if (port_connect() != 0 || mqtt_connect(&d->mqtt, d->id.user, d->id.token, KEEPALIVE_S) != 0 ||
	    mqtt_subscribe(&d->mqtt, d->id.user, "manifest") != 0 || mqtt_subscribe(&d->mqtt, d->id.user, "chunk/#") != 0 ||
	    send_hello(d) != 0)
		return -1;
	d->heard = d->pinged = d->due = port_millis();
	d->sent = d->tries = 0; /* what was not acknowledged is told again */
	for (;;) {
		if (d->nv.stage == REBOOTING && !d->report)
			return 1;
		if (do_what_is_due(d) != 0)
			return -1;
		int r = mqtt_receive(&d->mqtt, &p, 200);
		if (r < 0)
			return -1;
		if (r == 1) {
			d->heard = port_millis();
			if (on_packet(d, &p) != 0)
				return -1;
		}
	}
}

/* boot is what the bootloader and the self-test leave to the client: which image runs, and was it the one meant? */
static void boot(struct device *d)
{
	port_load(&d->nv);
	d->seq = d->nv.seq_limit;
	d->nv.boot++;
	port_save(&d->nv);
	measure(port_image_read, d->image);
	if (d->nv.stage == REBOOTING) {
		int runs = memcmp(d->image, d->nv.payload, 32) == 0;
		if (runs)
			d->nv.sequence = d->nv.new_sequence;
		stage(d, runs ? INSTALLED : FAILED, runs ? NONE : R_ROLLED_BACK);
	} else if (d->nv.stage != IDLE) {
		tell(d, d->nv.stage); /* it may not have been told, and twice is no harm */
	}
}

void fleet_run(struct device *d)
{
	boot(d);
	for (uint32_t wait = FIRST_WAIT_MS;;) {
		uint32_t start = port_millis();
		int end = session(d);
		port_disconnect();
		if (end == 1)
			break;
		wait = port_millis() - start > 60000 ? FIRST_WAIT_MS : wait < 60000 ? wait * 2 : wait;
		port_sleep(wait / 2 + port_random() % (wait / 2)); /* a fleet must not come back in one moment */
	}
	port_reboot();
}
