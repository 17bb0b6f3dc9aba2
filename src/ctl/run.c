#include "run.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "ksmpool/clock.h"

#include "client.h"
#include "print.h"

#define TIMEOUT_DEFAULT 30 /* s */

/* What came so far. */
struct answer {
	json_t *doc;	/* lists, later the result; of a stream the result */
	int64_t items;	/* of a stream */
	bool opened;	/* a stream's document was begun */
	bool bar;	/* a progress bar stands on the terminal */
	ksm_msec since; /* its beginning */
};

static json_t *
error_json(const struct ctl_reply *r)
{
	return json_pack("{s:o, s:o, s:o}", "code", ctl_text(r->code), "text",
	    ctl_text(r->text), "hint",
	    r->hint[0] != '\0' ? ctl_text(r->hint) : json_null());
}

static void
error_line(FILE *err, const char *command, const struct ctl_reply *r)
{
	(void)fprintf(err, "ksmctl: ");
	if (command != NULL)
		(void)fprintf(err, "%s: ", command);
	text_print(err, r->text);
	if (r->hint[0] != '\0') {
		(void)fprintf(err, " (");
		text_print(err, r->hint);
		(void)fputc(')', err);
	}
	(void)fputc('\n', err);
}

static void
document_print(FILE *out, const json_t *doc)
{
	(void)json_dumpf(doc, out, JSON_COMPACT);
	(void)fputc('\n', out);
}

void
run_say_error(const struct run_streams *to, bool json, const char *command,
    const struct ctl_reply *r)
{
	json_t *doc;

	if (!json) {
		error_line(to->err, command, r);
		return;
	}
	doc = json_pack(
	    "{s:i, s:o}", "version", MSG_CTL_VERSION, "error", error_json(r));
	document_print(to->out, doc);
	json_decref(doc);
}

void
run_say_version(const struct run_streams *to)
{
	json_t *doc = json_pack("{s:i, s:s}", "version", MSG_CTL_VERSION,
	    "ksmctl_version", KSM_VERSION);

	document_print(to->out, doc);
	json_decref(doc);
}

/* `c` NULL: of all commands. */
void
run_say_help(const struct run_streams *to, const struct ctl_command *c)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	json_t *doc = NULL;

	if (f == NULL)
		return;
	if (c != NULL)
		help_print_command(f, c);
	else
		help_print(f);
	if (fclose(f) == 0)
		doc = json_pack("{s:i, s:s}", "version", MSG_CTL_VERSION,
		    "help", text);
	document_print(to->out, doc);
	json_decref(doc);
	free(text);
}

/* A pipe or socket that nobody reads: poll(2) says so, whatever failed. */
static bool
reader_gone(FILE *out)
{
	struct pollfd p = { .fd = fileno(out), .events = POLLOUT };

	return p.fd >= 0 && poll(&p, 1, 0) == 1 && (p.revents & POLLERR) != 0;
}

int
run_finish(const struct run_streams *to, int status)
{
	bool bad;

	errno = 0;
	bad = fflush(to->out) != 0;
	bad = ferror(to->out) || bad;
	if (!bad)
		return status;
	/* The write that failed may be long ago, its errno lost. */
	if (errno == EPIPE || (errno == 0 && reader_gone(to->out)))
		return CTL_OK;
	(void)fprintf(to->err, "ksmctl: standard output: %s\n",
	    errno != 0 ? strerror(errno) : "write error");
	return CTL_FAILED;
}

static void
bar_clear(const struct run_streams *to, struct answer *a)
{
	if (!a->bar)
		return;
	(void)fputs("\r\033[K", to->err);
	(void)fflush(to->err);
	a->bar = false;
}

/* {"version":1,"keys":[ - once, before the first item or the end. */
static void
stream_open(
    const struct ctl_call *call, const struct run_streams *to, struct answer *a)
{
	if (a->opened || !call->json)
		return;
	(void)fprintf(to->out, "{\"version\":%d,\"%s\":[", MSG_CTL_VERSION,
	    call->command->lists[0]);
	a->opened = true;
}

/* What follows the list, in the same document. */
static void
stream_close(FILE *out, const json_t *members)
{
	const char *name;
	json_t *value;

	(void)fputs("]", out);
	json_object_foreach((json_t *)(uintptr_t)members, name, value) {
		(void)fprintf(out, ",\"%s\":", name);
		(void)json_dumpf(value, out, JSON_COMPACT | JSON_ENCODE_ANY);
	}
	(void)fputs("}\n", out);
}

