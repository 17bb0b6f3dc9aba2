#include "monitor.h"

#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "ksmpool/duration.h"

#include "command.h"
#include "metrics.h"
#include "print_parts.h"

#define TIMEOUT_DEFAULT 10 /* s; shorter than what calls a plug-in waits */
#define TIMEOUT_MOST	3600

/* As the alert rules have it. */
#define UNCOVERED_MOST 2592000 /* s, 30 days a key may wait for a backup */
#define LASTS_LEAST    604800  /* s, 7 days that backed-up keys must last */
#define DIGITS(n)      DIGITS_(n)
#define DIGITS_(n)     #n

static const char *const state_text[] = { "OK", "WARNING", "CRITICAL",
	"UNKNOWN" };

/* ---- ranges ---------------------------------------------------------- */

/* Digits and a point: strtod alone takes "inf", "0x1p3" and blanks. */
static bool
decimal_parse(const char *text, size_t len, double *out)
{
	char copy[32], *end;
	size_t skip = len > 0 && text[0] == '-';

	if (len <= skip || len >= sizeof(copy) ||
	    text[skip] < '0' || text[skip] > '9')
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	if (strspn(copy + skip, "0123456789.") != len - skip)
		return false;
	*out = strtod(copy, &end);
	return *end == '\0';
}

bool
monitor_range_parse(const char *text, struct monitor_range *out)
{
	struct monitor_range r = { .given = true, .high = INFINITY };
	const char *at = text, *colon;

	if (strlen(text) >= sizeof(r.text))
		return false;
	(void)snprintf(r.text, sizeof(r.text), "%s", text);
	if (*at == '@') {
		r.inside = true;
		at++;
	}
	colon = strchr(at, ':');
	if (colon == NULL) {
		if (!decimal_parse(at, strlen(at), &r.high))
			return false;
	} else {
		if (colon == at + 1 && *at == '~')
			r.low = -INFINITY;
		else if (!decimal_parse(at, (size_t)(colon - at), &r.low))
			return false;
		if (colon[1] != '\0' &&
		    !decimal_parse(colon + 1, strlen(colon + 1), &r.high))
			return false;
	}
	if (r.low > r.high)
		return false;
	*out = r;
	return true;
}

bool
monitor_range_alerts(const struct monitor_range *r, double value)
{
	bool within = value >= r->low && value <= r->high;

	return r->given && within == r->inside;
}

/* ---- judging --------------------------------------------------------- */

struct verdict {
	enum monitor_state state;
	char text[1024]; /* the worst that was found first */
	int found;
};

