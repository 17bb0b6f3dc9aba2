/*
 * command_backup_status.c - what status, monitor and metrics say of backups:
 * how many keys are in none, and until when the others last.
 */
#include "commands_parts.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ksmpool/clock.h"

#include "store_backup.h"

struct cover_sum {
	const char *repository;
	const struct plan *plan;
	int64_t *ready; /* covered ready keys, per pool of the plan */
	int64_t covered, uncovered;
	int64_t in_use; /* of those uncovered, handed out */
};

static void
cover_add(void *ctx, int64_t pool_row, const struct pool_spec *spec,
    enum key_state state, int64_t covered, int64_t uncovered)
{
	struct cover_sum *sum = ctx;
	const struct plan_pool *p;

	(void)pool_row;
	if (strcmp(spec->repository, sum->repository) != 0)
		return;
	sum->covered += covered;
	sum->uncovered += uncovered;
	if (state == KEY_TAKEN)
		sum->in_use += uncovered;
	if (state != KEY_READY)
		return;
	p = plan_pool_find(sum->plan, spec->policy, spec->role,
	    spec->repository, spec->alg, spec->bits);
	if (p != NULL)
		sum->ready[p - sum->plan->pools] += covered;
}

/*
 * How long covered keys last in the pool where they last shortest, *first:
 * -1 not even now. NULL: no pool asks for any.
 */
static int64_t
covered_last(const struct cover_sum *sum, const struct plan_pool **first)
{
	int64_t least = INT64_MAX, lasts;
	double part = 1;

	*first = NULL;
	for (size_t i = 0; i < sum->plan->npools; i++) {
		const struct plan_pool *p = &sum->plan->pools[i];

		if (strcmp(p->repository, sum->repository) != 0 ||
		    p->required == 0)
			continue;
		lasts = plan_pool_lasts(p, sum->ready[i]);
		/* Of equals the one that has the least of what it needs. */
		if (*first == NULL || lasts < least ||
		    (lasts == least &&
			(double)sum->ready[i] / (double)p->required < part)) {
			least = lasts;
			part = (double)sum->ready[i] / (double)p->required;
			*first = p;
		}
	}
	return least;
}

/* As explain takes it: POLICY/ROLE/REPOSITORY/ALGORITHM/SIZE */
static json_t *
pool_name_json(const struct plan_pool *p)
{
	const struct alg *alg;
	char text[512];

	if (p == NULL)
		return json_null();
	alg = alg_find(p->alg);
	(void)snprintf(text, sizeof(text), "%s/%s/%s/%s/%d", p->policy,
	    key_role_text(p->role), p->repository,
	    alg != NULL ? alg->name : "?", p->bits);
	return ctl_text(text);
}

json_t *
backup_summary(struct command_call *call, const struct plan *plan,
    const struct conf_repository *r)
{
	struct store *st = call->face->store;
	struct cover_sum sum = { .repository = r->name, .plan = plan,
		.ready = calloc(plan->npools + 1, sizeof(*sum.ready)) };
	const struct plan_pool *first = NULL;
	struct store_backup last, open;
	struct ksm_fail fail;
	ksm_time oldest = 0, now = clock_wall(), until = 0;
	bool have_last, have_open, ok, ever;
	int64_t lasts = -1, unready = -1;
	json_t *summary;

	have_last = store_backup_last(st, r->name, &last, &fail) == KSM_OK;
	have_open =
	    store_backup_get(st, r->name, NULL, &open, &fail) == KSM_OK;
	ok = sum.ready != NULL &&
	    store_cover_counts(st, cover_add, &sum, &fail) == KSM_OK &&
	    store_uncovered_oldest(st, r->name, &oldest, &fail) == KSM_OK;
	if (ok)
		lasts = covered_last(&sum, &first);
	ever = lasts == INT64_MAX;
	if (first != NULL && !ever)
		unready = first->ready - sum.ready[first - plan->pools];
	if (lasts >= 0 && __builtin_add_overflow(now, lasts, &until))
		until = 0;
	summary = json_pack("{s:o, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o,"
	    " s:o, s:o, s:b, s:o, s:o, s:o, s:o, s:o}",
	    "repository", ctl_text(r->name),
	    "required", r->require_backup,
	    "covered", count_or_null(sum.covered, ok),
	    "uncovered", count_or_null(sum.uncovered, ok),
	    "uncovered_in_use", count_or_null(sum.in_use, ok),
	    "oldest_uncovered", time_json(oldest),
	    "oldest_uncovered_s", count_or_null(oldest, oldest > 0),
	    "last", have_last ? time_json(last.started) : json_null(),
	    "last_s", have_last ? json_integer(last.started) : json_null(),
	    "last_label", have_last ? ctl_text(last.label) : json_null(),
	    "open", have_open ? ctl_text(open.label) : json_null(),
	    "suffices", ok && lasts >= 0,
	    "first_out", pool_name_json(ever ? NULL : first),
	    "first_out_uncovered", count_or_null(unready, unready >= 0),
	    "lasts_s", count_or_null(lasts, lasts >= 0 && !ever),
	    "lasts_until", time_json(ever ? 0 : until),
	    "lasts_until_s", count_or_null(until, !ever && until > 0));
	free(sum.ready);
	return summary;
}
