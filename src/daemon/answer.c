/*
 * answer.c - what a generator says, and what its silence means.
 *
 * Done, refused, unknown: a reply records a key, a clear no drops its row,
 * and anything else leaves it to settling.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_parts.h"

/* The token's time is believed only as far as our own clock allows. */
static void
made_times(struct engine *e, const struct hsm_generated *g,
    struct store_made *out)
{
	ksm_time now = engine_wall(e);

	/*
	 * The clock may have gone back while the key was made. Dated too old
	 * it could pass for one that is in the last backup.
	 */
	if (now < e->newest)
		now = e->newest;
	out->ended = g->ended > now || g->ended < now - 86400 ? now : g->ended;
	out->started = g->started > out->ended || g->started <= 0
	    ? out->ended
	    : g->started;
	if (out->ended < e->newest)
		out->ended = e->newest;
	e->newest = out->ended;
}

static void
pool_failed_check(struct engine *e, struct repo *r, const struct slot *was,
    const char *why)
{
	struct plan_pool *p = NULL;
	struct prun *run = dispatch_run_of(e, was->pool_row, &p);
	char id[KEY_ID_HEX], name[400];

	key_id_format(&was->id, id);
	LOG_KEY(LOGL_ERROR, r, id,
	    "repository %s: key %s failed its check: %s; it is kept in "
	    "quarantine and will not be handed out",
	    r->name, id, why);
	metric_errors(e, r->name)->check++;
	topup_count(e, was->pool_row, was->automatic, false);
	if (run == NULL || ++run->bad < POOL_BAD)
		return;
	dispatch_block(e, run);
	run->bad = 0;
	(void)snprintf(run->trouble, sizeof(run->trouble),
	    "%d keys in a row failed their check: %.180s", POOL_BAD, why);
	dispatch_pool_name(p, name);
	LOG_POOL(LOGL_ERROR, p,
	    "pool %s: %s; no more are made until `ksmctl topup`, a reload or a "
	    "restart",
	    name, run->trouble);
	batch_history(e, ACTOR_DAEMON, "pool blocked", name, "%s",
	    run->trouble);
}

enum ksm_err
answer_key_fresh(struct engine *e, const struct key_id *id,
    const struct key_facts *facts, struct ksm_fail *check)
{
	struct ksm_fail fail;
	struct key_id twin;
	char hex[KEY_ID_HEX];
	enum ksm_err err;

	err = store_digest_find(e->store, facts->digest, id, &twin, &fail);
	if (err == KSM_ENOENT)
		return KSM_OK;
	if (!batch_stored(e, err, &fail, "look for the same public key"))
		return err;
	key_id_format(&twin, hex);
	return ksm_failf(check, KSM_EREFUSED,
	    "its public key is that of key %s: the token has made the same "
	    "key twice",
	    hex);
}

