/*
 * repo.c - one repository: what troubles it, how long it is left alone, and its
 * workers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_parts.h"

bool
repo_usable(const struct repo *r)
{
	return r->conf != NULL && r->row.trouble == TROUBLE_NONE;
}

static void
repo_back_off(struct engine *e, struct repo *r, struct backoff *b,
    const char *why)
{
	uint32_t dice;

	(void)snprintf(r->why, sizeof(r->why), "%s", why);
	e->io.random(e->io.ctx, &dice, sizeof(dice));
	backoff_fail(b, engine_steady(e), dice);
	if (e->stopping)
		return;
	log_warning("repository %s: %s; tried again in %lld ms (failure %d in "
		    "a row), other repositories go on",
	    r->name, why, (long long)backoff_wait(b, engine_steady(e)),
	    b->tries);
}

void
repo_failed(struct engine *e, struct repo *r, const char *why)
{
	repo_back_off(e, r, &r->backoff, why);
}

void
repo_making_failed(struct engine *e, struct repo *r, const char *why)
{
	repo_back_off(e, r, &r->making, why);
}

static void
repo_trouble(struct engine *e, struct repo *r, enum repository_trouble trouble,
    const char *why, const char *pin_print)
{
	struct ksm_fail fail;

	r->row.trouble = trouble;
	r->row.since = engine_wall(e);
	(void)snprintf(r->row.reason, sizeof(r->row.reason), "%s", why);
	(void)snprintf(r->row.pin_print, sizeof(r->row.pin_print), "%s",
	    pin_print);
	if (batch_stored(e,
		store_repository_trouble(e->store, r->row.row, trouble, why,
		    pin_print, r->row.since, &fail),
		&fail, "record the trouble of a repository"))
		(void)batch_commit(e);
	r->looked = false;
	if (r->look.step == LOOK_IDLE)
		repo_worker_leave(e, &r->look.slot);
	for (size_t k = 0; k < r->ngens; k++)
		if (r->gens[k].no != 0 && !r->gens[k].busy)
			repo_worker_leave(e, &r->gens[k]);
}

void
repo_park(struct engine *e, struct repo *r, const char *why,
    const char *pin_print)
{
	repo_trouble(e, r, TROUBLE_PARKED, why, pin_print);
	if (r->conf != NULL)
		e->io.pin_source_print(e->io.ctx, r->conf, r->pin_seen);
	log_error("repository %s: %s; it is parked and no login is tried until "
		  "%s`ksmctl repository resume %s`",
	    r->name, why,
	    pin_print[0] == '\0' ? "" : "its PIN is another one or ", r->name);
}

void
repo_alien(struct engine *e, struct repo *r, const char *why)
{
	repo_trouble(e, r, TROUBLE_ALIEN, why, "");
	log_error("repository %s: %s; the token is taken for another one: no "
		  "key of it is called missing and none is made. Bring the "
		  "right token back and `ksmctl repository resume %s`, or "
		  "accept this one with --accept-token",
	    r->name, why, r->name);
}

struct repo *
repo_find(struct engine *e, const char *name)
{
	for (size_t i = 0; i < e->nrepos; i++)
		if (strcmp(e->repos[i]->name, name) == 0)
			return e->repos[i];
	return NULL;
}

struct slot *
repo_slot_find(struct engine *e, worker_no no, struct repo **r)
{
	for (size_t i = 0; i < e->nrepos; i++) {
		*r = e->repos[i];
		if ((*r)->look.slot.no == no)
			return &(*r)->look.slot;
		for (size_t k = 0; k < (*r)->ngens; k++)
			if ((*r)->gens[k].no == no)
				return &(*r)->gens[k];
	}
	return NULL;
}

/* Logging in is serialised: SoftHSM hides the token from a second starter. */
bool
repo_starting(const struct repo *r)
{
	if (r->look.slot.no != 0 && r->look.slot.starting)
		return true;
	for (size_t k = 0; k < r->ngens; k++)
		if (r->gens[k].no != 0 && r->gens[k].starting)
			return true;
	return false;
}

/*
 * A key is being made. In SoftHSM a login of another process meanwhile can
 * tear it: CKR_OK, and a half pair or a private key that does not sign. One
 * that is overdue may hang for ever and is not waited for.
 */
static bool
repo_is_making(const struct repo *r)
{
	for (size_t k = 0; k < r->ngens; k++)
		if (r->gens[k].busy && !r->gens[k].overdue &&
		    !r->gens[k].stuck)
			return true;
	return false;
}

bool
repo_worker_start(struct engine *e, struct repo *r, struct slot *s,
    enum worker_purpose purpose)
{
	struct ksm_fail fail;
	enum ksm_err err;

	if (repo_starting(r))
		return false;
	if (repo_is_making(r)) {
		r->hold = true;
		return false;
	}
	err = e->io.worker_start(e->io.ctx, ++e->last_no, r->conf, purpose,
	    r->alone, r->row.pin_print, &fail);
	if (err == KSM_EBUSY && r->alone) {
		if (!r->waiting)
			r->waiting_since = engine_steady(e);
		if (!r->waiting)
			log_notice("repository %s: an earlier worker is still "
				   "finishing its key; waiting for it",
			    r->name);
		r->waiting = true;
		r->waiting_at = engine_steady(e) + WAITING_MS;
		return false;
	}
	if (err != KSM_OK) {
		repo_failed(e, r, fail.text);
		return false;
	}
	if (r->waiting)
		log_notice("repository %s: the earlier worker is gone",
		    r->name);
	r->waiting = false;
	r->alone = false;
	*s = (struct slot){ .no = e->last_no,
		.purpose = purpose,
		.starting = true,
		.generation = r->generation };
	return true;
}

bool
repo_worker_send(struct engine *e, struct repo *r, struct slot *s,
    const struct hsm_msg *m, int64_t deadline)
{
	struct ksm_fail fail;
	enum ksm_err err;
	ksm_msec kill_after = -1;

	if (r->conf != NULL && r->conf->on_overdue == OVERDUE_KILL)
		kill_after = r->conf->kill_after * 1000;
	/* Who only looks may be killed: nothing is being made. */
	if (m->type == HSM_ENUMERATE || m->type == HSM_PROVE)
		kill_after = 0;
	err = e->io.worker_send(e->io.ctx, s->no, m, deadline * 1000,
	    kill_after, &fail);
	if (err != KSM_OK) {
		/* Not delivered; the exit of the process follows. */
		log_debug("repository %s: worker %lld: %s", r->name,
		    (long long)s->no, fail.text);
		return false;
	}
	s->busy = true;
	return true;
}

void
repo_worker_leave(struct engine *e, struct slot *s)
{
	if (s->no == 0 || s->leaving || s->stuck)
		return;
	s->leaving = true;
	e->io.worker_leave(e->io.ctx, s->no);
}

bool
repo_any_busy(const struct engine *e)
{
	for (size_t i = 0; i < e->nrepos; i++)
		for (size_t k = 0; k < e->repos[i]->ngens; k++)
			if (e->repos[i]->gens[k].busy)
				return true;
	return false;
}
