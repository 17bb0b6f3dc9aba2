#include "metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ksmpool/fd.h"

#include "client.h"
#include "print_parts.h"
#include "run.h"

#define TIMEOUT_DEFAULT 30 /* s */

/* ---- asking ---------------------------------------------------------- */

static void
item_keep(json_t *doc, const json_t *body)
{
	const char *list;
	json_t *item, *array;

	json_object_foreach((json_t *)(uintptr_t)body, list, item) {
		array = json_object_get(doc, list);
		if (array == NULL) {
			array = json_array();
			(void)json_object_set_new(doc, list, array);
		}
		(void)json_array_append(array, item);
	}
}

json_t *
metrics_ask(const char *socket, ksm_msec timeout, struct ctl_reply *r)
{
	struct ctl_request q = { .command = "metrics" };
	json_t *doc = json_object(), *got = NULL;
	struct client cl;
	bool more = true;

	client_init(&cl);
	q.args = json_object();
	*r = (struct ctl_reply){ .type = CTL_ERROR };
	if (!client_open(&cl, socket, timeout, r) || !client_ask(&cl, &q, r))
		goto out;
	while (more) {
		client_next(&cl, r);
		more = r->type == CTL_ITEM || r->type == CTL_PROGRESS;
		if (r->type == CTL_ITEM)
			item_keep(doc, r->body);
		if (r->type == CTL_RESULT) {
			(void)json_object_update_missing(doc, r->body);
			got = json_incref(doc);
		}
		ctl_reply_clear(r);
	}
out:
	client_close(&cl);
	json_decref(q.args);
	json_decref(doc);
	return got;
}

/* ---- the text -------------------------------------------------------- */

static void
head(FILE *out, const char *name, const char *type, const char *help)
{
	(void)fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name,
	    type);
}

/* A label's value; names may hold anything. */
static void
label(FILE *out, const char *before, const char *name, const char *value)
{
	(void)fprintf(out, "%s%s=\"", before, name);
	for (const char *c = value; *c != '\0'; c++)
		switch (*c) {
		case '\n':
			(void)fputs("\\n", out);
			break;
		case '"':
		case '\\':
			(void)fputc('\\', out);
			/* fall through */
		default:
			(void)fputc(*c, out);
		}
	(void)fputc('"', out);
}

/* Left open: further labels may follow. */
static void
pool_labels(FILE *out, const char *name, const json_t *p)
{
	char size[24];

	(void)snprintf(size, sizeof(size), "%" PRId64, doc_number(p, "size"));
	(void)fputs(name, out);
	label(out, "{", "policy", doc_text(p, "policy"));
	label(out, ",", "role", doc_text(p, "role"));
	label(out, ",", "repository", doc_text(p, "repository"));
	label(out, ",", "algorithm", doc_text(p, "algorithm"));
	label(out, ",", "size", size);
}

static void
value(FILE *out, int64_t n)
{
	(void)fprintf(out, "} %" PRId64 "\n", n);
}

static void
plain(FILE *out, const char *name, const char *type, const char *help,
    int64_t n)
{
	head(out, name, type, help);
	(void)fprintf(out, "%s %" PRId64 "\n", name, n);
}

struct gauge {
	const char *name, *help;
	const char *field; /* absent or null: no sample */
};

static const struct gauge pool_gauges[] = {
	{ "ksmpool_pool_required_keys", "Unused keys the pool must hold.",
	    "required" },
	{ "ksmpool_pool_critical_keys",
	    "Below so many keys not every key can be rolled as promised.",
	    "critical" },
	{ "ksmpool_pool_low_water_keys", "Below so many keys a refill begins.",
	    "low_water" },
	{ "ksmpool_pool_target_keys", "Keys a refill makes it up to.",
	    "target" },
	{ "ksmpool_pool_deficit_keys", "Keys missing from the target.",
	    "deficit" },
	{ "ksmpool_pool_held_keys", "Keys held back by MaxPerRun.", "held" },
	{ "ksmpool_pool_covered_keys", "Ready keys that a backup covers.",
	    "covered" },
	{ "ksmpool_pool_usable_keys",
	    "Keys that could be taken now: ready, and with RequireBackup "
	    "covered.",
	    "usable" },
};