static void
record_generated(struct engine *e, struct repo *r, const struct slot *was,
    const struct hsm_generated *g)
{
	struct ksm_fail fail, check = { 0 };
	struct key_facts facts;
	struct store_made made = { 0 };
	struct plan_pool *p = NULL;
	struct prun *run;
	bool facts_ok = false;
	enum ksm_err err;

	err = keycheck_evidence(&g->evidence, &was->want, &facts, &facts_ok,
	    &check);
	if (err == KSM_OK)
		err = answer_key_fresh(e, &was->id, &facts, &check);
	if (err == KSM_ESTORE)
		return; /* it is settled when the database works again */
	made.took = g->took;
	made.proved = err == KSM_OK;
	made.single = was->single;
	made.tag_zsk = made.tag_ksk = made.tag_revoked = -1;
	if (facts_ok) {
		made.pub = facts.pub;
		made.publen = facts.publen;
		made.digest = facts.digest;
		made.tag_zsk = facts.tag_zsk;
		made.tag_ksk = facts.tag_ksk;
		made.tag_revoked = facts.tag_revoked;
	}
	made_times(e, g, &made);
	if (!batch_stored(e,
		store_key_made(e->store, &was->id, &made, engine_wall(e),
		    &fail),
		&fail, "record a key"))
		return;
	batch_noted(e);
	metric_made(e, r->name, was->want.alg, was->want.bits, g->took);
	stock_moved(e, was->pool_row, KEY_INTENDED, KEY_MADE);
	(void)batch_stored(e,
	    store_rate_add(e->store, r->name, was->want.alg, was->want.bits,
		g->took, &fail),
	    &fail, "record a duration");
	if (r->group_since == 0)
		r->group_since = engine_steady(e);
	backoff_ok(&r->making);
	r->taken = 0;
	if (err != KSM_OK) {
		if (batch_stored(e,
			store_key_move(e->store, &was->id, KEY_MADE,
			    KEY_QUARANTINED, check.text, engine_wall(e),
			    &fail),
			&fail, "quarantine a key"))
			stock_moved(e, was->pool_row, KEY_MADE,
			    KEY_QUARANTINED);
		pool_failed_check(e, r, was, check.text);
		return;
	}
	run = dispatch_run_of(e, was->pool_row, &p);
	if (run != NULL)
		run->bad = 0;
	topup_count(e, was->pool_row, was->automatic, true);
}

static void
drop_intended(struct engine *e, const struct slot *was)
{
	struct ksm_fail fail;
	struct plan_pool *p = NULL;
	struct prun *run = dispatch_run_of(e, was->pool_row, &p);

	if (!batch_stored(e, store_key_refused(e->store, &was->id, &fail),
		&fail, "drop a refused key"))
		return;
	batch_noted(e);
	stock_moved(e, was->pool_row, KEY_INTENDED, KEY__STATES);
	if (run != NULL && run->auto_made > 0)
		(void)dispatch_auto_made(e, run, run->auto_made - 1);
	if (run != NULL && run->explicit && !was->automatic)
		run->left++;
}

void
answer_no_text(const struct hsm_no *no, char out[256])
{
	(void)snprintf(out, 256, "%.31s: %.47s%s%.160s", no->stage, no->name,
	    no->name[0] == '\0' ? "" : ": ", no->text);
}

static void
record_refused(struct engine *e, struct repo *r, struct slot *s,
    const struct slot *was, const struct hsm_no *no)
{
	struct engine_errors *errors = metric_errors(e, r->name);
	struct plan_pool *p = NULL;
	struct prun *run = dispatch_run_of(e, was->pool_row, &p);
	char why[256], name[400];

	answer_no_text(no, why);
	if ((unsigned)no->group < CKRG__COUNT)
		errors->refused[no->group]++;
	drop_intended(e, was);
	topup_count(e, was->pool_row, was->automatic, false);
	switch (no->group) {
	case CKRG_POLICY:
		if (run == NULL)
			break;
		dispatch_block(e, run);
		(void)snprintf(run->trouble, sizeof(run->trouble),
		    "the token refuses such keys: %.220s", why);
		dispatch_pool_name(p, name);
		LOG_POOL(LOGL_ERROR, p,
		    "pool %s: %s; other pools go on, this one is tried again "
		    "after `ksmctl topup`, a reload or a restart",
		    name, run->trouble);
		batch_history(e, ACTOR_DAEMON, "pool blocked", name, "%s",
		    run->trouble);
		break;
	case CKRG_PIN:
		repo_park(e, r, why, "");
		break;
	case CKRG_OTHER:
		/*
		 * An id that is taken: another is chosen, nothing to wait for.
		 * Twice in a row is no chance: the token finds anything.
		 */
		if (strcmp(no->stage, "search") == 0 && r->taken++ == 0) {
			LOG_REPO(LOGL_WARNING, r,
			    "repository %s: an id is already taken in "
			    "the token; another one is used", r->name);
			break;
		}
		repo_making_failed(e, r, why);
		break;
	case CKRG_FULL:
		repo_making_failed(e, r, why);
		break;
	case CKRG_TOKEN:
		r->looked = false; /* it may not come back as it was */
		/* FALLTHROUGH */
	case CKRG_LOGIN:
	case CKRG_SESSION:
	case CKRG_NOTHING:
	case CKRG__COUNT:
		repo_making_failed(e, r, why);
		if (s != NULL)
			repo_worker_leave(e, s);
		break;
	}
}