static void verdict_add(struct verdict *v, enum monitor_state state,
    const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void
verdict_add(struct verdict *v, enum monitor_state state, const char *fmt, ...)
{
	va_list ap;

	v->found++;
	if (v->found > 1 && state <= v->state)
		return;
	v->state = state;
	va_start(ap, fmt);
	(void)vsnprintf(v->text, sizeof(v->text), fmt, ap);
	va_end(ap);
}

/* POLICY[/ROLE[/REPOSITORY]]; names may hold a '/' themselves. */
static bool
pool_wanted(const struct monitor_want *want, const json_t *p)
{
	char name[1024];
	size_t len;

	if (want->repository != NULL &&
	    strcmp(want->repository, doc_text(p, "repository")) != 0)
		return false;
	if (want->pool == NULL)
		return true;
	(void)snprintf(name, sizeof(name), "%s/%s/%s", doc_text(p, "policy"),
	    doc_text(p, "role"), doc_text(p, "repository"));
	len = strlen(want->pool);
	return strncmp(name, want->pool, len) == 0 &&
	    (name[len] == '\0' || name[len] == '/');
}

/* Tenths, cut off: 99.96 % is not yet 100 %. What needs none has enough. */
static double
pool_percent(const json_t *p)
{
	int64_t required = doc_number(p, "required");

	if (required <= 0)
		return 100;
	return (double)(int64_t)((double)pool_usable(p) * 1000 /
	    (double)required) / 10;
}

static void
pool_levels_judge(struct verdict *v, const json_t *p)
{
	const char *level = doc_text(p, "level");
	enum monitor_state state;
	char text[1024];

	if (strcmp(level, "critical") == 0 || strcmp(level, "empty") == 0)
		state = MONITOR_CRITICAL;
	else if (strcmp(level, "low") == 0)
		state = MONITOR_WARNING;
	else
		return;
	pool_trouble(p, text, sizeof(text));
	verdict_add(v, state, "%s", text);
}

static void
pool_ranges_judge(struct verdict *v, const struct monitor_want *want,
    const json_t *p, double lowest)
{
	const struct monitor_range *range;
	enum monitor_state state;

	if (monitor_range_alerts(&want->critical, lowest)) {
		range = &want->critical;
		state = MONITOR_CRITICAL;
	} else if (monitor_range_alerts(&want->warning, lowest)) {
		range = &want->warning;
		state = MONITOR_WARNING;
	} else
		return;
	verdict_add(v, state,
	    "pool %s %s in %s has %.1f %% of what is required (%s)",
	    doc_text(p, "policy"), doc_text(p, "role"),
	    doc_text(p, "repository"), lowest, range->text);
}

static void
repository_judge(struct verdict *v, const json_t *r)
{
	const char *status = doc_text(r, "status");

	if (strcmp(status, "parked") == 0 || strcmp(status, "alien") == 0 ||
	    strcmp(status, "stuck") == 0)
		verdict_add(v, MONITOR_CRITICAL, "repository %s is %s: %s",
		    doc_text(r, "name"), status,
		    doc_text_or(r, "reason", "no reason given"));
	else if (strcmp(status, "ok") != 0 && strcmp(status, "starting") != 0)
		verdict_add(v, MONITOR_WARNING, "repository %s is %s: %s",
		    doc_text(r, "name"), status,
		    doc_text_or(r, "reason", "no reason given"));
	if (doc_number(r, "missing") > 0)
		verdict_add(v, MONITOR_WARNING,
		    "repository %s: %" PRId64 " %s missing from the token",
		    doc_text(r, "name"), doc_number(r, "missing"),
		    plural(doc_number(r, "missing"), "key is", "keys are"));
}

/* Who keeps no ledger and does not ask for backups is not told of them. */
static bool
backup_told(const json_t *b)
{
	return doc_flag(b, "required") || doc_known(b, "last");
}

static void
backup_judge(struct verdict *v, const json_t *doc, const json_t *b)
{
	int64_t in_use = doc_number(b, "uncovered_in_use");
	int64_t age = doc_number(doc, "now_s") -
	    doc_number(b, "oldest_uncovered_s");
	const char *name = doc_text(b, "repository");
	char human[DURATION_TEXT];

	if (!backup_told(b))
		return;
	if (in_use > 0)
		verdict_add(v, MONITOR_CRITICAL,
		    "repository %s: %" PRId64 " %s in use and in no backup",
		    name, in_use, plural(in_use, "key is", "keys are"));
	/* What a backup would help against: others are told as levels. */
	if (doc_number(b, "first_out_uncovered") > 0 &&
	    !doc_flag(b, "suffices"))
		verdict_add(v, MONITOR_WARNING,
		    "repository %s: backed-up keys of %s do not suffice",
		    name, doc_text(b, "first_out"));
	else if (doc_number(b, "first_out_uncovered") > 0 &&
	    doc_known(b, "lasts_s") && doc_number(b, "lasts_s") < LASTS_LEAST)
		verdict_add(v, MONITOR_WARNING,
		    "repository %s: backed-up keys of %s last until %s", name,
		    doc_text(b, "first_out"), doc_text(b, "lasts_until"));
	if (doc_known(b, "oldest_uncovered_s") && age > UNCOVERED_MOST) {
		duration_human(age, human);
		verdict_add(v, MONITOR_WARNING,
		    "repository %s: a key is in no backup since %s", name,
		    human);
	}
}

static bool
repository_wanted(const struct monitor_want *want, const char *name)
{
	return want->repository == NULL || strcmp(want->repository, name) == 0;
}

/* The sum of all repositories: the least that is true of each. */
static void
backups_sum(const struct monitor_want *want, const json_t *doc, char *out,
    size_t size)
{
	const json_t *list = json_object_get(doc, "backups"), *b;
	const json_t *last = NULL, *lasts = NULL;
	int64_t now = doc_number(doc, "now_s"), uncovered = 0, oldest = now;
	bool any = false, none = false;
	char human[DURATION_TEXT];
	size_t i, len = 0;

	out[0] = '\0';
	json_array_foreach(list, i, b) {
		if (!repository_wanted(want, doc_text(b, "repository")))
			continue;
		any = true;
		none = none || !doc_known(b, "last");
		uncovered += doc_number(b, "uncovered");
		if (doc_known(b, "oldest_uncovered_s") &&
		    doc_number(b, "oldest_uncovered_s") < oldest)
			oldest = doc_number(b, "oldest_uncovered_s");
		if (doc_known(b, "last") && (last == NULL ||
		    doc_number(b, "last_s") < doc_number(last, "last_s")))
			last = b;
		if (doc_known(b, "last") && doc_known(b, "lasts_s") &&
		    (lasts == NULL || doc_number(b, "lasts_s") <
			doc_number(lasts, "lasts_s")))
			lasts = b;
	}
	if (!any)
		return;
	len = (size_t)snprintf(out, size, "; %" PRId64 " %s in no backup",
	    uncovered, plural(uncovered, "key", "keys"));
	if (uncovered > 0 && oldest < now) {
		duration_human(now - oldest, human);
		len += (size_t)snprintf(out + len, size - len,
		    ", the oldest %s old", human);
	}
	if (none)
		len += (size_t)snprintf(out + len, size - len,
		    last == NULL ? ", no backup on record"
				 : ", a repository without one on record");
	if (last != NULL)
		len += (size_t)snprintf(out + len, size - len,
		    ", last backup begun %s", doc_text(last, "last"));
	if (lasts != NULL)
		(void)snprintf(out + len, size - len,
		    ", backed-up keys last until %s",
		    doc_text(lasts, "lasts_until"));
}

static void
daemon_judge(struct verdict *v, const json_t *doc)
{
	const json_t *handouts = json_object_get(doc, "handouts");

	if (doc_known(doc, "database"))
		verdict_add(v, MONITOR_CRITICAL, "database: %s",
		    doc_text(doc, "database"));
	if (doc_known(doc, "clock"))
		verdict_add(v, MONITOR_CRITICAL, "clock: %s",
		    doc_text(doc, "clock"));
	if (doc_flag(handouts, "locked") || doc_known(handouts, "reason"))
		verdict_add(v, MONITOR_CRITICAL, "nothing is handed out: %s",
		    doc_text_or(handouts, "reason", "no reason given"));
	if (doc_flag(doc, "older_zonelist"))
		verdict_add(v, MONITOR_WARNING,
		    "an older zone list stays in force");
	if (doc_flag(doc, "paused"))
		verdict_add(v, MONITOR_WARNING,
		    "key generation is paused");
}

/* ---- the line -------------------------------------------------------- */

/* '|' begins performance data; a newline would begin a second line. */
static void
text_clean(char *text)
{
	for (char *c = text; *c != '\0'; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f || *c == '|')
			*c = '?';
}

/* Between quotes: no quote, and '=' would end it early. */
static void
label_clean(char *text)
{
	text_clean(text);
	for (char *c = text; *c != '\0'; c++)
		if (*c == '\'' || *c == '=')
			*c = '_';
}

/* Whole or not at all. */
static void
line_add(char line[MONITOR_LINE], const char *text)
{
	size_t used = strlen(line);

	if (used + strlen(text) < MONITOR_LINE)
		memcpy(line + used, text, strlen(text) + 1);
}

static void
pool_data(char line[MONITOR_LINE], const json_t *p)
{
	char name[900], text[1100];

	(void)snprintf(name, sizeof(name), "%s/%s/%s/%s/%" PRId64,
	    doc_text(p, "policy"), doc_text(p, "role"),
	    doc_text(p, "repository"), doc_text(p, "algorithm"),
	    doc_number(p, "size"));
	label_clean(name);
	(void)snprintf(text, sizeof(text),
	    " '%s'=%" PRId64 ";%" PRId64 ":;%" PRId64 ":;0;", name,
	    pool_usable(p), doc_number(p, "low_water"),
	    doc_number(p, "critical"));
	line_add(line, text);
}

/* Seconds and keys; an age that there is not is left out. */
static void
backup_data(char line[MONITOR_LINE], const json_t *doc, const json_t *b)
{
	int64_t now = doc_number(doc, "now_s");
	bool told = backup_told(b);
	bool helps = told && doc_number(b, "first_out_uncovered") > 0;
	struct {
		const char *what, *field, *unit, *limits;
		bool age;
	} data[] = {
		{ "uncovered", "uncovered", "", ";;;0;", false },
		{ "uncovered_in_use", "uncovered_in_use", "",
		    told ? ";;0;0;" : ";;;0;", false },
		{ "oldest_uncovered", "oldest_uncovered_s", "s",
		    told ? ";" DIGITS(UNCOVERED_MOST) ";;0;" : ";;;0;", true },
		{ "last", "last_s", "s", ";;;0;", true },
		{ "lasts", "lasts_s", "s",
		    helps ? ";" DIGITS(LASTS_LEAST) ":;;0;" : ";;;0;", false },
	};
	char name[400], text[600];
	int64_t n;

	for (size_t i = 0; i < nitems(data); i++) {
		if (!doc_known(b, data[i].field))
			continue;
		n = doc_number(b, data[i].field);
		if (data[i].age)
			n = now > n ? now - n : 0;
		(void)snprintf(name, sizeof(name), "backup/%s/%s",
		    doc_text(b, "repository"), data[i].what);
		label_clean(name);
		(void)snprintf(text, sizeof(text), " '%s'=%" PRId64 "%s%s",
		    name, n, data[i].unit, data[i].limits);
		line_add(line, text);
	}
}

enum monitor_state
monitor_judge(const struct monitor_want *want, const json_t *doc,
    char line[MONITOR_LINE])
{
	const json_t *pools = json_object_get(doc, "pools"), *o;
	const json_t *worst = NULL;
	const json_t *repositories = json_object_get(doc, "repositories");
	const json_t *backups = json_object_get(doc, "backups");
	bool ranges = want->warning.given || want->critical.given;
	struct verdict v = { .state = MONITOR_OK };
	double lowest = 100, percent;
	int n = 0, seen = 0;
	char text[MONITOR_LINE];
	size_t i;

	line[0] = '\0';
	daemon_judge(&v, doc);
	json_array_foreach(repositories, i, o) {
		if (!repository_wanted(want, doc_text(o, "name")))
			continue;
		seen++;
		repository_judge(&v, o);
	}
	json_array_foreach(backups, i, o)
		if (repository_wanted(want, doc_text(o, "repository")))
			backup_judge(&v, doc, o);
	json_array_foreach(pools, i, o) {
		if (!pool_wanted(want, o))
			continue;
		percent = pool_percent(o);
		if (n++ == 0 || percent < lowest) {
			lowest = percent;
			worst = o;
		}
		if (!ranges)
			pool_levels_judge(&v, o);
	}
	if (worst != NULL && ranges)
		pool_ranges_judge(&v, want, worst, lowest);
	if (want->repository != NULL && seen == 0) {
		(void)snprintf(line, MONITOR_LINE,
		    "KSMPOOL UNKNOWN - there is no repository %.200s",
		    want->repository);
		text_clean(line);
		return MONITOR_UNKNOWN;
	}
	if (want->pool != NULL && n == 0) {
		(void)snprintf(line, MONITOR_LINE,
		    "KSMPOOL UNKNOWN - there is no pool %.200s", want->pool);
		text_clean(line);
		return MONITOR_UNKNOWN;
	}
	if (v.found == 0)
		(void)snprintf(v.text, sizeof(v.text), "%d %s, the lowest has "
		    "%.1f %% of what is required", n,
		    plural(n, "pool", "pools"), lowest);
	(void)snprintf(text, sizeof(text), "KSMPOOL %s - %s",
	    state_text[v.state], v.text);
	if (v.found > 1)
		(void)snprintf(text + strlen(text),
		    sizeof(text) - strlen(text), " (and %d more)", v.found - 1);
	backups_sum(want, doc, v.text, sizeof(v.text));
	(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s",
	    v.text);
	text_clean(text);
	line_add(line, text);
	(void)snprintf(text, sizeof(text), " | 'lowest'=%.1f%%;%s;%s;0;",
	    lowest, want->warning.text, want->critical.text);
	line_add(line, text);
	json_array_foreach(pools, i, o)
		if (pool_wanted(want, o))
			pool_data(line, o);
	json_array_foreach(backups, i, o)
		if (repository_wanted(want, doc_text(o, "repository")))
			backup_data(line, doc, o);
	return v.state;
}

/* ---- ksmctl monitor -------------------------------------------------- */

static int
say(enum monitor_state state, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static int
say(enum monitor_state state, const char *fmt, ...)
{
	char text[MONITOR_LINE];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	text_clean(text);
	(void)printf("KSMPOOL %s - %s\n", state_text[state], text);
	return state;
}

/* Why there is no answer. */
static int
say_unanswered(const struct ctl_reply *r, int seconds)
{
	if (r->exit == CTL_TIMEOUT)
		return say(MONITOR_UNKNOWN, "no answer within %d s", seconds);
	return say(r->exit == CTL_UNREACHABLE ? MONITOR_CRITICAL
					      : MONITOR_UNKNOWN,
	    "%s", r->text);
}

static bool
seconds_parse(const char *text, int *out)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end != '\0' || n < 1 ||
	    n > TIMEOUT_MOST)
		return false;
	*out = (int)n;
	return true;
}

