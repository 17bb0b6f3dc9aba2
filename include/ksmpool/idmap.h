/*
 * idmap.h - key ids seen in a token, with how many objects carry each.
 *
 * Runs in: ksmpoold, ksmpool-hsm (core: pure).
 * Owns:    its slots. Ids come from a token that may be hostile, so the hash
 *          is seeded: the caller brings a random seed.
 */
#ifndef KSMPOOL_IDMAP_H
#define KSMPOOL_IDMAP_H

#include <stdbool.h>

#include "ksmpool/key.h"

struct idmap_entry {
	struct key_id id;
	bool used;
	bool known; /* for the caller: there is a row for it */
	uint8_t privates, publics; /* objects with this id, at most 255 */
};

struct idmap {
	struct idmap_entry *slots;
	size_t size, count;
	uint64_t seed;
};

void idmap_init(struct idmap *m, uint64_t seed);
void idmap_clear(struct idmap *m);
/* Found or made; NULL: no memory. Good until the next put. */
struct idmap_entry *idmap_put(struct idmap *m, const struct key_id *id);
struct idmap_entry *idmap_find(const struct idmap *m, const struct key_id *id);
/* All entries in no order; *cursor starts at 0; NULL: no more. */
struct idmap_entry *idmap_next(const struct idmap *m, size_t *cursor);

#endif