static const struct gauge repository_gauges[] = {
	{ "ksmpool_repository_debris_objects",
	    "Objects without an id that a killed module left.", "debris" },
	{ "ksmpool_repository_foreign_pairs",
	    "Key pairs of other programs at the last look.", "foreign" },
	{ "ksmpool_repository_orphan_keys",
	    "Keys of this installation that are not on record.", "orphans" },
	{ "ksmpool_repository_missing_keys",
	    "Keys on record that are not in the token.", "missing" },
	{ "ksmpool_repository_quarantined_keys", "Keys that failed a check.",
	    "quarantined" },
	{ "ksmpool_repository_overdue_workers",
	    "Workers whose request is past its deadline.", "overdue" },
};

static const struct gauge token_gauges[] = {
	{ "ksmpool_token_pairs", "Key pairs of ours that take room.",
	    "pairs_held" },
	{ "ksmpool_token_objects", "PKCS#11 objects of these pairs.",
	    "objects_held" },
	{ "ksmpool_token_needed_pairs",
	    "Pairs it must hold once every pool has what it requires.",
	    "pairs_need" },
	{ "ksmpool_token_capacity_keys",
	    "Capacity in key pairs as configured; absent: no limit.",
	    "capacity" },
};

static const struct gauge backup_gauges[] = {
	{ "ksmpool_backup_required", "1 where RequireBackup is set, or 0.",
	    "required" },
	{ "ksmpool_last_backup_timestamp_seconds",
	    "Start of the last backup that was committed; absent: none.",
	    "last_s" },
	{ "ksmpool_keys_since_backup", "Keys that no backup covers.",
	    "uncovered" },
	{ "ksmpool_oldest_key_without_backup_timestamp_seconds",
	    "Creation of the oldest of them; absent: there is none.",
	    "oldest_uncovered_s" },
	{ "ksmpool_keys_in_use_without_backup",
	    "Keys that were handed out and that no backup covers.",
	    "uncovered_in_use" },
	{ "ksmpool_backed_up_keys", "Keys that a backup covers.", "covered" },
	{ "ksmpool_backed_up_keys_suffice",
	    "1 if these do for what the formula counts now, or 0.",
	    "suffices" },
	{ "ksmpool_backed_up_keys_last_timestamp_seconds",
	    "Until when these suffice; absent: for ever, or not even now.",
	    "lasts_until_s" },
};

static void
repository_gauges_print(FILE *out, const json_t *list, const char *field,
    const struct gauge *gauges, size_t n)
{
	const json_t *o;
	size_t i;

	for (size_t g = 0; g < n; g++) {
		head(out, gauges[g].name, "gauge", gauges[g].help);
		json_array_foreach(list, i, o) {
			if (!doc_known(o, gauges[g].field))
				continue;
			(void)fputs(gauges[g].name, out);
			label(out, "{", "repository", doc_text(o, field));
			/* some of them are true or false */
			value(out, doc_flag(o, gauges[g].field)
				? 1 : doc_number(o, gauges[g].field));
		}
	}
}

