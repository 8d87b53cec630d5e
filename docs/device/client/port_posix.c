/* A port for a desk: TCP sockets, a folder as flash, and openssl for the signature. It is no part of the 2 KiB. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "fleet.h"

_Static_assert(sizeof(struct device) <= 1280, "the rest of the 2 KiB is for the stack");

static struct device device;
static const char *host, *service, *author;
static char **arguments;
static int connection = -1;

const uint32_t port_slot_size = 64u << 20;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

int port_connect(void)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
	if (getaddrinfo(host, service, &hints, &found) != 0)
		return -1;
	connection = socket(found->ai_family, SOCK_STREAM, 0);
	int r = connection < 0 ? -1 : connect(connection, found->ai_addr, found->ai_addrlen);
	freeaddrinfo(found);
	return r;
}

void port_disconnect(void)
{
	if (connection >= 0)
		close(connection);
	connection = -1;
}

int port_send(const void *data, size_t n)
{
	for (const char *at = data; n > 0;) {
		ssize_t sent = send(connection, at, n, MSG_NOSIGNAL);
		if (sent <= 0)
			return -1;
		at += sent, n -= (size_t)sent;
	}
	return 0;
}

int port_receive(void *data, size_t n, uint32_t timeout_ms)
{
	struct pollfd p = {.fd = connection, .events = POLLIN};
	int ready = poll(&p, 1, (int)timeout_ms);
	if (ready == 0 || (ready < 0 && errno == EINTR))
		return 0;
	ssize_t got = ready < 0 ? -1 : recv(connection, data, n, 0);
	return got <= 0 ? -1 : (int)got;
}

uint32_t port_millis(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint32_t)((uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000);
}

uint32_t port_random(void) { return (uint32_t)rand(); }

void port_sleep(uint32_t ms)
{
	struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
	nanosleep(&t, NULL);
}

/* write_file replaces a file in one step. */
static int write_file(const char *name, const void *data, size_t n)
{
	FILE *f = fopen("new", "wb");
	int ok = f && fwrite(data, 1, n, f) == n && fflush(f) == 0 && fsync(fileno(f)) == 0;
	if (f)
		ok = fclose(f) == 0 && ok;
	return ok && rename("new", name) == 0 ? 0 : -1;
}

void port_load(struct nv *nv)
{
	FILE *f = fopen("nv", "rb");
	if (!f || fread(nv, sizeof *nv, 1, f) != 1)
		memset(nv, 0, sizeof *nv);
	if (f)
		fclose(f);
}

void port_save(const struct nv *nv)
{
	if (write_file("nv", nv, sizeof *nv) != 0)
		die("save");
}

int port_slot_write(uint32_t at, const void *data, size_t n)
{
	FILE *f = fopen("slot", "r+b");
	if (!f)
		f = fopen("slot", "w+b");
	int ok = f && fseek(f, (long)at, SEEK_SET) == 0 && fwrite(data, 1, n, f) == n;
	if (f)
		ok = fclose(f) == 0 && ok;
	return ok ? 0 : -1;
}

static int read_at(const char *name, uint32_t at, void *data, size_t n)
{
	FILE *f = fopen(name, "rb");
	if (!f)
		return 0;
	size_t got = fseek(f, (long)at, SEEK_SET) == 0 ? fread(data, 1, n, f) : 0;
	fclose(f);
	return (int)got;
}

/* An older, longer payload may have left its end in the slot. */
int port_slot_read(uint32_t at, void *data, size_t n)
{
	uint32_t left = at < device.nv.size ? device.nv.size - at : 0;
	return read_at("slot", at, data, n < left ? n : left);
}

int port_image_read(uint32_t at, void *data, size_t n) { return read_at("image", at, data, n); }

int port_install(uint32_t size)
{
	char *all = malloc(size);
	int ok = all && read_at("slot", 0, all, size) == (int)size && write_file("image", all, size) == 0;
	free(all);
	return ok ? 0 : -1;
}

void port_reboot(void)
{
	execv(arguments[0], arguments);
	die("reboot");
}

/* put_integer writes an unsigned 32-byte integer as ASN.1 INTEGER. */
static size_t put_integer(uint8_t *at, const uint8_t v[32])
{
	size_t skip = 0;
	while (skip < 31 && v[skip] == 0)
		skip++;
	size_t zero = v[skip] >> 7, n = 32 - skip;
	at[0] = 2, at[1] = (uint8_t)(n + zero), at[2] = 0;
	memcpy(at + 2 + zero, v + skip, n);
	return 2 + zero + n;
}

int port_verify(const uint8_t hash[32], const uint8_t signature[64])
{
	uint8_t der[2 + 2 * 35] = {0x30};
	size_t n = put_integer(der + 2, signature);
	n += put_integer(der + 2 + n, signature + 32);
	der[1] = (uint8_t)n;
	if (write_file("hash", hash, 32) != 0 || write_file("signature", der, n + 2) != 0 || setenv("AUTHOR", author, 1) != 0)
		return 0;
	return system("openssl pkeyutl -verify -pubin -inkey \"$AUTHOR\" -in hash -sigfile signature >openssl.log 2>&1") == 0;
}

static void parse_uuid(const char *text, uint8_t id[16])
{
	int n = 0;
	for (; n < 32 && *text; text++) {
		if (*text == '-')
			continue;
		char pair[3] = {text[0], text[1], 0};
		id[n / 2] = (uint8_t)strtol(pair, NULL, 16);
		n += 2, text++;
	}
	if (n != 32 || *text) {
		fprintf(stderr, "not a UUID\n");
		exit(2);
	}
}

int main(int argc, char **argv)
{
	if (argc != 8) {
		fprintf(stderr, "usage: %s HOST PORT TENANT/DEVICE TOKEN VENDOR_UUID CLASS_UUID AUTHOR_PUBLIC_KEY_PEM\n"
				"Its flash is the folder that it is started in; the file \"image\" is what it runs.\n", argv[0]);
		return 2;
	}
	arguments = argv;
	host = argv[1], service = argv[2], author = argv[7];
	device.id.user = argv[3];
	device.id.token = argv[4];
	if (!strchr(argv[3], '/')) {
		fprintf(stderr, "user: want TENANT/DEVICE\n");
		return 2;
	}
	parse_uuid(argv[5], device.id.vendor);
	parse_uuid(argv[6], device.id.class);
	srand((unsigned)getpid());
	fleet_run(&device);
	return 1;
}
