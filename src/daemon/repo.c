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
	metric_errors(e, r->name)->start += b == &r->backoff;
	if (e->stopping)
		return;
	LOG_REPO(LOGL_WARNING, r,
	    "repository %s: %s; tried again in %lld ms (failure %d in "
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
		&fail, "record the trouble of a repository")) {
		batch_history(e, ACTOR_DAEMON,
		    trouble == TROUBLE_PARKED ? "repository parked"
					      : "repository alien",
		    r->name, "%s", why);
		(void)batch_commit(e);
	}
	r->looked = false;
	errand_cut(e, r, why);
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
	LOG_REPO(LOGL_ERROR, r,
	    "repository %s: %s; it is parked and no login is tried until "
	    "%s`ksmctl repository resume %s`",
	    r->name, why,
	    pin_print[0] == '\0' ? "" : "its PIN is another one or ", r->name);
}

void
repo_alien(struct engine *e, struct repo *r, const char *why)
{
	repo_trouble(e, r, TROUBLE_ALIEN, why, "");
	LOG_REPO(LOGL_ERROR, r,
	    "repository %s: %s; the token is taken for another one: no "
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
		if ((*r)->job.slot.no == no)
			return &(*r)->job.slot;
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
	if ((r->look.slot.no != 0 && r->look.slot.starting) ||
	    (r->job.slot.no != 0 && r->job.slot.starting))
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
	bool alone;

	if (repo_starting(r))
		return false;
	if (repo_is_making(r)) {
		r->hold = true;
		return false;
	}
	/* An errand destroys no key that could still be in the making. */
	alone = r->alone && s != &r->job.slot;
	err = e->io.worker_start(e->io.ctx, ++e->last_no, r->conf, purpose,
	    alone, r->row.pin_print, &fail);
	if (err == KSM_EBUSY && alone) {
		if (!r->waiting)
			r->waiting_since = engine_steady(e);
		if (!r->waiting)
			LOG_REPO(LOGL_NOTICE, r,
			    "repository %s: an earlier worker is still "
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
		LOG_REPO(LOGL_NOTICE, r, "repository %s: the earlier worker is gone",
		    r->name);
	r->waiting = false;
	r->alone = r->alone && !alone;
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
	s->looking = m->type == HSM_ENUMERATE || m->type == HSM_PROVE ||
	    m->type == HSM_INSPECT;
	if (s->looking)
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

enum ksm_err
proof_once(const struct hsm_proof *proof, struct ksm_fail *check)
{
	if (proof->privates == 1 && proof->publics <= 1)
		return KSM_OK;
	return ksm_failf(check, KSM_EREFUSED,
	    "%d private and %d public objects carry its id", proof->privates,
	    proof->publics);
}

enum ksm_err
proof_same(const struct key_facts *facts, const struct store_key *key,
    struct ksm_fail *check)
{
	if (key->publen > 0 && facts->publen == key->publen &&
	    memcmp(facts->pub, key->pub, key->publen) == 0)
		return KSM_OK;
	return ksm_failf(check, KSM_EREFUSED,
	    "its public key is not the one on record");
}

void
repo_prove(struct engine *e, struct repo *r, struct slot *s,
    const struct store_key *key)
{
	struct hsm_msg m = { .type = HSM_PROVE };
	uint8_t tag[KEY_TAG_LEN];

	store_tag_get(e->store, tag);
	s->id = key->id;
	s->want = (struct keycheck_want){ .alg = key->pool.alg,
		.bits = key->pool.bits,
		.extractable = r->conf != NULL && r->conf->allow_extraction,
		.other_label = memcmp(key->id.bytes, tag, sizeof(tag)) != 0 };
	e->io.random(e->io.ctx, s->want.challenge, CHALLENGE_LEN);
	s->job = m.u.prove.job = ++e->last_job;
	m.u.prove.id = key->id;
	m.u.prove.alg = key->pool.alg;
	memcpy(m.u.prove.challenge, s->want.challenge, CHALLENGE_LEN);
	(void)repo_worker_send(e, r, s, &m,
	    r->conf == NULL ? DEADLINE_GONE : r->conf->deadline);
}

void
repo_worker_leave(struct engine *e, struct slot *s)
{
	if (s->no == 0 || s->leaving || s->stuck)
		return;
	s->leaving = true;
	e->io.worker_leave(e->io.ctx, s->no);
}

/* A key is being made, or something is being destroyed on command. */
bool
repo_any_busy(const struct engine *e)
{
	for (size_t i = 0; i < e->nrepos; i++) {
		const struct repo *r = e->repos[i];

		if (r->job.slot.busy && !r->job.slot.looking)
			return true;
		for (size_t k = 0; k < r->ngens; k++)
			if (r->gens[k].busy)
				return true;
	}
	return false;
}

bool
repo_has_process(const struct repo *r)
{
	if (r->look.slot.no != 0 || r->job.slot.no != 0)
		return true;
	for (size_t k = 0; k < r->ngens; k++)
		if (r->gens[k].no != 0)
			return true;
	return false;
}

/* One row when it begins and one when it ends, however often it fails. */
void
repo_troubled(struct engine *e, struct repo *r)
{
	int tries = dispatch_tries(e, r);

	if (r->conf == NULL || e->recover)
		return;
	if (!r->troubled && tries >= TROUBLED_TRIES) {
		r->troubled = true;
		batch_history(e, ACTOR_DAEMON, "repository degraded", r->name,
		    "%s", r->why);
	} else if (r->troubled && tries == 0 &&
	    r->row.trouble == TROUBLE_NONE && r->looked) {
		r->troubled = false;
		batch_history(e, ACTOR_DAEMON, "repository recovered", r->name,
		    "after: %s", r->why);
	}
}