static void
pools_print(FILE *out, const json_t *pools)
{
	static const char *const levels[] = { "full", "ok", "low", "critical",
		"empty" };
	const json_t *p, *n;
	const char *state;
	size_t i;

	head(out, "ksmpool_pool_keys", "gauge", "Keys of the pool by state.");
	json_array_foreach(pools, i, p)
		json_object_foreach(json_object_get(p, "stock"), state, n) {
			pool_labels(out, "ksmpool_pool_keys", p);
			label(out, ",", "state", state);
			value(out, json_integer_value(n));
		}
	for (size_t g = 0; g < nitems(pool_gauges); g++) {
		head(out, pool_gauges[g].name, "gauge", pool_gauges[g].help);
		json_array_foreach(pools, i, p) {
			pool_labels(out, pool_gauges[g].name, p);
			value(out, doc_number(p, pool_gauges[g].field));
		}
	}
	head(out, "ksmpool_pool_level", "gauge",
	    "1 for the level the pool has, 0 for the others.");
	json_array_foreach(pools, i, p)
		for (size_t l = 0; l < nitems(levels); l++) {
			pool_labels(out, "ksmpool_pool_level", p);
			label(out, ",", "state", levels[l]);
			value(out, strcmp(levels[l], doc_text(p, "level")) == 0);
		}
}

static void
statuses_print(FILE *out, const json_t *repositories)
{
	static const char *const statuses[] = { "ok", "starting", "waiting",
		"degraded", "parked", "alien", "stuck" };
	const char *name = "ksmpool_repository_status";
	const json_t *r;
	size_t i;

	head(out, name, "gauge",
	    "1 for the status the repository has, 0 for the others.");
	json_array_foreach(repositories, i, r)
		for (size_t s = 0; s < nitems(statuses); s++) {
			(void)fputs(name, out);
			label(out, "{", "repository", doc_text(r, "name"));
			label(out, ",", "state", statuses[s]);
			value(out,
			    strcmp(statuses[s], doc_text(r, "status")) == 0);
		}
}

static void
generated_labels(FILE *out, const char *name, const json_t *m)
{
	char size[24];

	(void)snprintf(size, sizeof(size), "%" PRId64, doc_number(m, "size"));
	(void)fputs(name, out);
	label(out, "{", "repository", doc_text(m, "repository"));
	label(out, ",", "algorithm", doc_text(m, "algorithm"));
	label(out, ",", "size", size);
}

/* Milliseconds as seconds, exactly: 2500 is 2.5. */
static void
seconds(char out[32], int64_t ms)
{
	size_t len;

	(void)snprintf(out, 32, "%" PRId64 ".%03d", ms / 1000,
	    (int)(ms % 1000));
	len = strlen(out);
	while (out[len - 1] == '0')
		out[--len] = '\0';
	if (out[len - 1] == '.')
		out[len - 1] = '\0';
}

static void
histogram_print(FILE *out, const json_t *m, const json_t *bounds)
{
	const json_t *buckets = json_object_get(m, "buckets");
	int64_t sum = 0;
	char text[32];

	for (size_t i = 0; i < json_array_size(buckets); i++) {
		sum += json_integer_value(json_array_get(buckets, i));
		if (i < json_array_size(bounds))
			seconds(text,
			    json_integer_value(json_array_get(bounds, i)));
		else
			(void)snprintf(text, sizeof(text), "+Inf");
		generated_labels(out, "ksmpool_generate_duration_seconds_bucket",
		    m);
		label(out, ",", "le", text);
		value(out, sum);
	}
	seconds(text, doc_number(m, "sum_ms"));
	generated_labels(out, "ksmpool_generate_duration_seconds_sum", m);
	(void)fprintf(out, "} %s\n", text);
	generated_labels(out, "ksmpool_generate_duration_seconds_count", m);
	value(out, sum);
}

static void
generated_print(FILE *out, const json_t *doc)
{
	const json_t *list = json_object_get(doc, "generated"), *m;
	size_t i;

	head(out, "ksmpool_keys_generated_total", "counter",
	    "Keys made and recorded since the daemon started.");
	json_array_foreach(list, i, m) {
		generated_labels(out, "ksmpool_keys_generated_total", m);
		value(out, doc_number(m, "keys"));
	}
	head(out, "ksmpool_generate_duration_seconds", "histogram",
	    "How long the token took for one key.");
	json_array_foreach(list, i, m)
		histogram_print(out, m, json_object_get(doc, "bounds_ms"));
}

