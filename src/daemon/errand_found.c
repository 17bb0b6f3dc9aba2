/*
 * errand_found.c - what an inventory finds: the objects that its worker saw,
 * put together by id and held against the rows.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "errand_parts.h"

#define SORT_IDS 5000 /* per turn of the loop */
#define ID_SEEN	 64   /* bytes of an id that are told */

struct sighting {
	uint8_t id[ID_SEEN];
	int64_t idlen;
	int64_t key_type, bits;
	enum object_class class;
	char *label; /* NULL: none, or the hex of its id */
	/* of the first with its id: what the record says */
	bool on_record, single, young;
	enum key_state state;
};

static const char *const sort_text[FOUND__COUNT] = {
	[FOUND_OURS] = "ours",
	[FOUND_MISSING] = "missing",
	[FOUND_HALF] = "half",
	[FOUND_DOUBLED] = "doubled",
	[FOUND_ORPHAN] = "orphan",
	[FOUND_ELSEWHERE] = "elsewhere",
	[FOUND_LEFT] = "left",
	[FOUND_FOREIGN] = "foreign",
	[FOUND_DEBRIS] = "debris",
	[FOUND_OTHER] = "other",
};

const char *
found_sort_text(enum found_sort s)
{
	return (unsigned)s < FOUND__COUNT ? sort_text[s] : "?";
}

void
sightings_clear(struct job *j)
{
	for (size_t i = 0; i < j->nsightings; i++)
		free(j->sightings[i].label);
	free(j->sightings);
	j->sightings = NULL;
	j->nsightings = j->asightings = 0;
}

static int
sighting_cmp(const void *a, const void *b)
{
	const struct sighting *x = a, *y = b;
	int d = memcmp(x->id, y->id, sizeof(x->id));

	if (d != 0)
		return d;
	return (x->idlen > y->idlen) - (x->idlen < y->idlen);
}

static bool
sighting_add(struct job *j, const struct hsm_object *o)
{
	struct sighting *s;
	size_t len = strlen(o->id) / 2;

	if (j->nsightings == j->asightings) {
		size_t want = j->asightings == 0 ? 256 : j->asightings * 2;
		void *p = reallocarray(j->sightings, want, sizeof(*s));

		if (p == NULL)
			return false;
		j->sightings = p;
		j->asightings = want;
	}
	s = &j->sightings[j->nsightings];
	*s = (struct sighting){ .idlen = o->idlen,
		.key_type = o->key_type,
		.bits = o->bits,
		.class = o->class,
		.state = KEY__STATES };
	if (len > sizeof(s->id) || !hex_parse(o->id, s->id, len))
		s->idlen = 0;
	if (o->label[0] != '\0' && strcmp(o->label, o->id) != 0 &&
	    (s->label = strdup(o->label)) == NULL)
		return false;
	j->nsightings++;
	return true;
}

bool
objects_note(struct job *j, const struct hsm_objects *page)
{
	bool ok = true;

	j->pages++;
	for (size_t i = 0; ok && i < page->nobjects; i++) {
		if (page->objects[i].debris)
			j->debris++;
		else if (j->errand->kind == ERRAND_INVENTORY)
			ok = sighting_add(j, &page->objects[i]);
	}
	return ok;
}

static bool
found_wanted(const struct errand *x, const struct errand_found *f)
{
	struct key_id id;

	if ((x->sorts & FOUND_BIT(f->sort)) == 0)
		return false;
	return x->only == NULL ||
	    (f->idlen == KEY_ID_LEN && key_id_parse(f->id, &id) &&
		bsearch(&id, x->only, x->nonly, sizeof(id), key_id_order) !=
		    NULL);
}

/* Those beyond FOUND_MOST are counted, and whoever asked is told. */
static bool
found_add(struct errand *x, const struct errand_found *f)
{
	if (!found_wanted(x, f))
		return true;
	if (x->state.nfound == FOUND_MOST) {
		x->state.cut = true;
		return true;
	}
	if (x->state.nfound == x->afound) {
		size_t want = x->afound == 0 ? 64 : x->afound * 2;
		void *p = reallocarray(x->found, want, sizeof(*x->found));

		if (p == NULL)
			return false;
		x->found = p;
		x->afound = want;
	}
	x->found[x->state.nfound++] = *f;
	return true;
}

/* The first object with that id; they are in order. */
static struct sighting *
sighting_find(struct job *j, const struct key_id *id)
{
	struct sighting want = { .idlen = KEY_ID_LEN };
	size_t low = 0, high = j->nsightings;

	memcpy(want.id, id->bytes, sizeof(id->bytes));
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (sighting_cmp(&j->sightings[middle], &want) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == j->nsightings || sighting_cmp(&j->sightings[low], &want) != 0)
		return NULL;
	return &j->sightings[low];
}

bool
row_compare(struct job *j, const struct store_brief *b)
{
	struct sighting *s = sighting_find(j, &b->id);
	struct errand_found f = { .sort = FOUND_MISSING,
		.idlen = KEY_ID_LEN,
		.key_type = -1,
		.on_record = true,
		.state = b->state };
	/* Being made, settled or verified while we looked. */
	bool young = b->serial == 0 || b->serial > j->serial_limit;

	if (s != NULL) {
		s->on_record = true;
		s->state = b->state;
		s->single = b->single;
		s->young = young && b->state != KEY_GONE;
		return true;
	}
	if (young || b->state == KEY_DESTROYING ||
	    (!key_state_living(b->state) && b->state != KEY_MISSING))
		return true;
	key_id_format(&b->id, f.id);
	j->errand->state.counts[FOUND_MISSING]++;
	return found_add(j->errand, &f);
}

