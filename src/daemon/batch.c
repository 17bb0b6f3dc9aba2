/*
 * batch.c - the clocks and the store as the engine uses them: results wait
 * for a common commit, and a failure of the store starts recovery.
 *
 * Four things can be wrong with the database, and they end differently:
 *
 *   locked    another program writes. Nothing is lost: results are kept, and
 *             written when it lets go.
 *   failed    a batch was rolled back: settled as after a restart.
 *   gone      its name is no more: we hold the only copy and put it back.
 *   dead      replaced by another file, or damaged: only a human can say
 *             which is the right one, so nothing is done until a restart.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_parts.h"

#define BUSY_MS 1000

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

void
engine_busy(struct engine *e)
{
	ksm_msec now = engine_steady(e);

	if (e->io.busy == NULL || now < e->busy_at)
		return;
	e->busy_at = now + BUSY_MS;
	e->io.busy(e->io.ctx);
}

static void
batch_dead(struct engine *e, const char *why)
{
	e->recover = true;
	e->batch_since = 0;
	e->batch_results = 0;
	if (store_batch_open(e->store))
		store_rollback(e->store);
	if (e->dead)
		return;
	e->dead = true;
	(void)snprintf(e->store_why, sizeof(e->store_why), "%s", why);
	log_error("%s; no key is made and nothing is looked at until then, "
		  "keys in the tokens are as they were", why);
}

static bool
batch_damaged(struct engine *e)
{
	if (!store_damaged(e->store))
		return false;
	batch_dead(e, "the database is damaged: restore it from a backup and "
		      "restart ksmpoold");
	return true;
}

/* Nothing was changed, on disk or in memory: another program writes. */
static void
batch_locked(struct engine *e, const char *doing, const char *why)
{
	if (e->locked_since == 0)
		log_warning("%s: %s; results wait and nothing new is begun "
			    "until the database can be written",
		    doing, why);
	if (e->locked_since == 0)
		e->locked_since = engine_steady(e);
	e->locked_at = engine_steady(e) + LOCKED_MS;
	e->recover = true;
}

bool
batch_stored(struct engine *e, enum ksm_err err, const struct ksm_fail *fail,
    const char *doing)
{
	struct ksm_fail begin;
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
	e->tallies_old = true;
	if (e->dead || batch_damaged(e))
		return false;
	(void)snprintf(e->store_why, sizeof(e->store_why), "%.255s",
	    fail->text);
	if (!store_batch_lost(e->store) && !store_batch_open(e->store) &&
	    store_begin(e->store, &begin) != KSM_OK && !batch_damaged(e)) {
		batch_locked(e, doing, fail->text);
		return false;
	}
	if (e->dead)
		return false;
	log_error("%s: %s; nothing since the last commit was kept, generation "
		  "stops until the database works and keys are settled",
	    doing, fail->text);
	e->recover = e->lost = true;
	e->batch_since = 0;
	e->batch_results = 0;
	e->io.random(e->io.ctx, &dice, sizeof(dice));
	backoff_fail(&e->store_backoff, engine_steady(e), dice);
	return false;
}

bool
batch_ready(struct engine *e)
{
	struct ksm_fail fail;

	if (e->recover)
		return false;
	return store_batch_open(e->store) ||
	    batch_stored(e, store_begin(e->store, &fail), &fail, "begin");
}

enum ksm_err
batch_may(struct engine *e, struct ksm_fail *fail)
{
	char why[256];

	if (!engine_store_trouble(e, why))
		return KSM_OK;
	return ksm_failf(fail, KSM_ESTORE, "%s", why);
}

/* ---- the file under our feet ------------------------------------------- */

static bool
batch_put_back(struct engine *e)
{
	struct ksm_fail fail;
	uint32_t dice;

	if (store_put_back(e->store, &fail) == KSM_OK) {
		log_error("the file of the database was gone; it is written "
			  "again from what ksmpoold held of it. Find out who "
			  "removes it");
		e->gone = false;
		batch_history(e, ACTOR_DAEMON, "database put back", "",
		    "its file was gone");
		return true;
	}
	(void)snprintf(e->store_why, sizeof(e->store_why), "%.255s",
	    fail.text);
	if (!e->gone)
		log_error("the file of the database is gone and cannot be "
			  "written again: %s; nothing new is begun, and it is "
			  "tried again", fail.text);
	/* What was intended is not where a restart would find it. */
	e->gone = e->recover = e->lost = true;
	e->io.random(e->io.ctx, &dice, sizeof(dice));
	backoff_fail(&e->store_backoff, engine_steady(e), dice);
	return false;
}

/* False: it is not ours any more, or could not be put back. */
static bool
batch_place(struct engine *e, enum store_place place)
{
	switch (place) {
	case STORE_GONE:
		return batch_put_back(e);
	case STORE_REPLACED:
		batch_dead(e, "the database was replaced; restart ksmpoold to "
			      "use it");
		return false;
	case STORE_HERE:
		break;
	}
	return true;
}

void
batch_place_look(struct engine *e, ksm_msec *wait)
{
	ksm_msec now = engine_steady(e);

	if (e->dead || now < e->place_at || store_batch_open(e->store))
		return;
	e->place_at = now + PLACE_MS;
	if (e->gone && backoff_wait(&e->store_backoff, now) > 0) {
		wait_at_most(wait, backoff_wait(&e->store_backoff, now));
		return;
	}
	(void)batch_place(e, store_place_look(e->store));
}

bool
batch_commit(struct engine *e)
{
	struct ksm_fail fail;
	enum store_place place;

	e->batch_since = 0;
	e->batch_results = 0;
	if (!store_batch_open(e->store))
		return true;
	place = store_place_look(e->store);
	if (e->dead || place == STORE_REPLACED) {
		(void)batch_place(e, STORE_REPLACED);
		return false;
	}
	return batch_stored(e, store_commit(e->store, &fail), &fail,
		   "commit") &&
	    batch_place(e, place);
}

/* ---- batches ------------------------------------------------------------ */

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
	else
		wait_at_most(wait, COMMIT_MS - age);
}

void
batch_history(struct engine *e, struct store_actor who, const char *what,
    const char *subject, const char *fmt, ...)
{
	char why[sizeof(((struct store_history *)0)->why)];
	struct ksm_fail fail;
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	if (!batch_ready(e))
		return; /* the log has it */
	(void)batch_stored(e,
	    store_history_add(e->store, engine_wall(e), who, what, subject, why,
		&fail),
	    &fail, "write the history");
}