/* False: nobody reads any more. */
static bool
take_item(const struct ctl_call *call, const struct run_streams *to,
    struct answer *a, const struct ctl_reply *r)
{
	const struct ctl_command *c = call->command;
	const char *list;
	json_t *item, *array;

	json_object_foreach(r->body, list, item) {
		if (!c->stream || strcmp(list, c->lists[0]) != 0) {
			array = json_object_get(a->doc, list);
			if (array == NULL) {
				array = json_array();
				(void)json_object_set_new(a->doc, list, array);
			}
			(void)json_array_append(array, item);
			continue;
		}
		stream_open(call, to, a);
		if (call->json) {
			if (a->items > 0)
				(void)fputc(',', to->out);
			(void)json_dumpf(item, to->out, JSON_COMPACT);
		} else if (!call->quiet)
			c->print_item(to->out, item, a->items == 0);
		a->items++;
	}
	return !ferror(to->out);
}

static void
take_progress(const struct ctl_call *call, const struct run_streams *to,
    struct answer *a, const struct ctl_reply *r)
{
	if (!to->progress || call->quiet || r->total <= 0)
		return;
	if (!a->bar && a->since == 0)
		a->since = clock_steady();
	a->bar = true;
	print_progress(to->err, r->done, r->total, clock_steady() - a->since);
}

static void
take_result(const struct ctl_call *call, const struct run_streams *to,
    struct answer *a, const struct ctl_reply *r, int *status)
{
	const struct ctl_command *c = call->command;

	(void)json_object_update_missing(a->doc, r->body);
	if (c->finish != NULL)
		c->finish(call, to->err, a->doc, status);
	if (call->json && c->stream) {
		stream_open(call, to, a);
		(void)json_object_del(a->doc, "version");
		(void)json_object_del(a->doc, c->lists[0]);
		stream_close(to->out, a->doc);
	} else if (call->json)
		document_print(to->out, a->doc);
	else if (!call->quiet)
		c->print(to->out, a->doc);
	if (c->note != NULL && !call->json &&
	    (!call->quiet || *status == CTL_OK))
		c->note(to->err, a->doc);
	if (!call->quiet || *status == CTL_OK)
		return;
	(void)fprintf(to->err, "ksmctl: %s: ", c->name);
	if (c->trouble != NULL)
		c->trouble(to->err, a->doc);
	else
		(void)fprintf(to->err, "look at 'ksmctl %s'", c->name);
	(void)fputc('\n', to->err);
}

static void
take_error(const struct ctl_call *call, const struct run_streams *to,
    struct answer *a, const struct ctl_reply *r)
{
	const struct ctl_command *c = call->command;
	json_t *doc = NULL, *list;

	if (call->json && a->opened) {
		doc = json_pack("{s:o}", "error", error_json(r));
		stream_close(to->out, doc);
	} else if (call->json) {
		/* Lists that came before belong to the answer: findings. */
		doc = json_pack("{s:i}", "version", MSG_CTL_VERSION);
		for (size_t i = 0; i < nitems(c->lists) - 1; i++) {
			if (c->lists[i] == NULL)
				break;
			list = json_object_get(a->doc, c->lists[i]);
			if (json_array_size(list) > 0)
				(void)json_object_set(doc, c->lists[i], list);
		}
		(void)json_object_set_new(doc, "error", error_json(r));
		document_print(to->out, doc);
	} else {
		if (!call->quiet && c->lists[0] != NULL && !c->stream &&
		    json_array_size(json_object_get(a->doc, c->lists[0])) > 0) {
			c->print(to->out, a->doc);
			(void)fflush(to->out);
		}
		error_line(to->err, c->name, r);
	}
	json_decref(doc);
}

static ksm_msec
timeout_ms(const struct ctl_call *call)
{
	if (call->timeout > 0)
		return call->timeout > INT64_MAX / 1000 ? -1
							: call->timeout * 1000;
	if (call->timeout == 0)
		return -1;
	return call->command->slow ||
		       json_is_true(json_object_get(call->args, "wait"))
		   ? -1
		   : TIMEOUT_DEFAULT * 1000;
}

static json_t *
document_new(const struct ctl_command *c)
{
	json_t *doc = json_pack("{s:i}", "version", MSG_CTL_VERSION);

	if (c->own_version)
		(void)json_object_set_new(doc, "ksmctl_version",
		    json_string(KSM_VERSION));
	for (size_t i = 0; i < nitems(c->lists) && c->lists[i] != NULL; i++)
		(void)json_object_set_new(doc, c->lists[i], json_array());
	return doc;
}