static void
record_unknown(struct engine *e, struct repo *r, const struct slot *was,
    const char *why)
{
	struct ksm_fail fail;
	char id[KEY_ID_HEX];

	key_id_format(&was->id, id);
	metric_errors(e, r->name)->unknown++;
	LOG_KEY(LOGL_WARNING, r, id,
	    "repository %s: key %s: %s; whether it exists is unknown, it is "
	    "settled next",
	    r->name, id, why);
	if (batch_stored(e,
		store_key_move(e->store, &was->id, KEY_INTENDED, KEY_UNKNOWN,
		    why, engine_wall(e), &fail),
		&fail, "mark a key unknown"))
		stock_moved(e, was->pool_row, KEY_INTENDED, KEY_UNKNOWN);
	(void)batch_commit(e);
	r->look_wanted = true;
}

static bool
token_serial_fits(struct engine *e, struct repo *r, const struct hsm_hello *h)
{
	struct ksm_fail fail;
	char why[256];

	if (r->row.token_serial[0] != '\0' &&
	    (strcmp(r->row.token_serial, h->serial) != 0 ||
		strcmp(r->row.token_label, h->label) != 0)) {
		(void)snprintf(why, sizeof(why),
		    "its token was '%.60s' serial '%.40s' and is now '%.60s' "
		    "serial '%.40s'",
		    r->row.token_label, r->row.token_serial, h->label,
		    h->serial);
		repo_alien(e, r, why);
		return false;
	}
	if (strcmp(r->row.token_serial, h->serial) == 0 &&
	    strcmp(r->row.token_label, h->label) == 0)
		return true;
	(void)snprintf(r->row.token_label, sizeof(r->row.token_label), "%s",
	    h->label);
	(void)snprintf(r->row.token_serial, sizeof(r->row.token_serial), "%s",
	    h->serial);
	return batch_stored(e,
	    store_repository_token(e->store, r->row.row, h->label, h->serial,
		&fail),
	    &fail, "record the token of a repository");
}

/* A login went well: what stood against the PIN is history. */
static void
pin_is_good(struct engine *e, struct repo *r)
{
	struct ksm_fail fail;

	if (r->row.pin_print[0] == '\0')
		return;
	r->row.pin_print[0] = '\0';
	(void)batch_stored(e,
	    store_repository_trouble(e->store, r->row.row, TROUBLE_NONE, "",
		"", engine_wall(e), &fail),
	    &fail, "clear the trouble of a repository");
	LOG_REPO(LOGL_NOTICE, r, "repository %s: the new PIN works", r->name);
}

bool
answer_hello(struct engine *e, struct repo *r, struct slot *s,
    const struct hsm_hello *h)
{
	s->starting = false;
	pin_is_good(e, r);
	return token_serial_fits(e, r, h);
}

