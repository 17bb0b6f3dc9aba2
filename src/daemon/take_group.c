/*
 * take_group.c - zones that share a key: which one the group has, and whether
 * a further zone may have it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "take_parts.h"

void
share_set(struct take *t, enum key_scope scope)
{
	if (scope == SCOPE_POLICY)
		(void)snprintf(t->share, sizeof(t->share), "policy");
	else if (scope == SCOPE_OWNER && t->owner[0] != '\0')
		(void)snprintf(t->share, sizeof(t->share), "owner:%s",
		    t->owner);
	else
		(void)snprintf(t->share, sizeof(t->share), "zone:%s", t->zone);
}

/* Where pools are shared, one draws and the others get what it drew. */
bool
group_busy(struct engine *e, const struct take *t)
{
	for (const struct take *o = e->takes; o != t; o = o->next)
		if (o->step != TAKE_DONE && o->want.role == t->want.role &&
		    strcmp(o->policy, t->policy) == 0 &&
		    strcmp(o->share, t->share) == 0)
			return true;
	return false;
}

/* What was asked for of a key that is drawn holds for one that is shared. */
static enum ksm_err
group_key_fits(const struct take *t, const struct store_key *k,
    struct ksm_fail *fail)
{
	struct tags tags = tags_of(k);
	char hex[KEY_ID_HEX];

	key_id_format(&k->id, hex);
	if (!tags_fit(&t->want, &tags))
		return ksm_failf(fail, KSM_EREFUSED,
		    "key %s, which the zones of %s share, has key tag %d, "
		    "which is not what was asked for; --roll draws the next "
		    "one for a zone that has it",
		    hex, t->share,
		    tag_fits(&t->want, tags.tag) ? tags.revoked : tags.tag);
	if (t->want.not_before != 0 && k->ended < t->want.not_before)
		return ksm_failf(fail, KSM_EREFUSED,
		    "key %s, which the zones of %s share, was made before "
		    "that; --roll draws the next one for a zone that has it",
		    hex, t->share);
	return KSM_OK;
}

/* A further zone is not to rely on a key that is in no backup. */
static enum ksm_err
group_key_backed(struct engine *e, const struct take *t,
    const struct plan_pool *p, const struct store_key *k,
    struct ksm_fail *fail)
{
	bool covered = true;
	char hex[KEY_ID_HEX];
	enum ksm_err err;

	if (!p->repository_conf->require_backup ||
	    p->settings.on_shortage == SHORTAGE_UNCOVERED)
		return KSM_OK;
	err = store_key_covered(e->store, &k->id, &covered, fail);
	if (err != KSM_OK || covered)
		return err;
	key_id_format(&k->id, hex);
	return ksm_failf(fail,
	    p->settings.on_shortage == SHORTAGE_WAIT && !t->want.dry_run
		? KSM_EBUSY : KSM_EREFUSED,
	    "key %s, which the zones of %s share, is in no backup, which "
	    "this repository requires; back the HSM up, then `ksmctl backup "
	    "commit`",
	    hex, t->share);
}

/* Who takes a key once has it for the zone that it was given for first. */
static enum ksm_err
group_key_free(struct engine *e, const struct take *t, const struct key_id *id,
    struct ksm_fail *fail)
{
	enum { PAGE = 20 };
	struct handout_filter f = { .id = id };
	struct handout *page = NULL;
	enum ksm_err err = KSM_OK;
	char hex[KEY_ID_HEX];
	int64_t cursor = 0;
	size_t n = PAGE;

	if (!consumer_takes_once(t->want.consumer))
		return KSM_OK;
	key_id_format(id, hex);
	page = calloc(PAGE, sizeof(*page));
	if (page == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "take: no memory");
	while (err == KSM_OK && n == PAGE) {
		err = store_handout_list(e->store, &f, &cursor, page, PAGE, &n,
		    fail);
		for (size_t i = 0; err == KSM_OK && i < n; i++) {
			enum consumer c;

			if (consumer_find(page[i].consumer, &c) &&
			    consumer_takes_once(c))
				err = ksm_failf(fail, KSM_EREFUSED,
				    "OpenDNSSEC has key %s, which the zones of "
				    "%.100s share, since it was given to zone "
				    "%.100s, and takes a key once; with "
				    "--for opendnssec-pool and ShareKeys of "
				    "its own it gives the one key to them all",
				    hex, t->share, page[i].zone);
		}
	}
	free(page);
	return err;
}

enum ksm_err
group_key(struct engine *e, struct take *t, const struct plan_pool *p,
    struct ksm_fail *fail)
{
	struct pool_spec spec = { .alg = p->alg, .bits = p->bits };
	struct handout *h = NULL;
	struct store_key *k = NULL;
	struct key_id with;
	char hex[KEY_ID_HEX], other[KEY_ID_HEX];
	enum ksm_err err;
	bool has = false;

	h = calloc(1, sizeof(*h));
	k = calloc(1, sizeof(*k));
	if (h == NULL || k == NULL) {
		err = ksm_failf(fail, KSM_ENOMEM, "take: no memory");
		goto out;
	}
	spec.role = t->want.role;
	(void)snprintf(spec.policy, sizeof(spec.policy), "%s", p->policy);
	(void)snprintf(spec.repository, sizeof(spec.repository), "%s",
	    p->repository);
	err = store_handout_current(e->store, &spec, t->share, h, fail);
	if (err == KSM_OK)
		err = store_handout_has(e->store, &h->id, t->zone, &has, fail);
	if (err != KSM_OK || (t->want.roll && has)) {
		err = err == KSM_OK ? KSM_ENOENT : err;
		goto out;
	}
	key_id_format(&h->id, hex);
	err = store_key_get(e->store, &h->id, k, fail);
	if (err != KSM_OK)
		goto out; /* no row: of a database that was restored */
	if (k->state == KEY_MISSING) {
		err = ksm_failf(fail, KSM_EREFUSED,
		    "key %s, which the zones of %s share, is missing in its "
		    "token; --roll draws a new one for a zone that has it",
		    hex, t->share);
		goto out;
	}
	if (k->state != KEY_TAKEN) {
		err = KSM_ENOENT; /* retired, or destroyed: time for another */
		goto out;
	}
	if ((err = group_key_fits(t, k, fail)) != KSM_OK ||
	    (!has && (err = group_key_backed(e, t, p, k, fail)) != KSM_OK))
		goto out;
	if (!has) {
		err = store_tag_clash(e->store, k, t->zone, "", &with, fail);
		if (err == KSM_OK) {
			key_id_format(&with, other);
			err = ksm_failf(fail, KSM_EREFUSED,
			    "key %s, which the zones of %s share, has the same "
			    "key tag as key %s of zone %.200s",
			    hex, t->share, other, t->zone);
		}
		if (err != KSM_ENOENT)
			goto out;
	}
	if (!has && (err = group_key_free(e, t, &h->id, fail)) != KSM_OK)
		goto out;
	t->lent = true;
	handout_fill(e, t, k, false);
	err = KSM_OK;
out:
	free(h);
	free(k);
	return err;
}
