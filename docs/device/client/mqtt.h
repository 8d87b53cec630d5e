/* MQTT 3.1.1 as far as a device of the fleet needs it: one packet in the buffer at a time. */
#ifndef MQTT_H
#define MQTT_H

#include <stddef.h>
#include <stdint.h>

enum { CONNACK = 2, PUBLISH = 3, PUBACK = 4, SUBACK = 9, PINGRESP = 13 };

/* A packet as it was received. What did not fit into the buffer was read and thrown away. */
struct packet {
	uint8_t type;
	uint16_t id;          /* of a PUBACK */
	const char *topic;    /* of a PUBLISH; topic_n bytes, not ended by a zero */
	size_t topic_n;
	const uint8_t *body;
	size_t body_n, lost_n; /* bytes in the buffer, and bytes thrown away */
	uint8_t retain;
};

struct mqtt {
	uint8_t rx[640]; /* the largest manifest that can be read, with its topic */
	uint8_t tx[320]; /* the largest message that can be sent, with its topic */
};

/* Each returns 0, or -1 when the connection is of no use any more. */
int mqtt_connect(struct mqtt *m, const char *user, const char *password, uint16_t keepalive_s);
int mqtt_subscribe(struct mqtt *m, const char *user, const char *channel);
int mqtt_ping(void);
/* mqtt_publish sends what mqtt_body was given; id 0 is QoS 0. */
int mqtt_publish(struct mqtt *m, const char *user, const char *channel, uint16_t id, size_t body_n);
/* mqtt_body is where a message's body is to be put before mqtt_publish, and how much room there is. */
uint8_t *mqtt_body(struct mqtt *m, const char *user, const char *channel, uint16_t id, size_t *room);
/* mqtt_receive waits for a packet; 1: there is one, 0: timeout. */
int mqtt_receive(struct mqtt *m, struct packet *p, uint32_t timeout_ms);
/* mqtt_channel returns what follows the device's own part of a topic, or 0. */
const char *mqtt_channel(const struct packet *p, const char *user, size_t *n);

#endif
