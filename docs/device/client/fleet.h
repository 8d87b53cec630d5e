/* A device of the fleet in less than 2 KiB of RAM. All of its state is one struct device, which is static. */
#ifndef FLEET_H
#define FLEET_H

#include "mqtt.h"
#include "port.h"

enum { CHUNK = 256, WINDOW = 8 }; /* bytes; chunks of a fetch, a bit each in device.got */

/* What never changes while a device lives. */
struct identity {
	const char *user; /* TENANT/DEVICE */
	const char *token;
	uint8_t vendor[16], class[16];
};

struct device {
	struct mqtt mqtt;
	struct identity id;
	struct nv nv;
	uint32_t seq;          /* of the last message */
	uint8_t image[32];     /* digest of the image that runs, as measured at boot */
	uint8_t report, sent;  /* the state to tell, 0 for none; whether it is under way */
	uint16_t packet;       /* its packet identifier */
	uint8_t got, tries;    /* chunks of the window that are stored; fetches in a row that brought nothing */
	uint32_t fetches;      /* since the boot: the number of the one under way */
	uint32_t due, heard, pinged; /* times, ms: of the next fetch, of the last packet, of the last ping */
};

/* fleet_run is the device's life; it returns only when it has rebooted. */
void fleet_run(struct device *d);

#endif
