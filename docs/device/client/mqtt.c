#include "mqtt.h"

#include <string.h>

#include "port.h"

enum { RECEIVE_MS = 5000 }; /* for the rest of a packet that has begun */
static const char root[] = "fleet/v1/", kind[] = "/device/";

/* user is TENANT/DEVICE. */
static size_t tenant_length(const char *user) { return (size_t)(strchr(user, '/') - user); }

static size_t topic_length(const char *user, const char *channel)
{
	return sizeof root - 1 + strlen(user) - 1 + sizeof kind - 1 + 1 + strlen(channel);
}

static uint8_t *put(uint8_t *at, const void *data, size_t n)
{
	memcpy(at, data, n);
	return at + n;
}

static uint8_t *put_string(uint8_t *at, const char *s)
{
	size_t n = strlen(s);
	*at++ = (uint8_t)(n >> 8);
	*at++ = (uint8_t)n;
	return put(at, s, n);
}

static uint8_t *put_topic(uint8_t *at, const char *user, const char *channel)
{
	size_t n = topic_length(user, channel), tenant_n = tenant_length(user);
	*at++ = (uint8_t)(n >> 8);
	*at++ = (uint8_t)n;
	at = put(at, root, sizeof root - 1);
	at = put(at, user, tenant_n);
	at = put(at, kind, sizeof kind - 1);
	at = put(at, user + tenant_n + 1, strlen(user) - tenant_n - 1);
	*at++ = '/';
	return put(at, channel, strlen(channel));
}

/* A packet is written from tx[3] on, behind room for its fixed header. */
static uint8_t *begin(struct mqtt *m) { return m->tx + 3; }

static int finish(struct mqtt *m, uint8_t first, const uint8_t *end)
{
	size_t n = (size_t)(end - begin(m));
	uint8_t *start = m->tx + (n < 128 ? 1 : 0);
	start[0] = first;
	if (n < 128) {
		start[1] = (uint8_t)n;
	} else {
		start[1] = (uint8_t)(n & 127) | 128;
		start[2] = (uint8_t)(n >> 7);
	}
	return port_send(start, (size_t)(end - start));
}

int mqtt_connect(struct mqtt *m, const char *user, const char *password, uint16_t keepalive_s)
{
	static const uint8_t head[] = {0, 4, 'M', 'Q', 'T', 'T', 4, 0xc2}; /* 3.1.1, clean session, name and password */
	if (sizeof head + 2 + 6 + 2 * strlen(user) + strlen(password) > sizeof m->tx - 3)
		return -1;
	uint8_t *at = put(begin(m), head, sizeof head);
	*at++ = (uint8_t)(keepalive_s >> 8);
	*at++ = (uint8_t)keepalive_s;
	at = put_string(at, user); /* the client identifier; the server keeps it apart from everybody else's */
	at = put_string(at, user);
	at = put_string(at, password);
	struct packet p;
	if (finish(m, 0x10, at) != 0 || mqtt_receive(m, &p, RECEIVE_MS) != 1)
		return -1;
	return p.type == CONNACK && p.body_n == 2 && p.body[1] == 0 ? 0 : -1;
}

int mqtt_subscribe(struct mqtt *m, const char *user, const char *channel)
{
	if (5 + topic_length(user, channel) > sizeof m->tx - 3)
		return -1;
	uint8_t *at = begin(m);
	*at++ = 0;
	*at++ = 1;
	at = put_topic(at, user, channel);
	*at++ = 0;
	return finish(m, 0x82, at);
}

int mqtt_ping(void) { return port_send("\xc0", 2); /* the zero that ends the string is the packet's second byte */ }

uint8_t *mqtt_body(struct mqtt *m, const char *user, const char *channel, uint16_t id, size_t *room)
{
	size_t head = 3 + 2 + topic_length(user, channel) + (id ? 2 : 0);
	*room = head < sizeof m->tx ? sizeof m->tx - head : 0;
	return m->tx + head;
}

int mqtt_publish(struct mqtt *m, const char *user, const char *channel, uint16_t id, size_t body_n)
{
	uint8_t *at = put_topic(begin(m), user, channel);
	if (id) {
		*at++ = (uint8_t)(id >> 8);
		*at++ = (uint8_t)id;
	}
	return finish(m, id ? 0x32 : 0x30, at + body_n);
}

/* receive reads exactly n bytes. */
static int receive(void *data, size_t n, uint32_t timeout_ms)
{
	uint8_t *at = data;
	for (size_t done = 0; done < n;) {
		int got = port_receive(at + done, n - done, timeout_ms);
		if (got < 0 || (got == 0 && done > 0))
			return -1;
		if (got == 0)
			return 0;
		done += (size_t)got;
		timeout_ms = RECEIVE_MS;
	}
	return 1;
}

static int read_publish(struct packet *p, uint8_t flags)
{
	if (p->body_n < 2)
		return -1;
	p->topic_n = (size_t)p->body[0] << 8 | p->body[1];
	size_t skip = 2 + p->topic_n + (flags & 6 ? 2 : 0);
	if (skip > p->body_n)
		return -1;
	p->topic = (const char *)p->body + 2;
	p->retain = flags & 1;
	p->body += skip;
	p->body_n -= skip;
	return 1;
}

int mqtt_receive(struct mqtt *m, struct packet *p, uint32_t timeout_ms)
{
	uint8_t first, b;
	uint32_t n = 0;
	int r = receive(&first, 1, timeout_ms);
	if (r <= 0)
		return r;
	for (int shift = 0;; shift += 7) {
		if (shift > 21 || receive(&b, 1, RECEIVE_MS) != 1)
			return -1;
		n |= (uint32_t)(b & 127) << shift;
		if (b < 128)
			break;
	}
	*p = (struct packet){.type = first >> 4, .body = m->rx, .body_n = n < sizeof m->rx ? n : sizeof m->rx};
	p->lost_n = n - p->body_n;
	if (p->body_n > 0 && receive(m->rx, p->body_n, RECEIVE_MS) != 1)
		return -1;
	for (size_t left = p->lost_n; left > 0; left--)
		if (receive(&b, 1, RECEIVE_MS) != 1)
			return -1;
	if (p->type == PUBLISH)
		return read_publish(p, first & 15);
	if (p->type == PUBACK && p->body_n >= 2)
		p->id = (uint16_t)(p->body[0] << 8 | p->body[1]);
	return 1;
}

const char *mqtt_channel(const struct packet *p, const char *user, size_t *n)
{
	size_t skip = topic_length(user, ""), tenant_n = tenant_length(user);
	if (p->topic_n <= skip)
		return 0;
	/* The server sends nothing that is not ours; the length of the known part is checked, and its two ends. */
	if (memcmp(p->topic, root, sizeof root - 1) != 0 || memcmp(p->topic + sizeof root - 1, user, tenant_n) != 0)
		return 0;
	*n = p->topic_n - skip;
	return p->topic + skip;
}
