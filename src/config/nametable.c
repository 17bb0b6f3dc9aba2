#include "nametable.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "ksmpool/hash.h"

struct nametable_slot {
	uint32_t hash;
	uint32_t at; /* 0: free */
};

void
nametable_init(struct nametable *t, size_t head)
{
	memset(t, 0, sizeof(*t));
	t->head = head;
	if (getrandom(&t->seed, sizeof(t->seed), GRND_NONBLOCK) == -1)
		t->seed = (uint64_t)(uintptr_t)t;
}

void
nametable_clear(struct nametable *t)
{
	free(t->bytes);
	free(t->slots);
	memset(t, 0, sizeof(*t));
}

static bool
slots_grow(struct nametable *t)
{
	size_t n = t->nslots == 0 ? 1024 : t->nslots * 2;
	struct nametable_slot *slots = calloc(n, sizeof(*slots));

	if (slots == NULL)
		return false;
	for (size_t i = 0; i < t->nslots; i++) {
		size_t at = t->slots[i].hash & (n - 1);

		if (t->slots[i].at == 0)
			continue;
		while (slots[at].at != 0)
			at = (at + 1) & (n - 1);
		slots[at] = t->slots[i];
	}
	free(t->slots);
	t->slots = slots;
	t->nslots = n;
	return true;
}

static bool
bytes_room(struct nametable *t, size_t want)
{
	size_t size = t->size == 0 ? 65536 : t->size * 2;
	uint8_t *grown;

	if (t->size - t->used >= want)
		return true;
	if (size >= UINT32_MAX)
		size = UINT32_MAX - 1;
	if (size - t->used < want)
		return false;
	grown = realloc(t->bytes, size);
	if (grown == NULL)
		return false;
	t->bytes = grown;
	t->size = size;
	return true;
}

void *
nametable_head(const struct nametable *t, uint32_t at)
{
	return t->bytes + at - 1;
}

const uint8_t *
nametable_name(const struct nametable *t, uint32_t at, size_t *len)
{
	const uint8_t *name = t->bytes + at - 1 + t->head;

	*len = name[0];
	return name + 1;
}

uint32_t
nametable_next(const struct nametable *t, uint32_t at)
{
	size_t next = 0, len;

	if (at != 0) {
		(void)nametable_name(t, at, &len);
		next = at - 1 + t->head + 1 + len + 1;
	}
	return next < t->used ? (uint32_t)next + 1 : 0;
}

uint32_t
nametable_put(struct nametable *t, const void *name, size_t len, bool *added)
{
	uint32_t hash = (uint32_t)hash_bytes(t->seed, name, len);
	const uint8_t *have;
	size_t i, n;
	uint8_t *p;

	if (len == 0 || len > UINT8_MAX)
		return 0;
	if ((t->n + 1) * 4 > t->nslots * 3 && !slots_grow(t))
		return 0;
	i = hash & (t->nslots - 1);
	for (; t->slots[i].at != 0; i = (i + 1) & (t->nslots - 1)) {
		if (t->slots[i].hash != hash)
			continue;
		have = nametable_name(t, t->slots[i].at, &n);
		if (n != len || memcmp(have, name, len) != 0)
			continue;
		*added = false;
		return t->slots[i].at;
	}
	if (!bytes_room(t, t->head + 1 + len + 1))
		return 0;
	p = t->bytes + t->used;
	memset(p, 0, t->head);
	p[t->head] = (uint8_t)len;
	memcpy(p + t->head + 1, name, len);
	p[t->head + 1 + len] = '\0';
	t->slots[i].hash = hash;
	t->slots[i].at = (uint32_t)t->used + 1;
	t->used += t->head + 1 + len + 1;
	t->n++;
	*added = true;
	return t->slots[i].at;
}
