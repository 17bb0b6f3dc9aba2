#include <inttypes.h>
#include <string.h>

#include "ksmpool/duration.h"

#include "print_parts.h"

/* How many units draw keys, and why. */
static void
explain_units(FILE *out, const json_t *t)
{
	int64_t zones = doc_number(t, "zones"), units = doc_number(t, "units");

	if (doc_flag(t, "passthrough")) {
		(void)fprintf(out, "  The policy is passthrough: it needs no "
				   "keys.\n");
		return;
	}
	(void)fprintf(out, "  %" PRId64 " %s on the policy", zones,
	    plural(zones, "zone is", "zones are"));
	if (doc_flag(t, "shared"))
		(void)fprintf(out, ", and all of them share one key: %" PRId64
				   " %s.\n",
		    units, plural(units, "unit draws", "units draw"));
	else if (doc_flag(t, "by_owner"))
		(void)fprintf(out, ", of %" PRId64 " %s, and the zones of one "
				   "owner share a key: %" PRId64 " %s.\n",
		    doc_number(t, "owners"),
		    plural(doc_number(t, "owners"), "owner", "owners"), units,
		    plural(units, "unit draws", "units draw"));
	else
		(void)fprintf(out, ", each with a key of its own: %" PRId64
				   " %s.\n",
		    units, plural(units, "unit draws", "units draw"));
}

/* S = floor(H / L) + 1. */
static void
explain_scheduled(FILE *out, const json_t *t)
{
	int64_t lifetime = doc_number(t, "lifetime_s");
	int64_t draws = doc_number(t, "scheduled");
	char life[DURATION_TEXT], horizon[DURATION_TEXT];

	duration_format(doc_number(t, "horizon_s"), horizon);
	if (lifetime == 0) {
		(void)fprintf(out,
		    "  Its keys never roll by schedule: no scheduled draw "
		    "within the horizon of %s.\n",
		    horizon);
		return;
	}
	duration_format(lifetime, life);
	(void)fprintf(out,
	    "  A key lives %s and the pool must last %s with nobody acting: "
	    "floor(%s / %s) + 1 = %" PRId64
	    " scheduled %s for each unit. One more than the division gives, "
	    "because keys may be due this very second.\n",
	    life, horizon, horizon, life, draws, plural(draws, "draw", "draws"));
}

static void
explain_term(FILE *out, const json_t *t)
{
	int64_t rolls = doc_number(t, "emergency_rolls");
	int64_t standby = doc_number(t, "standby");
	int64_t growth = doc_number(t, "growth");
	int64_t units = doc_number(t, "units");

	explain_units(out, t);
	if (doc_flag(t, "passthrough"))
		return;
	explain_scheduled(out, t);
	if (rolls > 0)
		(void)fprintf(out,
		    "  In the worst case every key is lost or broken %" PRId64
		    " %s within that time: %" PRId64 " more for each unit.\n",
		    rolls, plural(rolls, "time", "times"), rolls);
	if (standby > 0)
		(void)fprintf(out,
		    "  The policy keeps %" PRId64
		    " standby %s: as many more for each unit.\n",
		    standby, plural(standby, "key", "keys"));
	if (growth > 0)
		(void)fprintf(out,
		    "  %" PRId64 " new %s expected within the horizon, and "
		    "each needs a first key as well.\n",
		    growth, plural(growth, "unit is", "units are"));
	(void)fprintf(out,
	    "  (%" PRId64 " + %" PRId64 ") x (%" PRId64 " + %" PRId64
	    " + %" PRId64 ") + %" PRId64 " = %" PRId64 " keys.\n",
	    units, growth, doc_number(t, "scheduled"), rolls, standby, growth,
	    doc_number(t, "required"));
}

/* Only where ksmpool.xml goes against what the policy says of sharing. */
static void
explain_scope(FILE *out, const json_t *p)
{
	if (!doc_known(p, "scope_by") ||
	    strcmp(doc_text(p, "scope_by"), "ksmpool.xml") != 0)
		return;
	(void)fprintf(out,
	    "  So says Scope in ksmpool.xml (%s), whatever ShareKeys of the "
	    "policy says.\n",
	    doc_text(p, "scope"));
}

static void
explain_strategy(FILE *out, const json_t *p)
{
	const char *strategy = doc_text(p, "strategy");

	if (strcmp(strategy, "fixed") == 0)
		(void)fprintf(out,
		    "  But the strategy is fixed: ksmpool.xml says how many, "
		    "the formula is only shown.\n");
	else if (strcmp(strategy, "minimum") == 0)
		(void)fprintf(out,
		    "  The strategy is minimum: no emergency rolls, no growth, "
		    "and MinimumHorizon as the horizon.\n");
	else if (strcmp(strategy, "manual") == 0)
		(void)fprintf(out,
		    "  The strategy is manual: keys are made by 'ksmctl topup' "
		    "and never by themselves.\n");
	else if (strcmp(strategy, "fill") == 0)
		(void)fprintf(out,
		    "  The strategy is fill: a refill goes on to %" PRId64
		    " keys, this pool's share of the room in the token.\n",
		    doc_number(p, "target"));
	(void)fprintf(out, "Required: %" PRId64 " %s.\n",
	    doc_number(p, "required"),
	    plural(doc_number(p, "required"), "key", "keys"));
}

