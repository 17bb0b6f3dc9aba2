/*
 * batch.c - the clocks and the store as the engine uses them: results wait
 * for a common commit, and a failure of the store starts recovery.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_parts.h"

ksm_time
engine_wall(struct engine *e)
{
	return e->io.wall(e->io.ctx);
}

ksm_msec
engine_steady(struct engine *e)
{
	return e->io.steady(e->io.ctx);
}

bool
batch_stored(struct engine *e, enum ksm_err err, const struct ksm_fail *fail,
    const char *doing)
{
	uint32_t dice;

	if (err == KSM_OK)
		return true;
	if (err == KSM_ENOENT || err == KSM_EREFUSED) {
		log_warning("%s: %s; nothing was changed", doing,
		    err == KSM_EREFUSED
			? fail->text
			: "the row is not in that state any more");
		return false;
	}
	log_error("%s: %s; nothing since the last commit was kept, generation "
		  "stops until the database works and keys are settled",
	    doing, fail->text);
	(void)store_batch_lost(e->store);
	e->recover = true;
	e->tallies_old = true;
	e->batch_since = 0;
	e->batch_results = 0;
	e->io.random(e->io.ctx, &dice, sizeof(dice));
	backoff_fail(&e->store_backoff, engine_steady(e), dice);
	return false;
}

bool
batch_commit(struct engine *e)
{
	struct ksm_fail fail;

	e->batch_since = 0;
	e->batch_results = 0;
	if (!store_batch_open(e->store))
		return true;
	return batch_stored(e, store_commit(e->store, &fail), &fail, "commit");
}

void
batch_noted(struct engine *e)
{
	if (e->batch_since == 0)
		e->batch_since = engine_steady(e);
	e->batch_results++;
}

void
batch_commit_due(struct engine *e, ksm_msec *wait)
{
	ksm_msec age;

	if (!store_batch_open(e->store))
		return;
	if (e->batch_since == 0)
		e->batch_since = engine_steady(e);
	age = engine_steady(e) - e->batch_since;
	if (age >= COMMIT_MS || e->batch_results >= COMMIT_RESULTS ||
	    !repo_any_busy(e))
		(void)batch_commit(e);
	else if (COMMIT_MS - age < *wait)
		*wait = COMMIT_MS - age;
}
