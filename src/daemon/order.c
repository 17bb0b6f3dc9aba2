/*
 * order.c - what an operator orders and needs no worker: resume, pause, the
 * clock, and what becomes of one key on record. Each is on disk, with a line
 * of history, before its function says so.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_parts.h"

/*
 * The end of an order. On KSM_OK everything in the open batch goes to disk;
 * otherwise nothing of the order is kept.
 */
enum ksm_err
engine_order_end(struct engine *e, enum ksm_err err, const char *what,
    struct ksm_fail *fail)
{
	store_actor_set(e->store, ACTOR_DAEMON);
	e->covers_old = true; /* it may have been that of a backup */
	if (err == KSM_OK && !batch_commit(e))
		err = ksm_failf(fail, KSM_ESTORE, "%s", e->store_why);
	else if (err == KSM_ESTORE)
		(void)batch_stored(e, err, fail, what);
	return err;
}

/* Results that wait go first: what fails now undoes nothing but itself. */
enum ksm_err
engine_order_begin(struct engine *e, struct store_actor who, struct ksm_fail *fail)
{
	enum ksm_err err = batch_may(e, fail);

	if (err != KSM_OK)
		return err;
	if (!batch_commit(e))
		return ksm_failf(fail, KSM_ESTORE, "%s", e->store_why);
	store_actor_set(e->store, who);
	return KSM_OK;
}

static enum ksm_err
order_history(struct engine *e, struct store_actor who, const char *what,
    const char *subject, const char *why, struct ksm_fail *fail)
{
	return store_history_add(e->store, engine_wall(e), who, what, subject,
	    why, fail);
}

enum ksm_err
engine_note(struct engine *e, struct store_actor who, const char *what,
    const char *subject, const char *why, struct ksm_fail *fail)
{
	enum ksm_err err = engine_order_begin(e, who, fail);

	if (err != KSM_OK)
		return err;
	err = order_history(e, who, what, subject, why, fail);
	return engine_order_end(e, err, what, fail);
}

enum ksm_err
engine_note_soon(struct engine *e, struct store_actor who, const char *what,
    const char *subject, const char *why, struct ksm_fail *fail)
{
	enum ksm_err err = batch_may(e, fail);

	if (err != KSM_OK)
		return err;
	if (!batch_ready(e))
		return ksm_failf(fail, KSM_ESTORE, "%s", e->store_why);
	err = order_history(e, who, what, subject, why, fail);
	if (batch_stored(e, err, fail, what))
		batch_noted(e);
	return err;
}

/* ---- repositories ------------------------------------------------------ */

enum ksm_err
engine_repository_resume(struct engine *e, const char *name, bool accept_token,
    struct store_actor who, struct ksm_fail *fail)
{
	struct repo *r = repo_find(e, name);
	char why[512] = "";
	enum ksm_err err;

	if (r == NULL || r->conf == NULL)
		return ksm_failf(fail, KSM_ENOENT,
		    "there is no repository %s; `ksmctl repository list` names "
		    "them",
		    name);
	if ((err = engine_order_begin(e, who, fail)) != KSM_OK)
		return err;
	(void)snprintf(why, sizeof(why), "%s%s%s",
	    accept_token ? "the token is accepted as it is" : "",
	    accept_token && r->row.reason[0] != '\0' ? "; it was: " : "",
	    r->row.reason);
	err = store_repository_trouble(e->store, r->row.row, TROUBLE_NONE, "",
	    "", engine_wall(e), fail);
	if (err == KSM_OK && accept_token)
		err = store_repository_token(e->store, r->row.row, "", "",
		    fail);
	if (err == KSM_OK)
		err = order_history(e, who, "repository resumed", r->name, why,
		    fail);
	err = engine_order_end(e, err, "resume a repository", fail);
	if (err != KSM_OK)
		return err;
	r->row.trouble = TROUBLE_NONE;
	r->row.reason[0] = '\0';
	r->row.pin_print[0] = '\0';
	if (accept_token) {
		r->row.token_label[0] = '\0';
		r->row.token_serial[0] = '\0';
	}
	r->accept = accept_token;
	r->looked = false;
	backoff_ok(&r->backoff);
	backoff_ok(&r->making);
	for (size_t i = 0; i < e->plan.npools; i++)
		if (dispatch_repo(e, &e->plan.pools[i]) == r)
			e->runs[i].blocked = false;
	LOG_REPO(LOGL_NOTICE, r, "repository %s: resumed by an operator%s",
	    r->name, accept_token ? ", its token is accepted as it is" : "");
	return KSM_OK;
}

/* ---- pause -------------------------------------------------------- */

