#include "ksmpool/idmap.h"

#include <stdlib.h>
#include <string.h>

void
idmap_init(struct idmap *m, uint64_t seed)
{
	*m = (struct idmap){ .seed = seed };
}

void
idmap_clear(struct idmap *m)
{
	free(m->slots);
	*m = (struct idmap){ .seed = m->seed };
}

/* The finaliser of MurmurHash3 over both halves; seeded, see idmap.h. */
static uint64_t
hash(const struct idmap *m, const struct key_id *id)
{
	uint64_t a, b;

	memcpy(&a, id->bytes, sizeof(a));
	memcpy(&b, id->bytes + sizeof(a), sizeof(b));
	a ^= m->seed;
	a = (a ^ (a >> 33)) * 0xff51afd7ed558ccdULL;
	a ^= b;
	a = (a ^ (a >> 33)) * 0xc4ceb9fe1a85ec53ULL;
	return a ^ (a >> 33);
}

static struct idmap_entry *
slot_of(struct idmap_entry *slots, size_t size, uint64_t h,
    const struct key_id *id)
{
	size_t i = (size_t)h & (size - 1);

	while (slots[i].used && key_id_cmp(&slots[i].id, id) != 0)
		i = (i + 1) & (size - 1);
	return &slots[i];
}

static enum ksm_err
grow(struct idmap *m)
{
	size_t size = m->size == 0 ? 64 : m->size * 2;
	struct idmap_entry *slots = calloc(size, sizeof(*slots));

	if (slots == NULL)
		return KSM_ENOMEM;
	for (size_t i = 0; i < m->size; i++)
		if (m->slots[i].used)
			*slot_of(slots, size, hash(m, &m->slots[i].id),
			    &m->slots[i].id) = m->slots[i];
	free(m->slots);
	m->slots = slots;
	m->size = size;
	return KSM_OK;
}

struct idmap_entry *
idmap_put(struct idmap *m, const struct key_id *id)
{
	struct idmap_entry *e;

	if (m->count * 4 >= m->size * 3 && grow(m) != KSM_OK)
		return NULL;
	e = slot_of(m->slots, m->size, hash(m, id), id);
	if (!e->used) {
		*e = (struct idmap_entry){ .id = *id, .used = true };
		m->count++;
	}
	return e;
}

struct idmap_entry *
idmap_find(const struct idmap *m, const struct key_id *id)
{
	struct idmap_entry *e;

	if (m->size == 0)
		return NULL;
	e = slot_of(m->slots, m->size, hash(m, id), id);
	return e->used ? e : NULL;
}

struct idmap_entry *
idmap_next(const struct idmap *m, size_t *cursor)
{
	while (*cursor < m->size) {
		struct idmap_entry *e = &m->slots[(*cursor)++];

		if (e->used)
			return e;
	}
	return NULL;
}