static void
errors_print(FILE *out, const json_t *doc)
{
	const json_t *list = json_object_get(doc, "errors"), *o, *n;
	const char *reason;
	size_t i;

	head(out, "ksmpool_generate_errors_total", "counter",
	    "Keys that could not be made, by reason.");
	json_array_foreach(list, i, o)
		json_object_foreach(json_object_get(o, "reasons"), reason, n) {
			(void)fputs("ksmpool_generate_errors_total", out);
			label(out, "{", "repository", doc_text(o, "repository"));
			label(out, ",", "reason", reason);
			value(out, json_integer_value(n));
		}
	head(out, "ksmpool_worker_deaths_total", "counter",
	    "Worker processes that died.");
	json_array_foreach(list, i, o) {
		(void)fputs("ksmpool_worker_deaths_total", out);
		label(out, "{", "repository", doc_text(o, "repository"));
		value(out, doc_number(o, "deaths"));
	}
}

void
metrics_print(FILE *out, const json_t *doc)
{
	const json_t *repositories = json_object_get(doc, "repositories");
	const json_t *handouts = json_object_get(doc, "handouts");

	plain(out, "ksmpool_up", "gauge", "1 if the daemon answered.",
	    doc != NULL);
	if (doc == NULL)
		return;
	head(out, "ksmpool_build_info", "gauge", "Always 1.");
	(void)fputs("ksmpool_build_info", out);
	label(out, "{", "version", doc_text(doc, "daemon_version"));
	value(out, 1);
	plain(out, "ksmpool_start_time_seconds", "gauge",
	    "When the daemon started, seconds since 1970.",
	    doc_number(doc, "started_s"));
	plain(out, "ksmpool_last_topup_timestamp_seconds", "gauge",
	    "When a run last left every pool full; 0: not on record.",
	    doc_number(doc, "last_topup_s"));
	plain(out, "ksmpool_newest_key_timestamp_seconds", "gauge",
	    "Creation of the newest key on record; 0: there is none.",
	    doc_number(doc, "newest_key_s"));
	plain(out, "ksmpool_zones", "gauge", "Zones that are counted on.",
	    doc_number(doc, "zones"));
	plain(out, "ksmpool_zonelist_outdated", "gauge",
	    "1 while an older zone list stays in force.",
	    doc_flag(doc, "older_zonelist"));
	plain(out, "ksmpool_paused", "gauge", "1 while it is paused.",
	    doc_flag(doc, "paused"));
	plain(out, "ksmpool_clock_trouble", "gauge",
	    "1 while the clock is behind the newest record.",
	    doc_known(doc, "clock"));
	plain(out, "ksmpool_database_trouble", "gauge",
	    "1 while the database cannot be written.",
	    doc_known(doc, "database"));
	plain(out, "ksmpool_handouts_total", "counter",
	    "Keys handed out or marked used, of all time.",
	    doc_number(handouts, "number"));
	plain(out, "ksmpool_handouts_locked", "gauge",
	    "1 while nothing is handed out, or the last try failed.",
	    doc_flag(handouts, "locked") || doc_known(handouts, "reason"));
	pools_print(out, json_object_get(doc, "pools"));
	statuses_print(out, repositories);
	repository_gauges_print(out, repositories, "name", repository_gauges,
	    nitems(repository_gauges));
	repository_gauges_print(out, json_object_get(doc, "tokens"),
	    "repository", token_gauges, nitems(token_gauges));
	repository_gauges_print(out, json_object_get(doc, "backups"),
	    "repository", backup_gauges, nitems(backup_gauges));
	generated_print(out, doc);
	errors_print(out, doc);
}

/* ---- the file -------------------------------------------------------- */

static enum ksm_err
directory_sync(const char *path, struct ksm_fail *fail)
{
	char copy[PATH_MAX];
	enum ksm_err err = KSM_OK;
	int fd;

	(void)snprintf(copy, sizeof(copy), "%s", path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1 || fsync(fd) == -1)
		err = ksm_failf(fail, KSM_ESYS, "directory of %s: %s", path,
		    strerror(errno));
	fd_close(&fd);
	return err;
}