enum ksm_err
engine_pause(struct engine *e, ksm_time until, const char *reason,
    struct store_actor who, struct ksm_fail *fail)
{
	struct store_pause p = { .since = engine_wall(e),
		.until = until,
		.who = who };
	struct store_pause was = e->pause;
	char text[256];
	enum ksm_err err;

	if (until <= p.since)
		return ksm_failf(fail, KSM_EREFUSED,
		    "a pause must end after now");
	/* Rows that nobody asked for yet go before it begins. */
	dispatch_drop_queues(e, false);
	if ((err = engine_order_begin(e, who, fail)) != KSM_OK)
		return err;
	(void)snprintf(p.reason, sizeof(p.reason), "%s",
	    reason == NULL ? "" : reason);
	e->pause = p;
	pause_text(e, text);
	err = store_pause_put(e->store, &p, fail);
	if (err == KSM_OK)
		err = order_history(e, who, "paused", "", text, fail);
	err = engine_order_end(e, err, "pause", fail);
	if (err != KSM_OK) {
		e->pause = was;
		return err;
	}
	for (size_t i = 0; i < e->nrepos; i++)
		look_abandon(e, e->repos[i]);
	log_notice("%s: no key is made and nothing is looked at; keys that are "
		   "being made are finished (uid %lld, pid %lld)",
	    text, (long long)who.uid, (long long)who.pid);
	return KSM_OK;
}

static enum ksm_err
pause_end(struct engine *e, struct store_actor who, const char *why,
    struct ksm_fail *fail)
{
	struct store_pause none = { .until = 0, .who = ACTOR_DAEMON };
	enum ksm_err err = engine_order_begin(e, who, fail);

	if (err != KSM_OK)
		return err;
	err = store_pause_put(e->store, &none, fail);
	if (err == KSM_OK)
		err = order_history(e, who, "pause ended", "", why, fail);
	err = engine_order_end(e, err, "end the pause", fail);
	if (err != KSM_OK)
		return err;
	e->pause = none;
	dispatch_configure(e); /* a refill that it cut off goes on */
	log_notice("the pause has ended: %s; generation goes on", why);
	return KSM_OK;
}

enum ksm_err
engine_unpause(struct engine *e, struct store_actor who, bool *was,
    struct ksm_fail *fail)
{
	*was = pause_now(e);
	if (!*was)
		return KSM_OK;
	return pause_end(e, who, "an operator ended it", fail);
}

/* It ends by itself, but not while the clock is in dispute. */
void
pause_look(struct engine *e, ksm_msec *wait)
{
	ksm_time left;
	struct ksm_fail fail;

	if (!pause_now(e) || e->pause.until == PAUSE_OPEN || e->recover ||
	    e->stopping)
		return;
	left = e->pause.until - engine_wall(e);
	if (left <= 0)
		(void)pause_end(e, ACTOR_DAEMON, "its time is over", &fail);
	else if (left < *wait / 1000)
		*wait = left * 1000;
}

/* ---- the clock ---------------------------------------------------- */

enum ksm_err
engine_clock_accept(struct engine *e, const char *reason,
    struct store_actor who, ksm_time *before, struct ksm_fail *fail)
{
	ksm_time now = engine_wall(e);
	char newest[TIME_TEXT], text[TIME_TEXT], why[512];
	enum ksm_err err;

	*before = e->newest;
	if (now + CLOCK_SLACK >= e->newest)
		return ksm_failf(fail, KSM_EREFUSED,
		    "there is nothing to accept: the clock is not behind the "
		    "newest record");
	if ((err = engine_order_begin(e, who, fail)) != KSM_OK)
		return err;
	time_format(e->newest, newest);
	time_format(now, text);
	(void)snprintf(why, sizeof(why),
	    "it says %s, the newest record said %s: %.380s", text, newest,
	    reason);
	err = store_newest_accept(e->store, now, fail);
	if (err == KSM_OK)
		err = order_history(e, who, "clock accepted", "", why, fail);
	err = engine_order_end(e, err, "accept the clock", fail);
	if (err != KSM_OK)
		return err;
	e->newest = now;
	log_warning("the clock was accepted by uid %lld: %s; keys dated later "
		    "keep their dates, and count as in no backup until then",
	    (long long)who.uid, why);
	return KSM_OK;
}

/* ---- one key ------------------------------------------------------ */

/* What there is to do before a key in that state can be retired. */
static const char *
retire_instead(enum key_state state)
{
	switch (state) {
	case KEY_INTENDED:
	case KEY_UNKNOWN:
	case KEY_MADE:
		return "it is not settled yet; ask again when it is ready";
	case KEY_GONE:
		return "it never came to be";
	case KEY_QUARANTINED:
		return "it is handed out to nobody; `ksmctl key destroy` "
		       "removes it";
	case KEY_TAKING:
		return "it is being handed out; ask again when it is taken";
	case KEY_RETIRED:
		return "nothing is left to do";
	case KEY_MISSING:
		return "it is not in the token; ask again when it was found";
	case KEY_DESTROYING:
	case KEY_DESTROYED:
	case KEY_CONSUMED:
		return "it is used by nobody any more";
	case KEY_READY:
	case KEY_SURPLUS:
	case KEY_TAKEN:
	case KEY__STATES:
		break;
	}
	return "";
}

