/*
 * command_record.c - the history, and the database as a file.
 */
#include "commands_parts.h"

#include <stdlib.h>
#include <string.h>

#define LIST_PAGE   200
#define VERIFY_PAGE 2000
#define SCAN_ROWS   5000 /* of the history, in one turn of the loop */

/* ---- history ---------------------------------------------------------- */

struct chronicle {
	struct history_filter filter; /* its texts are borrowed from the args */
	int64_t cursor, count;
};

static void
history_start(struct command_call *call)
{
	struct chronicle *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		fail_memory(call);
		return;
	}
	c->filter = (struct history_filter){
		.since = arg_integer(call, "since", 0),
		.until = arg_integer(call, "until", 0),
		.subject = arg_text(call, "subject"),
		.what = arg_text(call, "what"),
		.uid = arg_integer(call, "uid", -1),
		.scan = SCAN_ROWS,
	};
	call->state = c;
}

static json_t *
history_json(const struct store_history *h)
{
	char hash[2 * sizeof(h->hash) + 1];

	hex_format(h->hash, sizeof(h->hash), hash);
	return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:s}",
	    "number", (json_int_t)h->number,
	    "time", time_json(h->when),
	    "uid", count_or_null(h->who.uid, h->who.uid >= 0),
	    "pid", count_or_null(h->who.pid, h->who.pid >= 0),
	    "what", ctl_text(h->what),
	    "subject", text_or_null(h->subject),
	    "why", text_or_null(h->why),
	    "hash", hash);
}

static void
history_more(struct command_call *call)
{
	struct chronicle *c = call->state;
	struct store_history *page = calloc(LIST_PAGE, sizeof(*page));
	struct ksm_fail fail = { .text = "" };
	uint8_t hash[32];
	int64_t head = 0;
	enum ksm_err err;
	size_t n = 0;

	if (page == NULL) {
		fail_memory(call);
		return;
	}
	err = store_history_list(call->face->store, &c->filter, &c->cursor,
	    page, LIST_PAGE, &n, &fail);
	if (err == KSM_OK)
		err = store_history_head(call->face->store, &head, hash, &fail);
	for (size_t i = 0; err == KSM_OK && i < n; i++)
		item_send(call, "events", history_json(&page[i]));
	c->count += (int64_t)n;
	if (err != KSM_OK)
		fail_err(call, err, "failed", &fail);
	else if (n == 0 && c->cursor >= head)
		result_send(call, CTL_OK,
		    json_pack("{s:I}", "count", (json_int_t)c->count));
	free(page);
}

/*
 * A head that was kept elsewhere shows what the chain alone cannot: that its
 * end was cut off, or all of it written anew.
 */
struct proof {
	struct history_check check;
	int64_t kept_number; /* 0: none was given */
	uint8_t kept[32];
	bool kept_fits;
};

static void
verify_start(struct command_call *call)
{
	const char *kept = arg_text(call, "head");
	struct proof *p = calloc(1, sizeof(*p));
	char *colon;

	if (p == NULL) {
		fail_memory(call);
		return;
	}
	call->state = p;
	if (kept == NULL)
		return;
	p->kept_number = strtoll(kept, &colon, 10);
	if (p->kept_number <= 0 || *colon != ':' ||
	    strlen(colon + 1) != 2 * sizeof(p->kept) ||
	    !hex_parse(colon + 1, p->kept, sizeof(p->kept)))
		command_fail(call, CTL_USAGE, "bad-argument", NULL,
		    "the head must be NUMBER:HASH, as history verify prints "
		    "it");
}

/* The row whose hash was kept, when the check comes by it. */
static size_t
verify_steps(const struct proof *p)
{
	int64_t left = p->kept_number - p->check.number;

	return left > 0 && left < VERIFY_PAGE ? (size_t)left : VERIFY_PAGE;
}

static void
verify_more(struct command_call *call)
{
	struct proof *p = call->state;
	struct history_check *c = &p->check;
	struct ctl_reply r = { .type = CTL_PROGRESS };
	struct ksm_fail fail = { .text = "" };
	char hash[2 * sizeof(c->hash) + 1];
	uint8_t head[32];
	int64_t last = 0;
	bool kept_wrong;
	enum ksm_err err;

	err = store_history_verify(call->face->store, c, verify_steps(p), &fail);
	if (err == KSM_OK)
		err = store_history_head(call->face->store, &last, head, &fail);
	if (err != KSM_OK) {
		fail_err(call, err, "failed", &fail);
		return;
	}
	if (p->kept_number > 0 && c->number == p->kept_number &&
	    memcmp(c->hash, p->kept, sizeof(p->kept)) == 0)
		p->kept_fits = true;
	if (!c->done) {
		r.done = c->number;
		r.total = last;
		reply_send(call, &r);
		return;
	}
	kept_wrong = p->kept_number > 0 && !p->kept_fits;
	hex_format(c->hash, sizeof(c->hash), hash);
	result_send(call,
	    c->faults > 0 || kept_wrong ? CTL_ATTENTION : CTL_OK,
	    json_pack("{s:I, s:s, s:I, s:o, s:o}",
		"number", (json_int_t)c->number,
		"hash", hash,
		"faults", (json_int_t)c->faults,
		"first_fault", text_or_null(c->first),
		"head_fits", p->kept_number > 0 ? json_boolean(p->kept_fits)
						: json_null()));
}

/* ---- the file --------------------------------------------------------- */

static void
database_done(void *arg, enum ksm_err err, char *const *findings, size_t n,
    const struct ksm_fail *fail)
{
	struct command_call *call = arg;
	const char *to = arg_text(call, "file");

	for (size_t i = 0; i < n; i++)
		item_send(call, "findings", ctl_text(findings[i]));
	if (err != KSM_OK) {
		fail_err(call, err, "failed", fail);
		return;
	}
	if (to != NULL)
		result_send(call, CTL_OK, json_pack("{s:o}", "file",
		    ctl_text(to)));
	else
		result_send(call, n > 0 ? CTL_ATTENTION : CTL_OK,
		    json_pack("{s:I}", "faults", (json_int_t)n));
}

static void
database_start(struct command_call *call)
{
	char trouble[256];

	/* One that was replaced is another's: its copy would pass for ours. */
	if (engine_store_trouble(call->face->engine, trouble)) {
		command_fail(call, CTL_FAILED, "store", NULL, "%s", trouble);
		return;
	}
	call->face->database(call->face->ctx, arg_text(call, "file"),
	    call_actor(call), database_done, call);
}

static void
database_end(struct command_call *call)
{
	if (!call->done)
		call->face->database_forget(call->face->ctx, call);
}

static const struct command_arg history_args[] = {
	{ "since", ARG_TIME, false },
	{ "until", ARG_TIME, false },
	{ "subject", ARG_NAME, false },
	{ "what", ARG_NAME, false },
	{ "uid", ARG_COUNT, false },
};
static const struct command_arg verify_args[] = {
	{ "head", ARG_NAME, false },
};
static const struct command_arg backup_args[] = {
	{ "file", ARG_FILE, true },
};

static const struct command commands[] = {
	{ .name = "history", ARGS(history_args), .start = history_start,
	    .more = history_more, .end = state_free },
	{ .name = "history verify", ARGS(verify_args), .start = verify_start,
	    .more = verify_more, .end = state_free },
	{ .name = "database backup", ARGS(backup_args), .right = RIGHT_ACT,
	    .start = database_start, .end = database_end },
	{ .name = "database check", .start = database_start,
	    .end = database_end },
};

const struct command_group commands_record = { commands, nitems(commands) };
