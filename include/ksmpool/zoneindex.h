/*
 * zoneindex.h - which zone is on which policy, and whose it is.
 *
 * Runs in: ksmpool-config makes it; ksmpoold searches it (base), and keeps a
 *          copy for a start at which the lists cannot be read (zonefile.h).
 * Owns:    a sealed memfd, which travels with the settings (msg_conf.h); the
 *          descriptor stays its holder's. An open index owns its mapping.
 * Blocks:  never: it is memory, shared by both and touched where it is
 *          searched.
 * Bounds:  4 GiB of names. A million zones take some 40 MB.
 *
 * It comes from another process, so nothing in it is believed: every step
 * stays inside the mapping, and what does not hold together is KSM_EPROTO.
 */
#ifndef KSMPOOL_ZONEINDEX_H
#define KSMPOOL_ZONEINDEX_H

#include "ksmpool/err.h"

struct zoneindex;

/* ---- making one ------------------------------------------------------ */

struct zoneindex_zone {
	const uint8_t *name; /* as dnsname_parse gives it; borrowed */
	size_t len;
	/* Where its name stands, plus 1; 0: none. */
	uint32_t policy; /* none: the owner file alone names the zone */
	uint32_t owner;
};

/* Names one after another, each with its NUL, which counts. */
struct zoneindex_names {
	const char *text;
	size_t bytes;
};

/* All zones, each once and in any order. */
struct zoneindex_source {
	size_t zones;
	size_t name_bytes; /* of all zones */
	struct zoneindex_names policies, owners;
	void (*next)(void *ctx, struct zoneindex_zone *out);
	void *ctx;
};

/* *fd is CLOEXEC and sealed. KSM_EREFUSED: too many names, with numbers. */
enum ksm_err zoneindex_make(const struct zoneindex_source *from, int *fd,
    struct ksm_fail *fail);
/* One that was copied elsewhere, again; zoneindex_open says if it is one. */
enum ksm_err zoneindex_again(const void *bytes, size_t len, int *fd,
    struct ksm_fail *fail);

/* ---- searching one --------------------------------------------------- */

/* Names, good until zoneindex_close; NULL: none. */
struct zone_found {
	const char *policy; /* none: it is not in the zone list (yet) */
	const char *owner;
};

/* KSM_EPROTO: not an index, not sealed, or damaged. `fd` stays the caller's. */
enum ksm_err zoneindex_open(int fd, struct zoneindex **out,
    struct ksm_fail *fail);
void zoneindex_close(struct zoneindex *zi);

size_t zoneindex_zones(const struct zoneindex *zi);
/* All of it, to be kept. */
const void *zoneindex_bytes(const struct zoneindex *zi, size_t *len);

/*
 * A zone by its name as text. KSM_ENOENT: neither in the list nor in the owner
 * file. KSM_EREFUSED: not the name of a zone, with words. KSM_EPROTO: the index
 * is damaged there.
 */
enum ksm_err zoneindex_find(const struct zoneindex *zi, const char *zone,
    struct zone_found *out, struct ksm_fail *fail);

#endif
