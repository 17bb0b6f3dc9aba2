#include "commands_parts.h"

#include <unistd.h>

#include "ksmpool/clock.h"

static json_t *
run_json(const struct store_run *run)
{
	static const char *const cause[] = {
		[RUN_AUTO] = "auto",
		[RUN_TOPUP] = "topup",
		[RUN_ONCE] = "once",
	};

	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I}",
	    "cause", (size_t)run->cause < nitems(cause) ? cause[run->cause]
							: "unknown",
	    "uid", count_or_null(run->uid, run->uid >= 0),
	    "pid", count_or_null(run->pid, run->pid >= 0),
	    "max", count_or_null(run->max, run->max >= 0),
	    "started", time_json(run->started),
	    "ended", time_json(run->ended),
	    "wanted", (json_int_t)run->wanted,
	    "made", (json_int_t)run->made,
	    "failed", (json_int_t)run->failed,
	    "held", (json_int_t)run->held);
}

static const char *
list_text(enum zonelist_state state)
{
	switch (state) {
	case ZONELIST_OK:
		return "ok";
	case ZONELIST_EMPTY:
		return "empty";
	case ZONELIST_VANISHED:
		return "vanished";
	case ZONELIST_BAD:
		return "bad";
	}
	return "unknown";
}

/* The zone list, and of an owner file what it makes of it. */
static json_t *
zonelist_json(const struct conf *conf)
{
	bool owned = conf->owner_file != NULL;

	return json_pack("{s:I, s:o, s:s, s:o, s:s}",
	    "zones", (json_int_t)lists_in_force(conf).zones,
	    "owners", count_or_null(lists_in_force(conf).owners, owned),
	    "state", list_text(conf->zonelist),
	    "owner_file", text_or_null(owned ? list_text(conf->owners) : NULL),
	    "in_force", lists_are_last_good(conf) ? "last-good" : "read");
}

/* A key that works and is in no backup, where backups are told of. */
static bool
backup_needs_a_look(const json_t *summary)
{
	return json_integer_value(
		   json_object_get(summary, "uncovered_in_use")) > 0 &&
	    (json_is_true(json_object_get(summary, "required")) ||
		json_is_string(json_object_get(summary, "last")));
}

/* A whole picture of one moment, so it is not made in pages. */
static void
status_start(struct command_call *call)
{
	const struct daemon_face *face = call->face;
	const struct conf *conf;
	const struct plan *plan;
	struct ksm_fail fail = { .text = "" };
	struct store_run run;
	char clock[256] = "", store[256] = "", trouble[256];
	json_t *last = NULL, *backup = NULL, *pool, *handouts;
	enum ksm_err err;
	bool fine, locked;

	plan = plan_in_force(call, &conf);
	if (plan == NULL)
		goto out;
	err = store_run_last(face->store, &run, &fail);
	if (err != KSM_OK && err != KSM_ENOENT) {
		fail_err(call, err, "failed", &fail);
		goto out;
	}
	last = err == KSM_OK ? run_json(&run) : json_null();
	fine = repositories_send(call, plan);
	for (size_t i = 0; i < plan->npools; i++) {
		const struct plan_pool *p = &plan->pools[i];

		if (p->level == LEVEL_CRITICAL || p->level == LEVEL_EMPTY)
			fine = false;
		trouble[0] = '\0';
		engine_pool_trouble(face->engine, i, trouble);
		pool = pool_json(p);
		(void)json_object_set_new(pool, "held",
		    json_integer(engine_pool_held(face->engine, i)));
		(void)json_object_set_new(pool, "trouble",
		    text_or_null(trouble));
		item_send(call, "pools", pool);
	}
	for (size_t i = 0; i < conf->nrepositories; i++) {
		json_t *summary =
		    backup_summary(call, plan, &conf->repositories[i]);

		if (backup_needs_a_look(summary))
			fine = false;
		item_send(call, "backups", summary);
	}
	backup = json_array();
	for (size_t i = 0; i < conf->nrepositories; i++)
		if (conf->repositories[i].require_backup)
			(void)json_array_append_new(backup,
			    ctl_text(conf->repositories[i].name));
	if (!engine_clock_trouble(face->engine, clock))
		clock[0] = '\0';
	else
		fine = false; /* no key is made while it lasts */
	if (engine_store_trouble(face->engine, store))
		fine = false;
	handouts = handouts_json(face->engine, &locked);
	if (locked)
		fine = false;
	if (lists_are_last_good(conf))
		fine = false; /* zones may have come that nobody counts */
	result_send(call, fine ? CTL_OK : CTL_ATTENTION,
	    json_pack("{s:s, s:I, s:o, s:I, s:o, s:o,"
		" s:o, s:o, s:o, s:{s:O}, s:o, s:O}",
		"daemon_version", face->version,
		"pid", (json_int_t)getpid(),
		"started", time_json(face->started),
		"uptime_s", (json_int_t)(clock_wall() - face->started),
		"config", text_or_null(conf->file),
		"zonelist", zonelist_json(conf),
		"clock", text_or_null(clock),
		"database", text_or_null(store),
		"paused", pause_json(face->engine),
		"backup", "required", backup,
		"handouts", handouts,
		"last_run", last));
out:
	json_decref(backup);
	json_decref(last);
}

static const struct command commands[] = {
	{ .name = "status", .start = status_start },
};

const struct command_group commands_status = { commands, nitems(commands) };