static enum found_sort
found_sort(const struct repo *r, const struct sighting *s,
    const struct errand_found *f, const uint8_t tag[KEY_TAG_LEN])
{
	bool ours = s->on_record ||
	    (s->idlen == KEY_ID_LEN && memcmp(s->id, tag, KEY_TAG_LEN) == 0);
	bool single = s->on_record ? s->single
				   : r->conf != NULL && r->conf->skip_public_key &&
		f->key_type == 0; /* CKK_RSA */

	/* A certificate with its id is no key. */
	if (f->privates + f->publics == 0)
		return s->on_record && !s->young &&
			s->state != KEY_DESTROYING &&
			(key_state_living(s->state) || s->state == KEY_MISSING)
		    ? FOUND_MISSING
		    : FOUND_OTHER;
	if (!ours)
		return FOUND_FOREIGN;
	if (s->young)
		return FOUND_OURS;
	if (f->privates > 1 || f->publics > 1)
		return FOUND_DOUBLED;
	if (f->privates == 0 || (f->publics == 0 && !single))
		return FOUND_HALF;
	if (!s->on_record)
		return FOUND_ORPHAN;
	if (key_state_living(s->state) || s->state == KEY_MISSING)
		return FOUND_OURS;
	return FOUND_LEFT;
}

/* An id that no row of this repository has may be one of another's. */
static enum found_sort
orphan_sort(struct engine *e, struct errand_found *f)
{
	struct store_key *key = calloc(1, sizeof(*key));
	enum found_sort sort = FOUND_ORPHAN;
	struct ksm_fail fail;
	struct key_id id;

	if (key != NULL && key_id_parse(f->id, &id) &&
	    store_key_get(e->store, &id, key, &fail) == KSM_OK) {
		sort = FOUND_ELSEWHERE;
		f->on_record = true;
		f->state = key->state;
	}
	free(key);
	return sort;
}

/* All objects with one id; *at is moved behind them. */
static bool
sightings_sort(struct engine *e, struct repo *r,
    const uint8_t tag[KEY_TAG_LEN], size_t *at)
{
	struct job *j = &r->job;
	const struct sighting *first = &j->sightings[*at], *s = first;
	struct errand_found f = { .idlen = first->idlen,
		.key_type = first->key_type,
		.bits = first->bits,
		.on_record = first->on_record,
		.state = first->state };
	size_t len = first->idlen > ID_SEEN ? ID_SEEN : (size_t)first->idlen;

	hex_format(first->id, len, f.id);
	do {
		f.privates += s->class == OBJECT_PRIVATE;
		f.publics += s->class == OBJECT_PUBLIC;
		f.others += s->class != OBJECT_PRIVATE &&
		    s->class != OBJECT_PUBLIC;
		if (f.bits == 0)
			f.bits = s->bits;
		if (f.label[0] == '\0' && s->label != NULL)
			(void)snprintf(f.label, sizeof(f.label), "%s",
			    s->label);
		++*at;
		s++;
		/* Without an id nothing says that two belong together. */
	} while (first->idlen > 0 && *at < j->nsightings &&
	    sighting_cmp(first, s) == 0);
	f.sort = found_sort(r, first, &f, tag);
	if (!f.on_record && f.idlen == KEY_ID_LEN && f.sort != FOUND_OTHER &&
	    orphan_sort(e, &f) == FOUND_ELSEWHERE)
		f.sort = FOUND_ELSEWHERE;
	j->errand->state.counts[f.sort]++;
	return f.sort == FOUND_OURS || found_add(j->errand, &f);
}

void
sightings_order(struct job *j)
{
	if (j->nsightings > 0)
		qsort(j->sightings, j->nsightings, sizeof(*j->sightings),
		    sighting_cmp);
}

bool
sighting_has(struct job *j, const struct key_id *id)
{
	return sighting_find(j, id) != NULL;
}

static int
found_cmp(const void *a, const void *b)
{
	const struct errand_found *x = a, *y = b;

	return strcmp(x->id, y->id);
}

void
job_sort(struct engine *e, struct repo *r)
{
	struct job *j = &r->job;
	struct errand *x = j->errand;
	size_t at = (size_t)j->cursor, stop = at + SORT_IDS;
	uint8_t tag[KEY_TAG_LEN];

	store_tag_get(e->store, tag);
	while (at < j->nsightings && at < stop)
		if (!sightings_sort(e, r, tag, &at)) {
			errand_end(e, r, "no memory for what was found");
			return;
		}
	j->cursor = (int64_t)at;
	if (at < j->nsightings)
		return;
	for (int64_t i = 0; i < j->debris; i++) {
		struct errand_found f = { .sort = FOUND_DEBRIS,
			.others = 1,
			.key_type = -1 };

		if (!found_add(x, &f)) {
			errand_end(e, r, "no memory for what was found");
			return;
		}
	}
	x->state.counts[FOUND_DEBRIS] = j->debris;
	r->nameless = j->debris;
	if (x->state.nfound > 0)
		qsort(x->found, x->state.nfound, sizeof(*x->found), found_cmp);
	errand_end(e, r, NULL);
}