static int ask_daemon(
    const struct ctl_call *call, const struct run_streams *to);

/* What would happen, by the daemon's own word. False: it refused. */
static bool
dry_run_show(
    const struct ctl_call *call, const struct run_streams *to, int *status)
{
	struct ctl_call dry = *call;

	dry.args = json_deep_copy(call->args);
	dry.json = dry.quiet = false;
	(void)json_object_set_new(dry.args, "dry_run", json_true());
	*status = ask_daemon(&dry, to);
	json_decref(dry.args);
	return *status == CTL_OK || *status == CTL_ATTENTION;
}

/*
 * What cannot be undone is not done by a slip of the hand: on a terminal it
 * is shown and asked for, anywhere else --yes must have been said.
 */
static bool
confirmed(const struct ctl_call *call, const struct run_streams *to,
    int *status)
{
	const struct ctl_command *c = call->command;
	bool yes = json_is_true(json_object_get(call->args, "yes"));
	struct ctl_reply r = { .type = CTL_ERROR, .exit = CTL_USAGE };
	struct run_streams shown = *to;
	char answer[16] = "";

	(void)json_object_del(call->args, "yes");
	*status = CTL_USAGE;
	if (c->confirm == NULL || yes ||
	    json_is_true(json_object_get(call->args, "dry_run")))
		return true;
	(void)snprintf(r.code, sizeof(r.code), "usage");
	if (!to->asks) {
		(void)snprintf(r.text, sizeof(r.text),
		    "it must be confirmed, and this is no terminal");
		(void)snprintf(r.hint, sizeof(r.hint), "--yes in scripts");
		run_say_error(to, call->json, c->name, &r);
		return false;
	}
	shown.out = to->err;
	if (c->dry_run && !dry_run_show(call, &shown, status))
		return false;
	(void)fprintf(to->err, "%s\nType \"yes\" to go on: ", c->confirm);
	(void)fflush(to->err);
	if (fgets(answer, sizeof(answer), stdin) != NULL &&
	    strcmp(answer, "yes\n") == 0)
		return true;
	*status = CTL_USAGE;
	(void)snprintf(r.text, sizeof(r.text),
	    "not confirmed; nothing was changed");
	run_say_error(to, call->json, c->name, &r);
	return false;
}

int
run_call(const struct ctl_call *call, const struct run_streams *to)
{
	struct ctl_reply r = { .type = CTL_ERROR, .exit = CTL_USAGE };
	struct ksm_fail fail = { .text = "" };
	int status;

	if (call->command->check != NULL &&
	    call->command->check(call, &fail) != KSM_OK) {
		(void)snprintf(r.code, sizeof(r.code), "usage");
		(void)snprintf(r.text, sizeof(r.text), "%s", fail.text);
		run_say_error(to, call->json, call->command->name, &r);
		return CTL_USAGE;
	}
	return confirmed(call, to, &status) ? ask_daemon(call, to) : status;
}

static int
ask_daemon(const struct ctl_call *call, const struct run_streams *to)
{
	struct ctl_request q = { .args = call->args };
	struct answer a = { .items = 0 };
	struct ctl_reply r = { .type = CTL_ERROR };
	struct client cl;
	bool more = true;
	int status = CTL_FAILED;

	client_init(&cl);
	a.doc = document_new(call->command);
	(void)snprintf(q.command, sizeof(q.command), "%s", call->command->name);
	if (!client_open(&cl, call->socket, timeout_ms(call), &r) ||
	    !client_ask(&cl, &q, &r)) {
		take_error(call, to, &a, &r);
		status = r.exit;
		goto out;
	}
	while (more) {
		client_next(&cl, &r);
		status = r.exit;
		switch (r.type) {
		case CTL_ITEM:
			more = take_item(call, to, &a, &r);
			break;
		case CTL_PROGRESS:
			take_progress(call, to, &a, &r);
			break;
		case CTL_RESULT:
			bar_clear(to, &a);
			take_result(call, to, &a, &r, &status);
			more = false;
			break;
		case CTL_ERROR:
			bar_clear(to, &a);
			take_error(call, to, &a, &r);
			more = false;
			break;
		}
		ctl_reply_clear(&r);
	}
out:
	client_close(&cl);
	json_decref(a.doc);
	return status;
}