/* `unused`: it was taken, and is given back. */
static enum ksm_err
key_retire(struct engine *e, const struct key_id *id, bool unused,
    const char *reason, struct store_actor who, struct ksm_fail *fail)
{
	struct store_key *key = calloc(1, sizeof(*key));
	struct repo *r;
	char hex[KEY_ID_HEX], why[300];
	enum ksm_err err;

	key_id_format(id, hex);
	(void)snprintf(why, sizeof(why), "%s%s",
	    unused ? KEY_RETURNED_WHY : "", reason);
	if (key == NULL) {
		err = ksm_failf(fail, KSM_ENOMEM, "retire: no memory");
		goto out;
	}
	if ((err = engine_order_begin(e, who, fail)) != KSM_OK)
		goto out;
	err = store_key_get(e->store, id, key, fail);
	if (err == KSM_ENOENT)
		err = ksm_failf(fail, KSM_ENOENT, "there is no key %s", hex);
	else if (err == KSM_OK && !key_state_may(key->state, KEY_RETIRED))
		err = ksm_failf(fail, KSM_EREFUSED, "key %s is %s: %s", hex,
		    key_state_text(key->state), retire_instead(key->state));
	else if (err == KSM_OK && unused && key->state != KEY_TAKEN)
		err = ksm_failf(fail, KSM_EREFUSED,
		    "key %s is %s: only a key that was taken can be returned",
		    hex, key_state_text(key->state));
	else if (err == KSM_OK && !unused && key->state == KEY_TAKEN &&
	    strncmp(reason, KEY_RETURNED_WHY, strlen(KEY_RETURNED_WHY)) == 0)
		err = ksm_failf(fail, KSM_EREFUSED,
		    "key %s is taken: a reason that begins with \"%s\" is of "
		    "a key that no zone used; `ksmctl key return` records that",
		    hex, KEY_RETURNED_WHY);
	/* From missing it may come back to it, which is not an order's. */
	else if (err == KSM_OK && key->state == KEY_MISSING)
		err = ksm_failf(fail, KSM_EREFUSED, "key %s is missing: %s",
		    hex, retire_instead(KEY_MISSING));
	else if (err == KSM_OK)
		err = store_key_move(e->store, id, key->state, KEY_RETIRED,
		    why, engine_wall(e), fail);
	err = engine_order_end(e, err, "retire a key", fail);
	if (err != KSM_OK)
		goto out;
	e->tallies_old = true;
	r = repo_find(e, key->pool.repository);
	if (r != NULL)
		LOG_KEY(LOGL_NOTICE, r, hex,
		    "repository %s: key %s was %s and is retired: %s", r->name,
		    hex, key_state_text(key->state), why);
out:
	free(key);
	return err;
}

enum ksm_err
engine_key_retire(struct engine *e, const struct key_id *id,
    const char *reason, struct store_actor who, struct ksm_fail *fail)
{
	return key_retire(e, id, false, reason, who, fail);
}

enum ksm_err
engine_key_return(struct engine *e, const struct key_id *id,
    const char *reason, struct store_actor who, struct ksm_fail *fail)
{
	return key_retire(e, id, true, reason, who, fail);
}

/*
 * May a zone have signed with it? Not with a key that came back unused, unless
 * an operator had said that a zone uses it.
 */
static enum ksm_err
key_was_used(struct engine *e, const struct store_key *k, bool *used,
    struct ksm_fail *fail)
{
	size_t len = strlen(KEY_RETURNED_WHY);
	int64_t zones = 0;
	enum ksm_err err;

	if (strncmp(k->why, KEY_RETURNED_WHY, len) == 0)
		return store_handout_outside(e->store, &k->id, used,
		    fail);
	err = store_handout_zones(e->store, &k->id, &zones, fail);
	*used = zones > 0;
	return err;
}

enum ksm_err
engine_key_kept_until(struct engine *e, const struct store_key *k,
    ksm_time *until, struct ksm_fail *fail)
{
	const struct conf_policy *p =
	    conf_policy_find(&e->conf, k->pool.policy);
	bool used = false;
	enum ksm_err err;

	*until = 0;
	if (k->state != KEY_RETIRED || p == NULL || p->purge <= 0)
		return KSM_OK;
	err = key_was_used(e, k, &used, fail);
	if (err == KSM_OK && used &&
	    __builtin_add_overflow(k->since, p->purge, until))
		*until = INT64_MAX;
	return err;
}

