/*
 * nametable.h - names, each once, and a few bytes beside each.
 *
 * Runs in: ksmpool-config only.
 * Owns:    its memory; a million names of 20 bytes take some 50 MB.
 * Bounds:  names of 1 to 255 bytes, 4 GiB in all.
 *
 * A name is known by where it stands, from 1 on; 0 is none. In `bytes` it
 * follows its head and a byte that says how long it is, and a NUL follows it.
 */
#ifndef KSMPOOL_CONFIG_NAMETABLE_H
#define KSMPOOL_CONFIG_NAMETABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nametable {
	size_t head; /* bytes beside each name, the user's */
	uint8_t *bytes;
	size_t used, size;
	struct nametable_slot *slots;
	size_t nslots, n;
	uint64_t seed; /* of the hash, so that no file can make it collide */
};

void nametable_init(struct nametable *t, size_t head);
void nametable_clear(struct nametable *t);

/*
 * Where the name stands. When it is new it is put there, and its head is
 * zeros. 0: no memory, or beyond the bounds.
 */
uint32_t nametable_put(struct nametable *t, const void *name, size_t len,
    bool *added);

/* The head, unaligned: copy it. Good until the next nametable_put. */
void *nametable_head(const struct nametable *t, uint32_t at);
const uint8_t *nametable_name(const struct nametable *t, uint32_t at,
    size_t *len);
/* The first after `at`, 0 for the first of all; 0: there is none. */
uint32_t nametable_next(const struct nametable *t, uint32_t at);

#endif
