/*
 * What a monitor wants to know, as one document of one moment: pools,
 * repositories and tokens as they stand, and what was counted since the start.
 */
#include "commands_parts.h"

#include "ksmpool/clock.h"

static void
pools_send(struct command_call *call, const struct plan *plan)
{
	struct engine *e = call->face->engine;
	char trouble[256];

	for (size_t i = 0; i < plan->npools; i++) {
		const struct plan_pool *p = &plan->pools[i];
		json_t *pool = pool_json(p), *stock = json_object();

		for (int s = 0; s < KEY__STATES; s++)
			(void)json_object_set_new(stock,
			    key_state_text((enum key_state)s),
			    json_integer(p->stock[s]));
		trouble[0] = '\0';
		engine_pool_trouble(e, i, trouble);
		(void)json_object_update_new(pool,
		    json_pack("{s:I, s:I, s:I, s:I, s:o, s:o}",
			"low_water", (json_int_t)p->low_water,
			"critical", (json_int_t)p->critical,
			"target", (json_int_t)p->target,
			"held", (json_int_t)engine_pool_held(e, i),
			"stock", stock,
			"trouble", text_or_null(trouble)));
		item_send(call, "pools", pool);
	}
}

static void
tokens_send(struct command_call *call, const struct plan *plan)
{
	for (size_t i = 0; i < plan->ntokens; i++) {
		const struct plan_token *t = &plan->tokens[i];

		item_send(call, "tokens",
		    json_pack("{s:o, s:o, s:I, s:I, s:I, s:I}",
			"repository", ctl_text(t->repository->name),
			"capacity", count_or_null(t->capacity,
			    t->capacity >= 0),
			"pairs_held", (json_int_t)t->pairs_held,
			"pairs_need", (json_int_t)t->pairs_need,
			"pairs_over", (json_int_t)t->pairs_over,
			"objects_held", (json_int_t)t->objects_held));
	}
}

static void
generated_send(struct command_call *call)
{
	const struct engine_metric *m;
	size_t n = engine_metrics(call->face->engine, &m);
	json_t *buckets;

	for (size_t i = 0; i < n; i++) {
		buckets = json_array();
		for (size_t b = 0; b < nitems(m[i].bucket); b++)
			(void)json_array_append_new(buckets,
			    json_integer(m[i].bucket[b]));
		item_send(call, "generated",
		    json_pack("{s:o, s:o, s:i, s:I, s:o, s:I}",
			"repository", ctl_text(m[i].repository),
			"algorithm", algorithm_json(m[i].alg),
			"size", m[i].bits,
			"keys", (json_int_t)m[i].generated,
			"buckets", buckets,
			"sum_ms", (json_int_t)m[i].sum_ms));
	}
}

static void
errors_send(struct command_call *call)
{
	const struct engine_errors *c;
	size_t n = engine_error_counts(call->face->engine, &c);
	json_t *reasons;

	for (size_t i = 0; i < n; i++) {
		reasons = json_pack("{s:I, s:I, s:I}",
		    "unknown", (json_int_t)c[i].unknown,
		    "check", (json_int_t)c[i].check,
		    "start", (json_int_t)c[i].start);
		for (int g = 0; g < CKRG__COUNT; g++)
			(void)json_object_set_new(reasons,
			    ckr_group_text((enum ckr_group)g),
			    json_integer(c[i].refused[g]));
		item_send(call, "errors",
		    json_pack("{s:o, s:o, s:I}",
			"repository", ctl_text(c[i].repository),
			"reasons", reasons,
			"deaths", (json_int_t)c[i].deaths));
	}
}

static json_t *
bounds_json(void)
{
	json_t *bounds = json_array();

	for (size_t i = 0; i < METRIC_BUCKETS; i++)
		(void)json_array_append_new(bounds,
		    json_integer(metric_bounds_ms[i]));
	return bounds;
}

/* The plan is taken first: what else is asked leaves it where it is. */
static void
metrics_start(struct command_call *call)
{
	const struct daemon_face *face = call->face;
	struct engine *e = face->engine;
	const struct conf *conf;
	const struct plan *plan = plan_in_force(call, &conf);
	struct store_pause pause = { .until = 0 };
	struct ksm_fail fail = { .text = "" };
	char clock[256] = "", database[256] = "";
	ksm_time newest = 0;
	enum ksm_err err;
	bool older, locked;
	json_t *handouts;

	if (plan == NULL)
		return;
	err = store_newest(face->store, &newest, &fail);
	if (err != KSM_OK && err != KSM_ENOENT)
		newest = 0; /* database says why */
	(void)repositories_send(call, plan);
	pools_send(call, plan);
	tokens_send(call, plan);
	generated_send(call);
	errors_send(call);
	for (size_t i = 0; i < conf->nrepositories; i++)
		item_send(call, "backups",
		    backup_summary(call, plan, &conf->repositories[i]));
	engine_pause_view(e, &pause);
	if (!engine_clock_trouble(e, clock))
		clock[0] = '\0';
	if (!engine_store_trouble(e, database))
		database[0] = '\0';
	older = lists_are_last_good(conf);
	handouts = handouts_json(e, &locked);
	result_send(call, CTL_OK,
	    json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:b, s:b, s:o, s:o, s:o,"
		" s:o}",
		"daemon_version", face->version,
		"now_s", (json_int_t)clock_wall(),
		"started_s", (json_int_t)face->started,
		"last_topup_s", (json_int_t)engine_last_topup(e),
		"newest_key_s", (json_int_t)newest,
		"zones", (json_int_t)lists_in_force(conf).zones,
		"older_zonelist", older,
		"paused", pause.until != 0,
		"clock", text_or_null(clock),
		"database", text_or_null(database),
		"handouts", handouts,
		"bounds_ms", bounds_json()));
}

static const struct command commands[] = {
	{ .name = "metrics", .start = metrics_start },
};

const struct command_group commands_metrics = { commands, nitems(commands) };