static int64_t
stock_of(const json_t *p, const char *state)
{
	return doc_number(json_object_get(p, "stock"), state);
}

static void
explain_stock(FILE *out, const json_t *p)
{
	int64_t missing = stock_of(p, "missing");
	int64_t bad = stock_of(p, "quarantined");
	int64_t deficit = doc_number(p, "deficit");

	(void)fprintf(out,
	    "  %" PRId64 " could be taken now, %" PRId64
	    " %s being made, verified or settled.\n",
	    pool_usable(p), doc_number(p, "coming"),
	    plural(doc_number(p, "coming"), "is", "are"));
	if (pool_unusable(p) > 0)
		(void)fprintf(out,
		    "  %" PRId64 " more %s ready and in no backup, which "
		    "RequireBackup asks for: not counted for the level, but "
		    "for what is to be made; a backup makes %s usable, a "
		    "refill does not.\n",
		    pool_unusable(p), plural(pool_unusable(p), "is", "are"),
		    plural(pool_unusable(p), "it", "them"));
	if (missing > 0)
		(void)fprintf(out,
		    "  %" PRId64 " %s missing from the token and not counted.\n",
		    missing, plural(missing, "is", "are"));
	if (bad > 0)
		(void)fprintf(out,
		    "  %" PRId64 " failed a check and %s not counted.\n", bad,
		    plural(bad, "is", "are"));
	(void)fprintf(out,
	    "Level: %s. Below %" PRId64 " (low water) a refill starts by "
	    "itself; below %" PRId64
	    " the pool is critical: not every key could be rolled as often as "
	    "is promised.\n",
	    doc_text(p, "level"), doc_number(p, "low_water"),
	    doc_number(p, "critical"));
	if (deficit == 0)
		(void)fprintf(out, "Nothing is to be made.\n");
	else
		(void)fprintf(out,
		    "Deficit: %" PRId64 " %s, of which %" PRId64
		    " can be made.\n",
		    deficit, plural(deficit, "key", "keys"),
		    doc_number(p, "make"));
}

static void
explain_limits(FILE *out, const json_t *p)
{
	char human[DURATION_TEXT];

	if (doc_number(p, "capacity_short") > 0)
		(void)fprintf(out,
		    "  %" PRId64 " do not fit the Capacity of the token.\n",
		    doc_number(p, "capacity_short"));
	if (doc_number(p, "held") > 0)
		(void)fprintf(out,
		    "  %" PRId64
		    " are held back: one refill makes at most MaxPerRun = "
		    "%" PRId64 " by itself; 'ksmctl topup --max N' makes more."
		    "\n",
		    doc_number(p, "held"), doc_number(p, "max_per_run"));
	if (doc_text(p, "trouble")[0] != '\0') {
		(void)fprintf(out, "  In the way: ");
		text_print(out, doc_text(p, "trouble"));
		(void)fprintf(out, ".\n");
	}
	if (doc_known(p, "ms_per_key") && doc_number(p, "make") > 0 &&
	    doc_known(p, "fill_s")) {
		duration_human(doc_number(p, "fill_s"), human);
		(void)fprintf(out,
		    "  A key takes %" PRId64 " ms here: %s to fill.\n",
		    doc_number(p, "ms_per_key"), human);
	} else if (!doc_known(p, "ms_per_key"))
		(void)fprintf(out, "  How long a key takes is not measured "
				   "yet.\n");
}

static void
explain_token(FILE *out, const json_t *doc, const char *repository)
{
	const json_t *list = json_object_get(doc, "tokens"), *t;
	size_t i;

	json_array_foreach(list, i, t) {
		if (strcmp(doc_text(t, "repository"), repository) != 0)
			continue;
		(void)fprintf(out, "Token: %" PRId64 " key pairs held",
		    doc_number(t, "pairs_held"));
		if (doc_known(t, "capacity"))
			(void)fprintf(out, " of %" PRId64 " (Capacity), %" PRId64
					   " free; all pools need %" PRId64 ".\n",
			    doc_number(t, "capacity"),
			    doc_number(t, "pairs_free"),
			    doc_number(t, "pairs_need"));
		else
			(void)fprintf(out, "; no Capacity is configured.\n");
	}
}

void
print_explain(FILE *out, const json_t *doc)
{
	const json_t *list = json_object_get(doc, "pools"), *p, *terms, *t;
	size_t i, k;

	json_array_foreach(list, i, p) {
		if (i > 0)
			(void)fputc('\n', out);
		(void)fprintf(out, "Pool ");
		text_print(out, doc_text(p, "policy"));
		(void)fprintf(out, "/%s/", doc_text(p, "role"));
		text_print(out, doc_text(p, "repository"));
		(void)fprintf(out, "/%s, %" PRId64 " bits\n",
		    doc_text(p, "algorithm"), doc_number(p, "size"));
		terms = json_object_get(p, "terms");
		json_array_foreach(terms, k, t) {
			if (json_array_size(terms) > 1)
				(void)fprintf(out,
				    "  For the key in line %" PRId64
				    " of the policy:\n",
				    doc_number(t, "line"));
			explain_term(out, t);
		}
		explain_scope(out, p);
		explain_strategy(out, p);
		explain_stock(out, p);
		explain_limits(out, p);
		explain_token(out, doc, doc_text(p, "repository"));
	}
}