enum ksm_err
metrics_write(const char *path, const char *text, size_t len,
    struct ksm_fail *fail)
{
	char tmp[PATH_MAX + 8];
	enum ksm_err err = KSM_OK;
	size_t n = strlen(path);
	bool made = false;
	int fd = -1;

	if (n < 6 || n >= PATH_MAX || strcmp(path + n - 5, ".prom") != 0 ||
	    path[n - 6] == '/')
		return ksm_failf(fail, KSM_EREFUSED,
		    "%s: the name must end in .prom, or the node exporter does "
		    "not read it", path);
	(void)snprintf(tmp, sizeof(tmp), "%s.XXXXXX", path);
	fd = mkostemp(tmp, O_CLOEXEC);
	if (fd == -1) {
		err = ksm_failf(fail, KSM_ESYS, "%s: %s", tmp,
		    strerror(errno));
		goto out;
	}
	made = true;
	err = fd_write_all(fd, text, len, fail);
	if (err != KSM_OK)
		goto out;
	if (fchmod(fd, 0644) == -1 || fsync(fd) == -1 ||
	    rename(tmp, path) == -1) {
		err = ksm_failf(fail, KSM_ESYS, "%s: %s", path,
		    strerror(errno));
		goto out;
	}
	made = false;
	err = directory_sync(path, fail);
out:
	if (made)
		(void)unlink(tmp);
	fd_close(&fd);
	return err;
}

/* ---- ksmctl metrics -------------------------------------------------- */

static ksm_msec
timeout_ms(const struct ctl_call *call)
{
	if (call->timeout == 0)
		return -1;
	if (call->timeout < 0)
		return TIMEOUT_DEFAULT * 1000;
	return call->timeout > INT64_MAX / 1000 ? -1 : call->timeout * 1000;
}

static int
say(const struct run_streams *to, int status, const char *code,
    const char *text)
{
	struct ctl_reply r = { .type = CTL_ERROR, .exit = status };

	(void)snprintf(r.code, sizeof(r.code), "%s", code);
	(void)snprintf(r.text, sizeof(r.text), "%s", text);
	run_say_error(to, false, "metrics", &r);
	return status;
}

int
metrics_run(const struct ctl_call *call)
{
	const struct run_streams to = { .out = stdout, .err = stderr };
	const char *path = json_string_value(
	    json_object_get(call->args, "output"));
	struct ksm_fail fail = { .text = "" };
	struct ctl_reply r;
	json_t *doc = NULL;
	char *text = NULL;
	size_t len = 0;
	enum ksm_err err;
	int status = CTL_OK;
	FILE *f;

	if (call->json && path != NULL)
		return say(&to, CTL_USAGE, "usage",
		    "--output is for Prometheus text, not for --json");
	if (call->json)
		return run_call(call, &to);
	doc = metrics_ask(call->socket, timeout_ms(call), &r);
	if (doc == NULL) {
		status = r.exit;
		run_say_error(&to, false, "metrics", &r);
	}
	/* Whether it runs is not known then: an old file tells its age. */
	if (doc == NULL && status != CTL_UNREACHABLE && status != CTL_TIMEOUT)
		return status;
	f = open_memstream(&text, &len);
	if (f != NULL) {
		metrics_print(f, doc);
		if (fclose(f) != 0)
			len = 0;
	}
	if (f == NULL || len == 0)
		status = say(&to, CTL_FAILED, "no-memory", "out of memory");
	else if (path == NULL)
		(void)fwrite(text, 1, len, stdout);
	else {
		err = metrics_write(path, text, len, &fail);
		if (err != KSM_OK)
			status = say(&to,
			    err == KSM_EREFUSED ? CTL_USAGE : CTL_FAILED,
			    "failed", fail.text);
	}
	free(text);
	json_decref(doc);
	return status;
}