enum ksm_err
engine_key_kept(struct engine *e, const struct store_key *k,
    char out[KEPT_TEXT], struct ksm_fail *fail)
{
	char since[TIME_TEXT], end[TIME_TEXT];
	ksm_time until;
	enum ksm_err err = engine_key_kept_until(e, k, &until, fail);

	out[0] = '\0';
	if (err != KSM_OK || until <= engine_wall(e))
		return err;
	time_format(k->since, since);
	time_format(until, end);
	(void)snprintf(out, KEPT_TEXT,
	    "it is retired since %s and kept until %s, as Purge of policy "
	    "%.64s says; one that is compromised goes at once with "
	    "--before-purge",
	    since, end, k->pool.policy);
	return KSM_OK;
}

static void
pool_named(char *list, size_t size, const char *name)
{
	size_t used = strlen(list);

	(void)snprintf(list + used, size - used, "%s%.120s",
	    used == 0 ? "" : ", ", name);
}

enum ksm_err
order_pool_find(struct engine *e, const struct pool_words *want, size_t *out,
    struct ksm_fail *fail)
{
	char there[1024] = "", likely[1024] = "", meant[1024] = "", name[400];
	size_t fits = 0;

	if (conf_policy_find(&e->conf, want->policy) == NULL)
		return ksm_failf(fail, KSM_ENOENT,
		    "there is no policy %.200s; `ksmctl plan` names them",
		    want->policy);
	for (size_t i = 0; i < e->plan.npools; i++) {
		const struct plan_pool *p = &e->plan.pools[i];

		if (strcmp(p->policy, want->policy) != 0 ||
		    (want->repository != NULL &&
			strcmp(p->repository, want->repository) != 0))
			continue;
		dispatch_pool_name(p, name);
		pool_named(there, sizeof(there), name);
		if (p->role != want->role)
			continue;
		pool_named(likely, sizeof(likely), name);
		if (want->alg == 0 || p->alg == want->alg) {
			pool_named(meant, sizeof(meant), name);
			fits++;
			*out = i;
		}
	}
	if (fits == 1)
		return KSM_OK;
	if (there[0] == '\0')
		return ksm_failf(fail, KSM_EREFUSED,
		    "policy %.100s has no pool%s%.100s; `ksmctl plan` names "
		    "the pools",
		    want->policy,
		    want->repository == NULL ? "" : " in repository ",
		    want->repository == NULL ? "" : want->repository);
	if (fits > 1)
		return ksm_failf(fail, KSM_EREFUSED,
		    "there are several such pools, name the algorithm or "
		    "repository: %.400s", meant);
	return ksm_failf(fail, KSM_EREFUSED,
	    "there is no such pool; there are: %.400s",
	    likely[0] == '\0' ? there : likely);
}

enum ksm_err
engine_key_adopt(struct engine *e, const struct adopt_want *want,
    struct ksm_fail *fail)
{
	struct repo *r = repo_find(e, want->repository);
	char hex[KEY_ID_HEX], name[400], why[512];
	size_t pool = 0;
	enum ksm_err err;

	if (r == NULL || r->conf == NULL)
		return ksm_failf(fail, KSM_ENOENT,
		    "there is no repository %s; `ksmctl repository list` names "
		    "them",
		    want->repository);
	if (!repo_usable(r))
		return ksm_failf(fail, KSM_EREFUSED,
		    "repository %s cannot be looked at: %s", r->name,
		    r->row.reason);
	if ((err = order_pool_find(e,
		 &(struct pool_words){ want->policy, want->repository,
		     want->role, want->alg },
		 &pool, fail)) != KSM_OK ||
	    want->dry_run ||
	    (err = engine_order_begin(e, want->who, fail)) != KSM_OK)
		return err;
	key_id_format(&want->id, hex);
	dispatch_pool_name(&e->plan.pools[pool], name);
	(void)snprintf(why, sizeof(why), "to pool %.200s: %.200s", name,
	    want->reason);
	err = store_key_adopt(e->store, e->runs[pool].row, &want->id,
	    want->reason, engine_wall(e), fail);
	if (err == KSM_OK)
		err = order_history(e, want->who, "key adopt", hex, why, fail);
	err = engine_order_end(e, err, "adopt a key", fail);
	if (err != KSM_OK)
		return err;
	e->tallies_old = true;
	e->take_sweep = true; /* the hand-outs may have it already */
	r->look_wanted = true;
	LOG_KEY(LOGL_NOTICE, r, hex,
	    "repository %s: key %s is adopted %s; a look settles it", r->name,
	    hex, why);
	return KSM_OK;
}
