/*
 * zoneindex.h - which zone is on which policy, and whose it is.
 *
 * Runs in: ksmpool-config makes it; ksmpoold searches it (base).
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

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ksmpool/err.h"

struct zoneindex;

/* ---- making one ------------------------------------------------------ */

/* On no policy: a zone that is not in the list yet, and has an owner. */
#define ZONEINDEX_UNLISTED UINT32_MAX

struct zoneindex_zone {
	const uint8_t *name; /* as dnsname_parse gives it; borrowed */
	size_t len;
	uint32_t policy;     /* its position in conf.policies, or UNLISTED */
	uint32_t owner;	     /* where its name stands, plus 1; 0: none */
};

/* All zones, each once and in any order. */
struct zoneindex_source {
	size_t zones;
	size_t name_bytes;  /* of all zones */
	uint32_t policies;  /* every listed zone's is below */
	const char *owners; /* names one after another, each with its NUL */
	size_t owner_bytes; /* with the NULs */
	void (*next)(void *ctx, struct zoneindex_zone *out);
	void *ctx;
};

/* *fd is CLOEXEC and sealed. KSM_EREFUSED: too many names, with numbers. */
enum ksm_err zoneindex_make(const struct zoneindex_source *from, int *fd,
    struct ksm_fail *fail);

/* ---- searching one --------------------------------------------------- */

struct zone_found {
	bool listed;	   /* it is in the zone list, not of an owner alone */
	size_t policy;	   /* its position in conf.policies, when listed */
	const char *owner; /* NULL: none; good until zoneindex_close */
};

/* KSM_EPROTO: not an index, not sealed, or damaged. `fd` stays the caller's. */
enum ksm_err zoneindex_open(int fd, struct zoneindex **out,
    struct ksm_fail *fail);
void zoneindex_close(struct zoneindex *zi);

/* Zones in it, and policies: zone_found.policy is below that number. */
size_t zoneindex_zones(const struct zoneindex *zi);
size_t zoneindex_policies(const struct zoneindex *zi);

/*
 * A zone by its name as text. KSM_ENOENT: neither listed nor with an owner. KSM_EREFUSED:
 * not the name of a zone, with words. KSM_EPROTO: the index is damaged there.
 */
enum ksm_err zoneindex_find(const struct zoneindex *zi, const char *zone,
    struct zone_found *out, struct ksm_fail *fail);

#endif