/* Its options are those of other plug-ins, so they are read here. */
static const struct option long_options[] = {
	{ "warning", required_argument, NULL, 'w' },
	{ "critical", required_argument, NULL, 'c' },
	{ "timeout", required_argument, NULL, 't' },
	{ "pool", required_argument, NULL, 'p' },
	{ "repository", required_argument, NULL, 'r' },
	{ "socket", required_argument, NULL, 's' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

int
monitor_run(const struct ctl_call *call)
{
	struct monitor_want want = { .pool = NULL };
	const char *socket = call->socket;
	int seconds = TIMEOUT_DEFAULT, argc = 1, c, state;
	char line[MONITOR_LINE];
	char **argv = NULL;
	struct ctl_reply r;
	json_t *doc = NULL;

	if (call->timeout > 0 && call->timeout <= TIMEOUT_MOST)
		seconds = (int)call->timeout;
	while (call->rest[argc - 1] != NULL)
		argc++;
	argv = calloc((size_t)argc + 1, sizeof(*argv));
	if (argv == NULL)
		return say(MONITOR_UNKNOWN, "out of memory");
	argv[0] = (char *)(uintptr_t)"ksmctl monitor";
	memcpy(argv + 1, call->rest, (size_t)(argc - 1) * sizeof(*argv));
	opterr = 0;
	optind = 1;
	while ((c = getopt_long(argc, argv, "+:w:c:t:hV", long_options,
	    NULL)) != -1) {
		switch (c) {
		case 'w':
		case 'c':
			if (monitor_range_parse(optarg,
			    c == 'w' ? &want.warning : &want.critical))
				continue;
			state = say(MONITOR_UNKNOWN, "-%c %.64s is not a range "
			    "(10, 10:, ~:10, 10:20, @10:20)", c, optarg);
			goto out;
		case 't':
			if (seconds_parse(optarg, &seconds))
				continue;
			state = say(MONITOR_UNKNOWN,
			    "-t %.64s is not 1 to %d seconds", optarg,
			    TIMEOUT_MOST);
			goto out;
		case 'p':
			want.pool = optarg;
			continue;
		case 'r':
			want.repository = optarg;
			continue;
		case 's':
			socket = optarg;
			continue;
		case 'h':
			help_print_command(stdout, call->command);
			state = MONITOR_OK;
			goto out;
		case 'V':
			(void)printf("ksmctl %s\n", KSM_VERSION);
			state = MONITOR_OK;
			goto out;
		case ':':
			state = say(MONITOR_UNKNOWN,
			    "option %.64s needs a value", argv[optind - 1]);
			goto out;
		default:
			state = say(MONITOR_UNKNOWN,
			    "unknown option %.64s; see ksmctl monitor --help",
			    argv[optind - 1]);
			goto out;
		}
	}
	if (optind < argc) {
		state = say(MONITOR_UNKNOWN, "%.64s is one word too many",
		    argv[optind]);
		goto out;
	}
	doc = metrics_ask(socket, (ksm_msec)seconds * 1000, &r);
	if (doc == NULL) {
		state = say_unanswered(&r, seconds);
		goto out;
	}
	state = monitor_judge(&want, doc, line);
	(void)printf("%s\n", line);
out:
	json_decref(doc);
	free(argv);
	return state;
}