void
answer_start_failed(struct engine *e, struct repo *r, struct slot *s,
    const struct hsm_failed *f)
{
	char why[256], print[sizeof(r->row.pin_print)];
	bool look = r->look.slot.no != 0 && &r->look.slot != s;
	bool errand = r->job.slot.no != 0 && &r->job.slot != s;
	size_t gens = 0;

	s->starting = false;
	s->leaving = true; /* it exits by itself */
	(void)snprintf(why, sizeof(why), "%.31s: %.47s%s%.160s", f->stage,
	    f->name, f->name[0] == '\0' ? "" : ": ", f->text);
	for (size_t k = 0; k < r->ngens; k++)
		gens += r->gens[k].no != 0 && &r->gens[k] != s;
	if (f->group == CKRG_TOKEN)
		r->looked = false;
	if (f->group == CKRG_PIN) {
		/* A copy: what stands in the row is about to be replaced. */
		(void)snprintf(print, sizeof(print), "%s",
		    f->pin_print[0] != '\0' ? f->pin_print
					    : r->row.pin_print);
		/* What the token said first is worth more than this. */
		if (strcmp(f->stage, "pin-unchanged") == 0 &&
		    r->row.reason[0] != '\0')
			(void)snprintf(why, sizeof(why), "%s", r->row.reason);
		repo_park(e, r, why, print);
	} else if (strcmp(f->name, "CKR_SESSION_COUNT") == 0 &&
	    s == &r->job.slot && (look || gens > 0)) {
		r->job.crowded = true; /* they leave first */
	} else if (strcmp(f->name, "CKR_SESSION_COUNT") == 0 && errand &&
	    r->job.warm_until != 0) {
		r->scarce = true; /* it leaves, and none waits any more */
		log_debug("repository %s: no session beside a worker that "
			  "waits for the next take",
		    r->name);
	} else if (strcmp(f->name, "CKR_SESSION_COUNT") == 0 && errand) {
		log_debug("repository %s: no session beside the errand",
		    r->name);
	} else if (strcmp(f->name, "CKR_SESSION_COUNT") == 0 && gens > 0 &&
	    !look && s != &r->look.slot) {
		r->most = gens;
		LOG_REPO(LOGL_WARNING, r,
		    "repository %s: the token has no session for more "
		    "than %zu generators, Sessions asks for %d",
		    r->name, gens, r->conf == NULL ? 0 : r->conf->sessions);
	} else if (strcmp(f->name, "CKR_SESSION_COUNT") == 0 &&
	    (look || gens > 0) && !r->single) {
		r->single = true;
		LOG_REPO(LOGL_NOTICE, r,
		    "repository %s: the token has no session for a "
		    "second worker; generator and verifier take turns",
		    r->name);
	} else {
		repo_failed(e, r, why);
	}
}

/* Its last key was a bad one. */
static bool
pool_in_doubt(struct engine *e, const struct slot *was)
{
	struct plan_pool *p = NULL;
	const struct prun *run = dispatch_run_of(e, was->pool_row, &p);

	return run != NULL && run->bad > 0;
}

/* ---- what waits for the database ---------------------------------------- */

static void
keep(struct engine *e, struct repo *r, const struct slot *was,
    const struct hsm_msg *m, const char *why)
{
	struct kept *k = calloc(1, sizeof(*k));
	char id[KEY_ID_HEX];

	if (k == NULL) {
		e->recover = e->lost = true; /* settled like a lost answer */
		return;
	}
	(void)snprintf(k->repository, sizeof(k->repository), "%s", r->name);
	(void)snprintf(k->why, sizeof(k->why), "%s", why);
	k->no = was->no;
	k->was = *was;
	k->m.type = HSM_UNKNOWN;
	if (m != NULL)
		k->m = *m; /* an answer about one key owns nothing */
	*e->kept_end = k;
	e->kept_end = &k->next;
	key_id_format(&was->id, id);
	LOG_KEY(LOGL_DEBUG, r, id,
	    "repository %s: what became of key %s is kept until the database "
	    "can be written",
	    r->name, id);
}

bool
answer_is_kept(const struct engine *e, const struct key_id *id)
{
	for (const struct kept *k = e->kept; k != NULL; k = k->next)
		if (key_id_cmp(&k->was.id, id) == 0)
			return true;
	return false;
}

void
answer_kept_clear(struct engine *e)
{
	struct kept *next;

	for (struct kept *k = e->kept; k != NULL; k = next) {
		next = k->next;
		free(k);
	}
	e->kept = NULL;
	e->kept_end = &e->kept;
}

static void
unknown_or_keep(struct engine *e, struct repo *r, const struct slot *was,
    const char *why)
{
	if (batch_ready(e))
		record_unknown(e, r, was, why);
	else
		keep(e, r, was, NULL, why);
}

