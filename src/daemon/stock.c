/*
 * stock.c - how many keys of each pool are in which state, and what that means
 * for the plan.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_parts.h"
#include "store_backup.h"

struct tally *
stock_tally(struct engine *e, int64_t pool_row)
{
	for (size_t i = 0; i < e->ntallies; i++)
		if (e->tallies[i].row == pool_row)
			return &e->tallies[i];
	return NULL;
}

static struct tally *
tally_add(struct engine *e, int64_t pool_row, const char *repository)
{
	struct tally *t = stock_tally(e, pool_row);

	if (t != NULL)
		return t;
	t = reallocarray(e->tallies, e->ntallies + 1, sizeof(*t));
	if (t == NULL)
		return NULL;
	e->tallies = t;
	t = &e->tallies[e->ntallies++];
	*t = (struct tally){ .row = pool_row };
	(void)snprintf(t->repository, sizeof(t->repository), "%s", repository);
	return t;
}

static void
count_one(void *ctx, int64_t pool_row, const struct pool_spec *spec,
    enum key_state state, int64_t n)
{
	struct tally *t = tally_add(ctx, pool_row, spec->repository);

	if (t != NULL)
		t->n[state] += n;
}

void
stock_moved(struct engine *e, int64_t pool_row, enum key_state from,
    enum key_state to)
{
	struct tally *t = stock_tally(e, pool_row);

	if (t == NULL) {
		e->tallies_old = true;
		return;
	}
	/* Which keys are covered only the store knows. */
	if (from == KEY_READY || to == KEY_READY)
		e->covers_old = true;
	if (from != KEY__STATES)
		t->n[from]--;
	if (to != KEY__STATES)
		t->n[to]++;
	e->levels_old = true;
}

static void
cover_one(void *ctx, int64_t pool_row, const struct pool_spec *spec,
    enum key_state state, int64_t covered, int64_t uncovered)
{
	struct tally *t = tally_add(ctx, pool_row, spec->repository);

	(void)uncovered;
	if (t != NULL && state == KEY_READY)
		t->covered = covered;
}

/* False: the store failed; levels stay as they were. */
static bool
covers_count(struct engine *e)
{
	struct ksm_fail fail;

	for (size_t i = 0; i < e->ntallies; i++)
		e->tallies[i].covered = 0;
	if (!batch_stored(e,
		store_cover_counts(e->store, cover_one, e, &fail), &fail,
		"count keys with a backup"))
		return false;
	e->covers_old = false;
	e->levels_old = true;
	return true;
}

/* Bring stock, deficits and levels of the plan up to date. */
void
stock_levels(struct engine *e)
{
	struct ksm_fail fail;
	int64_t *held;

	if (e->tallies_old) {
		for (size_t i = 0; i < e->ntallies; i++)
			memset(e->tallies[i].n, 0, sizeof(e->tallies[i].n));
		if (!batch_stored(e,
			store_counts(e->store, count_one, e, &fail), &fail,
			"count keys"))
			return;
		e->tallies_old = false;
		e->covers_old = e->levels_old = true;
	}
	if (e->covers_old && !covers_count(e))
		return;
	if (!e->levels_old)
		return;
	for (size_t i = 0; i < e->plan.npools; i++) {
		const struct tally *t = stock_tally(e, e->runs[i].row);

		for (int s = 0; s < KEY__STATES; s++)
			plan_stock_set(&e->plan.pools[i], s,
			    t == NULL ? 0 : t->n[s]);
		plan_cover_set(&e->plan.pools[i], t == NULL ? 0 : t->covered);
	}
	held = calloc(e->plan.ntokens + 1, sizeof(*held));
	if (held == NULL)
		return;
	for (size_t i = 0; i < e->ntallies; i++)
		for (size_t k = 0; k < e->plan.ntokens; k++)
			if (strcmp(e->tallies[i].repository,
				e->plan.tokens[k].repository->name) == 0)
				for (int s = 0; s < KEY__STATES; s++)
					if (key_state_living(s) ||
					    s == KEY_INTENDED ||
					    s == KEY_UNKNOWN)
						held[k] += e->tallies[i].n[s];
	/* Capacity is the token's: pairs of others take room, too. */
	for (size_t k = 0; k < e->plan.ntokens; k++) {
		const struct repo *r = repo_find(e,
		    e->plan.tokens[k].repository->name);

		if (r != NULL)
			held[k] += r->foreign + r->orphans;
	}
	plan_level(&e->plan, held);
	free(held);
	e->levels_old = false;
}
