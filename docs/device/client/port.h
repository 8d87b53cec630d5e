/* What the client needs of its platform. port_posix.c is one for a desk; yours is sockets or a modem, a flash driver,
 * a clock, and the signature check of your crypto library, ROM or secure element. */
#ifndef PORT_H
#define PORT_H

#include <stddef.h>
#include <stdint.h>

/* What must survive a loss of power, besides the image and the slot. Written whole, old or new, never half. */
struct nv {
	uint32_t seq_limit; /* message numbers up to this one may have been used */
	uint32_t boot;
	uint32_t sequence;     /* of the manifest of the image that runs */
	uint8_t manifest[32];  /* digest of the manifest in work, or the last one that ended */
	uint8_t payload[32];   /* what that manifest installs */
	uint32_t size;         /* of the payload, bytes */
	uint32_t new_sequence; /* of that manifest */
	uint32_t stored;       /* chunks in the slot, without a gap */
	uint8_t stage, reason;
};

int port_connect(void);                                          /* 0: connected */
void port_disconnect(void);
int port_send(const void *data, size_t n);                       /* all of it, or an error */
int port_receive(void *data, size_t n, uint32_t timeout_ms);     /* bytes read, 0 on timeout, -1 when closed */
uint32_t port_millis(void);
uint32_t port_random(void);
void port_sleep(uint32_t ms);

void port_load(struct nv *nv); /* zeroes at the first boot */
void port_save(const struct nv *nv);

extern const uint32_t port_slot_size;                            /* room for a payload, bytes */
int port_slot_write(uint32_t at, const void *data, size_t n);    /* 0: written */
int port_slot_read(uint32_t at, void *data, size_t n);           /* bytes read; less than n at the end */
int port_image_read(uint32_t at, void *data, size_t n);          /* of the image that runs; 0 bytes past its end */
int port_install(uint32_t size);                                 /* the slot is what boots next; 0: done */
void port_reboot(void);

/* port_verify says whether signature (r and s, 32 bytes each) is the author's over a SHA-256: ECDSA on P-256. */
int port_verify(const uint8_t hash[32], const uint8_t signature[64]);

#endif