void
answer_kept(struct engine *e)
{
	while (e->kept != NULL && batch_ready(e)) {
		struct kept *k = e->kept;
		struct repo *r = repo_find(e, k->repository), *of;
		struct slot *s = repo_slot_find(e, k->no, &of);

		e->kept = k->next;
		if (e->kept == NULL)
			e->kept_end = &e->kept;
		if (r == NULL) /* its repository went with its worker */
			e->recover = e->lost = true;
		else if (k->m.type == HSM_GENERATED)
			record_generated(e, r, &k->was, &k->m.u.generated);
		else if (k->m.type == HSM_REFUSED)
			record_refused(e, r, s, &k->was, &k->m.u.no);
		else
			record_unknown(e, r, &k->was, k->why);
		free(k);
	}
}

void
answer_message(struct engine *e, struct repo *r, struct slot *s,
    struct hsm_msg *m)
{
	struct slot was = *s;
	ksm_msec wait = 0;
	char why[256];

	switch (m->type) {
	case HSM_HELLO:
		if (!answer_hello(e, r, s, &m->u.hello))
			repo_worker_leave(e, s);
		return;
	case HSM_FAILED:
		answer_start_failed(e, r, s, &m->u.failed);
		return;
	case HSM_GENERATED:
		if (!s->busy || m->u.generated.job != s->job ||
		    key_id_cmp(&m->u.generated.id, &s->id) != 0)
			break;
		s->busy = s->overdue = false;
		s->made++;
		if (!batch_ready(e)) {
			keep(e, r, &was, m, "");
			return;
		}
		/*
		 * The token works on while we write, unless there is doubt: a
		 * worker whose key did not sign may be on its way out.
		 */
		if (m->u.generated.evidence.signature[0] == '\0')
			repo_worker_leave(e, s);
		else if (!s->leaving && !pool_in_doubt(e, &was) &&
		    s->generation == r->generation && r->conf != NULL &&
		    !dispatch_spare(r, (size_t)(s - r->gens)) &&
		    (r->conf->recycle_after == 0 ||
			s->made < r->conf->recycle_after) &&
		    !r->single)
			dispatch_assign(e, r, s, &wait);
		record_generated(e, r, &was, &m->u.generated);
		return;
	case HSM_REFUSED:
		if (!s->busy || m->u.no.job != s->job)
			break;
		s->busy = s->overdue = false;
		if (!batch_ready(e))
			keep(e, r, &was, m, "");
		else
			record_refused(e, r, s, &was, &m->u.no);
		return;
	case HSM_UNKNOWN:
		if (!s->busy || m->u.no.job != s->job)
			break;
		s->busy = s->overdue = false;
		repo_worker_leave(e, s); /* it exits by itself, or should */
		answer_no_text(&m->u.no, why);
		if (m->u.no.group == CKRG_TOKEN)
			r->looked = false;
		unknown_or_keep(e, r, &was, why);
		repo_making_failed(e, r, why);
		return;
	default:
		break;
	}
	e->io.worker_kill(e->io.ctx, s->no, hsm_type_text(m->type));
}

void
answer_exit(struct engine *e, struct repo *r, struct slot *s, bool asked,
    const char *how)
{
	struct slot was = *s;
	char why[256];

	*s = (struct slot){ 0 };
	if (was.busy && asked) {
		r->deaths++;
		(void)snprintf(why, sizeof(why),
		    "its worker ended (%s) while making it", how);
		metric_errors(e, r->name)->deaths++;
		unknown_or_keep(e, r, &was, why);
		repo_making_failed(e, r, why);
	} else if (was.starting || !was.leaving) {
		r->deaths++;
		metric_errors(e, r->name)->deaths++;
		(void)snprintf(why, sizeof(why), "a worker ended (%s) %s", how,
		    was.starting ? "before it was ready" : "while idle");
		repo_making_failed(e, r, why);
	}
}

void
answer_stuck(struct engine *e, struct repo *r, struct slot *s)
{
	if (!s->busy)
		return;
	s->busy = s->overdue = false;
	unknown_or_keep(e, r, s, "its worker was killed and does not end");
}
