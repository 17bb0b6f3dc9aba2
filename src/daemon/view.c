/*
 * view.c - what commands ask the engine; it changes nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_parts.h"

const struct plan *
engine_plan(struct engine *e)
{
	stock_levels(e);
	return &e->plan;
}

const char *
repository_status_text(enum repository_status s)
{
	static const char *const text[REPO__COUNT] = {
		[REPO_OK] = "ok",
		[REPO_STARTING] = "starting",
		[REPO_WAITING] = "waiting",
		[REPO_DEGRADED] = "degraded",
		[REPO_PARKED] = "parked",
		[REPO_ALIEN] = "alien",
		[REPO_STUCK] = "stuck",
	};

	return text[s];
}

size_t
engine_repositories(const struct engine *e)
{
	return e->nconf;
}

static enum repository_status
repo_status(struct engine *e, const struct repo *r)
{
	bool stuck = r->look.slot.stuck || r->job.slot.stuck;

	for (size_t k = 0; k < r->ngens; k++)
		stuck = stuck || r->gens[k].stuck;
	if (stuck)
		return REPO_STUCK;
	if (r->row.trouble == TROUBLE_PARKED)
		return REPO_PARKED;
	if (r->row.trouble == TROUBLE_ALIEN)
		return REPO_ALIEN;
	if (r->waiting)
		return REPO_WAITING;
	if (dispatch_tries(e, r) > 0)
		return REPO_DEGRADED;
	return r->looked ? REPO_OK : REPO_STARTING;
}

void
engine_repository_view(struct engine *e, size_t i, struct repository_view *out)
{
	const struct repo *r = e->repos[i];

	*out = (struct repository_view){
		.conf = r->conf,
		.status = repo_status(e, r),
		.retry_in = dispatch_wait(e, r),
		.orphans = r->orphans,
		.foreign = r->foreign,
		.nameless = r->nameless,
		.deaths = r->deaths,
		.looked = r->looked_at,
	};
	if (out->status == REPO_PARKED || out->status == REPO_ALIEN)
		(void)snprintf(out->reason, sizeof(out->reason), "%s",
		    r->row.reason);
	else if (out->status == REPO_DEGRADED)
		(void)snprintf(out->reason, sizeof(out->reason), "%s", r->why);
	else if (out->status == REPO_WAITING)
		(void)snprintf(out->reason, sizeof(out->reason), "%s",
		    "an earlier worker is still finishing its key");
	else if (out->status == REPO_STUCK)
		(void)snprintf(out->reason, sizeof(out->reason), "%s",
		    "a worker cannot be ended");
	(void)snprintf(out->token_label, sizeof(out->token_label), "%s",
	    r->row.token_label);
	(void)snprintf(out->token_serial, sizeof(out->token_serial), "%s",
	    r->row.token_serial);
	out->overdue = r->look.slot.overdue + r->job.slot.overdue;
	for (size_t k = 0; k < r->ngens; k++) {
		out->generators += r->gens[k].no != 0;
		out->busy += r->gens[k].busy;
		out->overdue += r->gens[k].overdue;
	}
	stock_levels(e);
	for (size_t k = 0; k < e->ntallies; k++) {
		const struct tally *t = &e->tallies[k];

		if (strcmp(t->repository, r->name) != 0)
			continue;
		out->unknown += t->n[KEY_UNKNOWN];
		out->made += t->n[KEY_MADE];
		out->missing += t->n[KEY_MISSING];
		out->quarantined += t->n[KEY_QUARANTINED];
	}
}

static struct repo *
pool_repo(struct engine *e, size_t pool)
{
	return repo_find(e, e->plan.pools[pool].repository);
}

void
engine_pool_trouble(struct engine *e, size_t pool, char out[256])
{
	const struct plan_pool *p = &e->plan.pools[pool];
	const struct repo *r = pool_repo(e, pool);
	const struct prun *run = &e->runs[pool];
	struct repository_view view = { .status = REPO_OK };

	out[0] = '\0';
	for (size_t i = 0; i < e->nconf; i++)
		if (e->repos[i] == r)
			engine_repository_view(e, i, &view);
	if (p->deficit == 0 && (p->required == 0 || view.status == REPO_OK ||
	    view.status == REPO_STARTING))
		return;
	if (e->dead)
		(void)engine_store_trouble(e, out);
	else if (pause_now(e))
		pause_text(e, out);
	else if (engine_clock_trouble(e, out))
		return; /* the words are in it */
	else if (e->recover)
		(void)engine_store_trouble(e, out);
	else if (run->blocked)
		(void)snprintf(out, 256, "%s", run->trouble);
	else if (view.status != REPO_OK && view.status != REPO_STARTING)
		(void)snprintf(out, 256, "repository %.60s is %s: %.160s",
		    p->repository, repository_status_text(view.status),
		    view.reason);
	else if (p->make == 0 && p->capacity_short > 0)
		(void)snprintf(out, 256,
		    "%lld keys do not fit the Capacity of repository %.100s",
		    (long long)p->capacity_short, p->repository);
}

int64_t
engine_pool_held(struct engine *e, size_t pool)
{
	const struct plan_pool *p = &e->plan.pools[pool];
	const struct prun *run = &e->runs[pool];

	stock_levels(e);
	if (run->automatic || run->explicit || p->make == 0 ||
	    run->auto_made < p->settings.max_per_run)
		return 0;
	return p->make;
}

ksm_msec
engine_pool_rate(struct engine *e, size_t pool)
{
	const struct plan_pool *p = &e->plan.pools[pool];
	struct ksm_fail fail;
	ksm_msec per_key;

	if (store_rate_get(e->store, p->repository, p->alg, p->bits, &per_key,
		&fail) != KSM_OK)
		return 0;
	return per_key;
}

bool
engine_clock_trouble(struct engine *e, char out[256])
{
	char newest[TIME_TEXT], now[TIME_TEXT];

	out[0] = '\0';
	/* Asked now, not when the engine last ran: that may be a minute ago. */
	if (engine_wall(e) + CLOCK_SLACK >= e->newest)
		return false;
	time_format(e->newest, newest);
	time_format(engine_wall(e), now);
	(void)snprintf(out, 256,
	    "the clock says %s, but a record was made at %s", now, newest);
	return true;
}

bool
engine_store_trouble(struct engine *e, char out[256])
{
	out[0] = '\0';
	if (!e->recover)
		return false;
	(void)snprintf(out, 256, "%s%.180s",
	    e->dead	? ""
		: e->gone ? "the file of the database is gone and cannot be "
			    "put back: "
		: e->lost ? "the database failed: "
			  : "the database cannot be written now: ",
	    e->store_why);
	return true;
}

bool
pause_now(struct engine *e)
{
	return e->pause.until != 0;
}

void
pause_text(struct engine *e, char out[256])
{
	char until[TIME_TEXT];

	if (e->pause.until == PAUSE_OPEN)
		(void)snprintf(until, sizeof(until), "%s", "resumed");
	else
		time_format(e->pause.until, until);
	(void)snprintf(out, 256, "paused until %s%s%.180s", until,
	    e->pause.reason[0] == '\0' ? "" : ": ", e->pause.reason);
}

void
engine_pause_view(const struct engine *e, struct store_pause *out)
{
	*out = e->pause;
}
