#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "ksmpool/clock.h"
#include "ksmpool/fd.h"
#include "ksmpool/log.h"
#include "ksmpool/text.h"

#include "control.h"
#include "dbjob.h"
#include "engine.h"
#include "engine_take.h"
#include "hook_taken.h"
#include "logsink.h"
#include "reader.h"
#include "store.h"
#include "supervisor.h"
#include "zonefile.h"

#define LINGER_MS  500	/* after the last key, for workers to leave */
#define FINDINGS_LOGGED 200
#define FIXED_STATE	0
#define FIXED_DATABASE	1
#define FIXED_COUNT	7
#define STATUS_MS  2000 /* between status texts */
#define ENGINE_PRIO (SD_EVENT_PRIORITY_NORMAL + 20)
#define TICK_ACCURACY 1000 /* us; sd-event's 0 means 250 ms late at worst */

/* Somebody who wants to know how a reload ends. */
struct waiter {
	void (*done)(void *arg, enum ksm_err err, const struct conf *read,
	    const struct ksm_fail *fail);
	void *arg;
	bool next; /* came while one was read: waits for the one after it */
	struct waiter *link;
};

struct daemon {
	const char *file;
	bool once, quiet;
	sd_event *event;
	sd_event_source *tick, *linger;
	struct store *store;
	struct supervisor *supervisor;
	struct engine *engine;
	struct control *control;
	struct hooks *hooks;
	struct hook_taker hook;
	struct reader *reader;
	struct waiter *waiters;
	struct dbjob *job;
	void *job_arg; /* who waits for it; NULL: nobody any more */
	char *job_to;  /* of a backup; NULL: a check */
	struct store_actor job_who;
	void (*job_done)(void *arg, enum ksm_err err, char *const *findings,
	    size_t n, const struct ksm_fail *fail);
	bool reload_again, allow_empty, allow_empty_next;
	char *fixed[FIXED_COUNT]; /* in use since start, see fixed_value */
	int lock;
	int passed; /* the socket that systemd holds for us, or -1 */
	int64_t ticket;
	bool stopping, lingering;
	int status;
	ksm_msec told; /* when systemd was told how it goes */
	char told_text[256];

	/* what is read before there is an engine */
	bool read;
	enum ksm_err read_err;
	struct conf first;
	struct ksm_fail read_fail;
};

/* ---- ticking ----------------------------------------------------------- */

static void
daemon_kick(void *ctx)
{
	struct daemon *d = ctx;

	(void)sd_event_source_set_time(d->tick, 0);
	(void)sd_event_source_set_enabled(d->tick, SD_EVENT_ONESHOT);
}

static int
on_linger(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct daemon *d = ctx;

	(void)s;
	(void)usec;
	return sd_event_exit(d->event, d->status);
}

static void
daemon_stop(void *ctx)
{
	struct daemon *d = ctx;

	if (d->stopping)
		return;
	d->stopping = true;
	(void)sd_notify(0, "STOPPING=1\nSTATUS=waiting for the running key");
	log_notice("stopping: nothing new is started, the running keys are "
		   "finished and recorded");
	engine_stop(d->engine);
	daemon_kick(d);
}

/* All recorded: let the workers leave, but do not wait for a slow one. */
static void
stop_look(struct daemon *d)
{
	if (!d->stopping || !engine_stopped(d->engine))
		return;
	if (!d->lingering) {
		d->lingering = true;
		supervisor_release(d->supervisor);
		(void)sd_event_add_time_relative(d->event, &d->linger,
		    CLOCK_MONOTONIC, LINGER_MS * 1000, 0, on_linger, d);
	}
	if (supervisor_workers(d->supervisor) == 0)
		(void)sd_event_exit(d->event, d->status);
}

static void
once_look(struct daemon *d)
{
	struct topup_state st;

	if (!d->once || d->stopping ||
	    engine_topup_state(d->engine, d->ticket, &st) != KSM_OK ||
	    !st.done)
		return;
	d->status = st.full ? DAEMON_OK : DAEMON_PARTIAL;
	daemon_stop(d);
}

/* True if it may be time again soon. */
static bool
status_tell(struct daemon *d)
{
	const struct plan *p = engine_plan(d->engine);
	int64_t levels[LEVEL__COUNT] = { 0 }, usable = 0, troubled = 0;
	struct store_pause pause;
	char text[256];

	if (d->stopping)
		return false;
	if (clock_steady() - d->told < STATUS_MS)
		return true;
	engine_pause_view(d->engine, &pause);
	d->told = clock_steady();
	for (size_t i = 0; i < p->npools; i++) {
		levels[p->pools[i].level]++;
		usable += p->pools[i].usable;
	}
	for (size_t i = 0; i < engine_repositories(d->engine); i++) {
		struct repository_view v;

		engine_repository_view(d->engine, i, &v);
		troubled += v.status != REPO_OK && v.status != REPO_STARTING;
	}
	(void)snprintf(text, sizeof(text),
	    "STATUS=%s%lld keys usable of %lld required; %zu pools, %lld full, "
	    "%lld critical or empty; %lld repositories in trouble",
	    pause.until == 0 ? "" : "paused; ", (long long)usable,
	    (long long)p->required, p->npools,
	    (long long)levels[LEVEL_FULL],
	    (long long)(levels[LEVEL_CRITICAL] + levels[LEVEL_EMPTY]),
	    (long long)troubled);
	if (strcmp(text, d->told_text) == 0)
		return false;
	memcpy(d->told_text, text, sizeof(text));
	(void)sd_notify(0, text);
	return false;
}

static int
on_tick(sd_event_source *s, uint64_t usec, void *ctx)
{
	struct daemon *d = ctx;
	ksm_msec wait = engine_run(d->engine);

	(void)s;
	(void)usec;
	if (status_tell(d) && wait > STATUS_MS)
		wait = STATUS_MS;
	(void)sd_event_source_set_time_relative(d->tick,
	    (uint64_t)wait * 1000);
	(void)sd_event_source_set_enabled(d->tick, SD_EVENT_ONESHOT);
	if (d->control != NULL)
		control_poll(d->control);
	once_look(d);
	stop_look(d);
	return 0;
}

/* ---- configuration ---------------------------------------------------- */

static void
findings_log(const struct conf *c)
{
	for (size_t i = 0; i < c->nfindings && i < FINDINGS_LOGGED; i++) {
		const struct conf_finding *f = &c->findings[i];
		char line[24] = "";
		enum log_level level = f->severity == CONF_ERROR ? LOGL_ERROR
		    : f->severity == CONF_WARNING		 ? LOGL_WARNING
								 : LOGL_INFO;

		if (f->line > 0)
			(void)snprintf(line, sizeof(line), ":%lld",
			    (long long)f->line);
		log_line(level, "%s%s: %s%s%s%s%s%s", f->file, line, f->what,
		    f->value == NULL ? "" : ": '",
		    f->value == NULL ? "" : f->value,
		    f->value == NULL ? "" : "'",
		    f->expected == NULL ? "" : "; expected ",
		    f->expected == NULL ? "" : f->expected);
	}
	if (c->nfindings > FINDINGS_LOGGED)
		log_warning("%zu findings more; `ksmctl check` shows them all",
		    c->nfindings - FINDINGS_LOGGED);
}

/* What is counted on: zones, and their owners; zones -1: nothing ever was. */
struct counted {
	int64_t zones, owners;
};

/* The counts that were last in force, also into the policies of `c`. */
static enum ksm_err
counts_last(struct store *st, struct conf *c, struct counted *total,
    struct ksm_fail *fail)
{
	struct zone_count *z = NULL;
	size_t n = 0;
	ksm_time when;
	enum ksm_err err = store_zones_get(st, &z, &n, &when, fail);

	total->zones = err == KSM_OK && n > 0 ? 0 : -1;
	total->owners = 0;
	for (size_t i = 0; err == KSM_OK && i < n; i++) {
		total->zones += z[i].zones;
		total->owners += z[i].owners;
		for (size_t k = 0; c != NULL && k < c->npolicies; k++) {
			if (strcmp(c->policies[k].name, z[i].policy) != 0)
				continue;
			c->policies[k].zones = z[i].zones;
			c->policies[k].owners = z[i].owners;
		}
	}
	free(z);
	return err;
}

/* A list that zones or owners are counted by, and why it is not to be used. */
struct list {
	const char *what, *path, *why;
	const char *lost; /* of one that is empty; NULL: it is not */
};

/* False: both lists may be used. */
static bool
list_at_fault(const struct conf *c, const struct counted *before,
    bool allow_empty, struct list *out)
{
	static const char *const state[] = { "", "names no zone", "is gone",
		"has faults" };
	const struct list zones = {
		"zone list", c->zonelist_file, state[c->zonelist],
		c->zonelist == ZONELIST_EMPTY ? "zones" : NULL
	};
	const struct list owners = {
		"owner file", c->owner_file,
		c->owners == ZONELIST_EMPTY ? "names no owner"
					    : state[c->owners],
		c->owners == ZONELIST_EMPTY ? "owners" : NULL
	};

	*out = zones;
	if (c->zonelist != ZONELIST_OK &&
	    !(zones.lost != NULL && (allow_empty || before->zones <= 0)))
		return true;
	/* Each zone for its own owner: so it was before, or is meant. */
	*out = owners;
	return c->owners != ZONELIST_OK &&
	    !(owners.lost != NULL && (allow_empty || before->zones <= 0 ||
	    before->owners == before->zones));
}

/*
 * The zones of the last good lists, by name. Without them keys are handed out
 * only where it does not matter whose a zone is.
 */
static void
zones_recall(struct conf *c)
{
	struct ksm_fail fail;

	fd_close(&c->zones_fd); /* of lists that are not to be used */
	if (zonefile_load(c->state_dir, &c->zones_fd, &fail) != KSM_OK)
		log_error("the names of these zones and their owners are not "
			  "known: %s; no key is handed out to the zone of an "
			  "owner until the lists are mended", fail.text);
}

/* Lists that come into force are what a later start may have to go by. */
static void
zones_keep(const struct daemon *d, const struct conf *c)
{
	struct ksm_fail fail;

	if ((c->zonelist != ZONELIST_OK && c->zonelist != ZONELIST_EMPTY) ||
	    (c->owners != ZONELIST_OK && c->owners != ZONELIST_EMPTY) ||
	    c->zones_fd < 0)
		return;
	if (zonefile_keep(d->fixed[FIXED_STATE], c->zones_fd, &fail) !=
	    KSM_OK)
		log_error("the names of zones and their owners are not kept "
			  "for the next start: %s", fail.text);
}

/*
 * May what was read be put in force? An empty, truncated or vanished zone
 * list never shrinks a pool, and such an owner file gives no zone to another
 * owner: at a reload the whole of it is refused, at start the last good counts
 * stay in force.
 */
static enum ksm_err
conf_admit(struct daemon *d, struct conf *c, bool at_start, bool allow_empty,
    struct ksm_fail *fail)
{
	struct counted before;
	struct list list;
	enum ksm_err err;

	if (c->errors - c->zonelist_errors > 0)
		return ksm_failf(fail, KSM_EREFUSED,
		    "%s and the files it names have %lld error%s; `ksmctl "
		    "check --config %s` shows all",
		    d->file, (long long)c->errors, plural(c->errors, "", "s"),
		    d->file);
	if (c->zonelist == ZONELIST_OK && c->owners == ZONELIST_OK) {
		if (c->zonelist_errors == 0)
			return KSM_OK;
		c->zonelist = ZONELIST_BAD;
	}
	err = counts_last(d->store, NULL, &before, fail);
	if (err != KSM_OK)
		return err;
	if (!list_at_fault(c, &before, allow_empty, &list))
		return KSM_OK;
	if (!at_start || before.zones < 0)
		return ksm_failf(fail, KSM_EREFUSED, "the %s %s %s%s%s%s",
		    list.what, list.path == NULL ? "?" : list.path, list.why,
		    list.lost != NULL ? ", but " : "",
		    list.lost != NULL ? list.lost : "",
		    list.lost != NULL
			? " were in force before; if that is meant, `ksmctl "
			  "reload --allow-empty`"
			: "");
	err = counts_last(d->store, c, &before, fail);
	if (err != KSM_OK)
		return err;
	log_error("the %s %s %s; the last good counts (%lld zone%s) stay in "
		  "force, no pool shrinks",
	    list.what, list.path == NULL ? "?" : list.path, list.why,
	    (long long)before.zones, plural(before.zones, "", "s"));
	zones_recall(c);
	return KSM_OK;
}

/*
 * What is fixed while the daemon runs; another value waits for a restart.
 * Empty: no socket group.
 */
static const char *
fixed_value(const struct conf *c, size_t i, const char **name)
{
	const struct {
		const char *name, *value;
	} all[FIXED_COUNT] = {
		{ "StateDirectory", c->state_dir },
		{ "Database", c->database },
		{ "HandoutJournal", c->handout_journal },
		{ "Path of the Socket", c->socket_path },
		{ "Group of the Socket", c->socket_group },
		{ "ReadersGroup of the Socket", c->socket_readers },
		{ "User", c->user },
	};

	*name = all[i].name;
	return all[i].value != NULL ? all[i].value : "";
}

static enum ksm_err
fixed_remember(struct daemon *d, const struct conf *c, struct ksm_fail *fail)
{
	const char *name;

	for (size_t i = 0; i < FIXED_COUNT; i++) {
		d->fixed[i] = strdup(fixed_value(c, i, &name));
		if (d->fixed[i] == NULL)
			return ksm_failf(fail, KSM_ENOMEM, "no memory");
	}
	return KSM_OK;
}

/* Against what is in use, and not what the last reload said. */
static void
fixed_compare(const struct daemon *d, struct conf *report)
{
	const struct conf *now = engine_conf(d->engine);
	char what[128], until[PATH_MAX];
	const char *name, *value;

	for (size_t i = 0; i < FIXED_COUNT; i++) {
		value = fixed_value(now, i, &name);
		if (strcmp(value, d->fixed[i]) == 0)
			continue;
		(void)snprintf(what, sizeof(what),
		    "another %s takes effect when ksmpoold is restarted",
		    name);
		(void)snprintf(until, sizeof(until), "%s until then",
		    d->fixed[i][0] != '\0' ? d->fixed[i] : "none");
		if (value[0] == '\0')
			value = "none";
		log_warning("%s: '%s'; expected %s", what, value, until);
		(void)conf_finding_add(report, CONF_WARNING, CONF_KSMPOOL,
		    now->file, 0, what, value, until);
	}
}

/* Quiet lasts as long as nobody asks for more; see face_log_level_set. */
static void
level_apply(const struct daemon *d, const struct conf *c)
{
	enum log_level level = (enum log_level)c->log_level;

	log_level_set(
	    d->quiet && level > LOGL_WARNING ? LOGL_WARNING : level);
}

/* In force, or refused and nothing is changed, the log level neither. */
static enum ksm_err
conf_enforce(struct daemon *d, struct conf *c, struct ksm_fail *fail)
{
	enum ksm_err err;

	zones_keep(d, c);
	err = engine_configure(d->engine, c, fail);
	if (err == KSM_OK)
		level_apply(d, engine_conf(d->engine));
	return err;
}

static void reload_start(struct daemon *d);

static void
waiters_tell(struct daemon *d, enum ksm_err err, const struct conf *read,
    const struct ksm_fail *fail)
{
	struct waiter **at = &d->waiters;

	while (*at != NULL) {
		struct waiter *w = *at;

		if (w->next) {
			w->next = false;
			at = &w->link;
			continue;
		}
		*at = w->link;
		w->done(w->arg, err, read, fail);
		free(w);
	}
}

static void
reload_done(void *ctx, enum ksm_err err, struct conf *c,
    const struct ksm_fail *read_fail)
{
	struct daemon *d = ctx;
	struct ksm_fail fail = *read_fail;
	struct conf report;

	d->reader = NULL;
	if (err == KSM_OK)
		findings_log(c);
	/* What is said of the files outlives what is put in force. */
	conf_init(&report);
	report.findings = c->findings;
	report.nfindings = c->nfindings;
	report.errors = c->errors;
	report.warnings = c->warnings;
	report.notices = c->notices;
	c->findings = NULL;
	c->nfindings = 0;
	if (err == KSM_OK)
		err = conf_admit(d, c, false, d->allow_empty, &fail);
	if (err == KSM_OK)
		err = conf_enforce(d, c, &fail);
	if (err == KSM_OK) {
		fixed_compare(d, &report);
		log_event(LOGL_NOTICE,
		    &(struct log_about){ .id = LOG_ID_RELOADED },
		    "reload: the new configuration is in force");
	} else
		log_event(LOGL_ERROR,
		    &(struct log_about){
			.id = LOG_ID_REFUSED, .error = fail.text },
		    "reload refused: %s; the configuration in force is "
		    "kept, nothing was changed",
		    fail.text);
	(void)sd_notify(0, "READY=1");
	waiters_tell(d, err, &report, &fail);
	conf_clear(&report);
	if (d->reload_again) {
		d->reload_again = false;
		d->allow_empty = d->allow_empty_next;
		d->allow_empty_next = false;
		reload_start(d);
	}
	daemon_kick(d);
}

static void
reload_start(struct daemon *d)
{
	struct ksm_fail fail;
	struct conf none;
	enum ksm_err err;

	(void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu",
	    (unsigned long long)clock_steady() * 1000);
	err = reader_start(d->event, d->file, false, reload_done, d,
	    &d->reader, &fail);
	if (err == KSM_OK)
		return;
	conf_init(&none);
	reload_done(d, err, &none, &fail);
}

static void
face_reload(void *ctx, bool allow_empty,
    void (*done)(void *arg, enum ksm_err err, const struct conf *read,
	const struct ksm_fail *fail),
    void *arg)
{
	struct daemon *d = ctx;
	struct waiter *w = calloc(1, sizeof(*w));
	struct ksm_fail fail;

	if (w == NULL) {
		(void)ksm_failf(&fail, KSM_ENOMEM, "reload: no memory");
		done(arg, KSM_ENOMEM, NULL, &fail);
		return;
	}
	*w = (struct waiter){ .done = done, .arg = arg,
		.next = d->reader != NULL, .link = d->waiters };
	d->waiters = w;
	if (d->reader == NULL) {
		d->allow_empty = allow_empty;
		reload_start(d);
	} else {
		d->reload_again = true;
		d->allow_empty_next = d->allow_empty_next || allow_empty;
	}
}

static void
face_forget(void *ctx, void *arg)
{
	struct daemon *d = ctx;

	for (struct waiter **at = &d->waiters; *at != NULL;)
		if ((*at)->arg == arg) {
			struct waiter *w = *at;

			*at = w->link;
			free(w);
		} else {
			at = &(*at)->link;
		}
}

/* ---- what else commands ask for --------------------------------------- */

static enum log_level
face_log_level(void *ctx)
{
	(void)ctx;
	return log_level_get();
}

static void
face_log_level_set(void *ctx, enum log_level level)
{
	(void)ctx;
	log_level_set(level);
}

/* An attempt is no backup: the history has what became of it. */
static void
backup_note(struct daemon *d, enum ksm_err err, const char *to,
    struct store_actor who, const struct ksm_fail *fail)
{
	struct ksm_fail why = { .text = "" };

	if (engine_note(d->engine, who,
		err == KSM_OK ? "database backup" : "database backup failed",
		to, err == KSM_OK ? "" : fail->text, &why) != KSM_OK)
		log_warning("database backup %s: it is not in the history: %s",
		    to, why.text);
}

static void
database_done(void *ctx, enum ksm_err err, char *const *findings, size_t n,
    const struct ksm_fail *fail)
{
	struct daemon *d = ctx;
	void *arg = d->job_arg;

	d->job = NULL;
	d->job_arg = NULL;
	if (d->job_to != NULL)
		backup_note(d, err, d->job_to, d->job_who, fail);
	free(d->job_to);
	d->job_to = NULL;
	if (arg != NULL)
		d->job_done(arg, err, findings, n, fail);
}

static void
job_end(struct daemon *d, const char *why)
{
	struct ksm_fail fail;

	if (d->job == NULL)
		return;
	dbjob_forget(d->job);
	(void)ksm_failf(&fail, KSM_EBUSY, "%s", why);
	database_done(d, KSM_EBUSY, NULL, 0, &fail);
}

/* One at a time: each reads the whole file. */
static void
face_database(void *ctx, const char *to, struct store_actor who,
    void (*done)(void *arg, enum ksm_err err, char *const *findings, size_t n,
	const struct ksm_fail *fail),
    void *arg)
{
	struct daemon *d = ctx;
	struct ksm_fail fail = { .text = "" };
	enum ksm_err err = KSM_EBUSY;

	/* A backup does not wait for somebody's check. */
	if (to != NULL && d->job_to == NULL)
		job_end(d, "a backup came first");
	if (d->job != NULL)
		(void)ksm_failf(&fail, err,
		    "the database is being checked or copied already");
	else {
		d->job_done = done;
		d->job_arg = arg;
		d->job_who = who;
		d->job_to = to != NULL ? strdup(to) : NULL;
		err = to != NULL && d->job_to == NULL
		    ? ksm_failf(&fail, KSM_ENOMEM, "no memory")
		    : dbjob_start(d->event, d->fixed[FIXED_DATABASE], to,
			  database_done, d, &d->job, &fail);
	}
	if (err == KSM_OK)
		return;
	if (d->job == NULL)
		database_done(d, err, NULL, 0, &fail);
	else
		done(arg, err, NULL, 0, &fail);
}

/* What was begun goes on to its end: it is in the history then. */
static void
face_database_forget(void *ctx, void *arg)
{
	struct daemon *d = ctx;

	if (d->job_arg == arg)
		d->job_arg = NULL;
}

static void
nobody_waits(void *arg, enum ksm_err err, const struct conf *read,
    const struct ksm_fail *fail)
{
	(void)arg;
	(void)err;
	(void)read;
	(void)fail;
}

static int
on_signal(sd_event_source *s, const struct signalfd_siginfo *si, void *ctx)
{
	struct daemon *d = ctx;

	(void)s;
	if (si->ssi_signo == SIGHUP)
		face_reload(d, false, nobody_waits, NULL);
	else
		daemon_stop(d);
	return 0;
}

/* ---- start -------------------------------------------------------------- */

static void
first_done(void *ctx, enum ksm_err err, struct conf *c,
    const struct ksm_fail *fail)
{
	struct daemon *d = ctx;

	d->reader = NULL;
	d->read = true;
	d->read_err = err;
	d->read_fail = *fail;
	d->first = *c;
	conf_init(c);
}

/* Names the first of the faults: as this user reads them, it may be news. */
static enum ksm_err
first_faults(const struct daemon *d, struct ksm_fail *fail)
{
	const struct conf *c = &d->first;
	const struct conf_finding *f = NULL;

	for (size_t i = 0; f == NULL && i < c->nfindings; i++)
		if (c->findings[i].severity == CONF_ERROR &&
		    !conf_file_counts(c->findings[i].in))
			f = &c->findings[i];
	return ksm_failf(fail, KSM_EREFUSED,
	    "%s and the files it names have %lld error%s as uid %d reads them%s"
	    "%s%s%.200s",
	    d->file, (long long)c->errors, plural(c->errors, "", "s"),
	    (int)geteuid(),
	    f == NULL ? "" : "; the first: ", f == NULL ? "" : f->file,
	    f == NULL ? "" : ": ", f == NULL ? "" : f->what);
}

/*
 * `own`: only the file itself, to learn which user is to read the rest. That
 * user reads the file again then, as it will at every reload, and tells what
 * is found in it.
 */
static enum ksm_err
conf_read_first(struct daemon *d, bool own, struct ksm_fail *fail)
{
	enum ksm_err err;

	conf_clear(&d->first);
	conf_init(&d->first);
	d->read = false;
	err = reader_start(d->event, d->file, own, first_done, d, &d->reader,
	    fail);
	while (err == KSM_OK && !d->read)
		if (sd_event_run(d->event, UINT64_MAX) < 0)
			err = ksm_failf(fail, KSM_ESYS, "event loop failed");
	if (err == KSM_OK && d->read_err != KSM_OK) {
		*fail = d->read_fail;
		err = d->read_err;
	}
	if (err != KSM_OK)
		return err;
	if (d->first.errors - d->first.zonelist_errors > 0)
		err = first_faults(d, fail);
	if (!own || err != KSM_OK)
		findings_log(&d->first);
	return err;
}

/*
 * The last component only; its parents are the installation's, and one that
 * is there already is left as it is. Owner and mode go through a descriptor:
 * by name, somebody who may write beside it could put a link there in
 * between. The mode does not depend on the umask.
 */
static enum ksm_err
directory_make(const char *path, mode_t mode, const struct passwd *owner,
    struct ksm_fail *fail)
{
	enum ksm_err err = KSM_OK;
	char plain[PATH_MAX];
	size_t len;
	int fd;

	(void)snprintf(plain, sizeof(plain), "%s", path);
	/* With a slash at its end a link would be followed after all. */
	for (len = strlen(plain); len > 1 && plain[len - 1] == '/'; len--)
		plain[len - 1] = '\0';
	if (mkdir(plain, 0700) == -1) {
		if (errno == EEXIST)
			return KSM_OK;
		return ksm_failf(fail, KSM_ESYS,
		    "directory %s cannot be made by uid %d: %s", plain,
		    (int)geteuid(), strerror(errno));
	}
	fd = open(plain, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1 ||
	    (owner != NULL &&
		fchown(fd, owner->pw_uid, owner->pw_gid) == -1) ||
	    fchmod(fd, mode) == -1)
		err = ksm_failf(fail, KSM_ESYS,
		    "directory %s was made but cannot be given its owner and "
		    "mode: %s",
		    plain, strerror(errno));
	fd_close(&fd);
	return err;
}

static void
parent_of(const char *path, char out[PATH_MAX])
{
	char *slash;

	(void)snprintf(out, PATH_MAX, "%s", path);
	slash = strrchr(out, '/');
	if (slash != NULL && slash != out)
		*slash = '\0';
}

/* Directories, then the user: no file of root's is ever left in them. */
static enum ksm_err
user_become(const struct conf *c, struct ksm_fail *fail)
{
	const struct passwd *pw = NULL;
	char dir[PATH_MAX];
	enum ksm_err err;

	if (geteuid() == 0) {
		pw = getpwnam(c->user);
		if (pw == NULL)
			return ksm_failf(fail, KSM_EREFUSED,
			    "there is no user %s (Daemon/User in %s); create "
			    "it (systemd-sysusers) or name another",
			    c->user, c->file);
	}
	parent_of(c->socket_path, dir);
	if ((err = directory_make(c->state_dir, 0750, pw, fail)) != KSM_OK ||
	    (err = directory_make(dir, 0755, pw, fail)) != KSM_OK)
		return err;
	if (pw == NULL || pw->pw_uid == 0)
		return KSM_OK;
	if (initgroups(pw->pw_name, pw->pw_gid) == -1 ||
	    setgid(pw->pw_gid) == -1 || setuid(pw->pw_uid) == -1)
		return ksm_failf(fail, KSM_ESYS, "become user %s: %s",
		    pw->pw_name, strerror(errno));
	/* setuid(2) resets the flag to fs.suid_dumpable. */
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	return KSM_OK;
}

/* A kernel lock: it goes with the process, however that ends. */
static enum ksm_err
state_lock(struct daemon *d, const char *dir, struct ksm_fail *fail)
{
	char path[PATH_MAX], holder[64] = "", *name;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "%s/ksmpoold.lock", dir);
	d->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (d->lock == -1)
		return ksm_failf(fail, KSM_ESYS,
		    "%s cannot be opened by uid %d: %s", path, (int)geteuid(),
		    strerror(errno));
	if (flock(d->lock, LOCK_EX | LOCK_NB) == -1) {
		/* "PID NAME", written by who holds it. */
		n = pread(d->lock, holder, sizeof(holder) - 1, 0);
		holder[n > 0 ? strcspn(holder, "\n") : 0] = '\0';
		name = strchr(holder, ' ');
		if (name != NULL)
			*name++ = '\0';
		return ksm_failf(fail, KSM_EBUSY,
		    "another %s (pid %s) holds %s; nothing was done",
		    name == NULL ? "ksmpoold" : name,
		    holder[0] == '\0' ? "unknown" : holder, dir);
	}
	n = snprintf(holder, sizeof(holder), "%d ksmpoold%s\n", (int)getpid(),
	    d->once ? " --once" : "");
	if (ftruncate(d->lock, 0) == -1 ||
	    pwrite(d->lock, holder, (size_t)n, 0) != n)
		return ksm_failf(fail, KSM_ESYS, "write %s: %s", path,
		    strerror(errno));
	return KSM_OK;
}

/* Keys that going down may have torn are looked at again. */
static enum ksm_err
boot_look(struct daemon *d, struct ksm_fail *fail)
{
	char boot[64] = "";
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd == -1 ? -1 : read(fd, boot, sizeof(boot) - 1);
	bool changed;
	int64_t doubted = 0;
	enum ksm_err err;

	fd_close(&fd);
	if (n <= 0)
		return KSM_OK;
	boot[strcspn(boot, "\n")] = '\0';
	err = store_boot(d->store, boot, &changed, fail);
	if (err == KSM_OK && changed)
		err = store_keys_doubt(d->store, &doubted, fail);
	if (err == KSM_OK)
		err = store_commit(d->store, fail);
	if (err == KSM_OK && doubted > 0)
		log_warning("the machine was booted since ksmpoold last ran; "
			    "%lld keys that the token may not have written "
			    "through are proven again",
		    (long long)doubted);
	return err;
}

/*
 * A row of history, on disk, and what the history ends with then: whoever can
 * write the file cannot reach the log.
 */
static enum ksm_err
history_mark(struct daemon *d, const char *what, struct ksm_fail *fail)
{
	uint8_t hash[32];
	char hex[2 * sizeof(hash) + 1], why[128];
	int64_t number;
	enum ksm_err err;

	(void)snprintf(why, sizeof(why), "ksmpoold %s%s, pid %d",
	    KSM_VERSION, d->once ? " --once" : "", (int)getpid());
	if ((err = store_history_add(d->store, clock_wall(), ACTOR_DAEMON,
		 what, "", why, fail)) != KSM_OK ||
	    (err = store_commit(d->store, fail)) != KSM_OK ||
	    (err = store_history_head(d->store, &number, hash, fail)) !=
		KSM_OK)
		return err;
	for (size_t i = 0; i < sizeof(hash); i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", hash[i]);
	log_notice("history: %lld rows, the last has hash %s",
	    (long long)number, hex);
	return KSM_OK;
}

/* What is lost with the database should not be lost with its journal. */
static void
journal_place_look(const struct conf *c)
{
	struct stat journal, database;

	if (stat(c->handout_journal, &journal) == 0 &&
	    stat(c->database, &database) == 0 &&
	    journal.st_dev == database.st_dev)
		log_notice("the hand-out journal %s lies on the file system of "
			   "the database: whoever restores one restores the "
			   "other, and keys could be handed out twice; name "
			   "another place in HandoutJournal",
		    c->handout_journal);
}

static enum ksm_err
loop_prepare(struct daemon *d, struct ksm_fail *fail)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
	sigset_t set;
	int rc;

	(void)sigemptyset(&set);
	for (size_t i = 0; i < nitems(signals); i++)
		(void)sigaddset(&set, signals[i]);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	for (size_t i = 0; i < nitems(signals); i++)
		if ((rc = sd_event_add_signal(d->event, NULL, signals[i],
			 on_signal, d)) < 0)
			return ksm_failf(fail, KSM_ESYS, "signals: %s",
			    strerror(-rc));
	if ((rc = sd_event_add_time(d->event, &d->tick, CLOCK_MONOTONIC, 0,
		 TICK_ACCURACY, on_tick, d)) < 0)
		return ksm_failf(fail, KSM_ESYS, "timer: %s", strerror(-rc));
	(void)sd_event_source_set_priority(d->tick, ENGINE_PRIO);
	(void)sd_event_set_watchdog(d->event, 1);
	return KSM_OK;
}

static enum ksm_err
daemon_start(struct daemon *d, struct ksm_fail *fail)
{
	struct engine_io io;
	struct topup_want want = { .max = -1, .cause = RUN_ONCE,
		.uid = (int64_t)getuid(), .pid = (int64_t)getpid() };
	struct conf *c = &d->first;
	char lock_dir[PATH_MAX];
	enum ksm_err err;
	int passed;

	/* Root opens no more files than it must to stop being root. */
	if ((err = conf_read_first(d, true, fail)) != KSM_OK ||
	    (err = user_become(c, fail)) != KSM_OK ||
	    (err = conf_read_first(d, false, fail)) != KSM_OK ||
	    (err = state_lock(d, c->state_dir, fail)) != KSM_OK ||
	    (err = store_open(c->database, &d->store, fail)) != KSM_OK ||
	    (err = boot_look(d, fail)) != KSM_OK ||
	    (err = conf_admit(d, c, true, false, fail)) != KSM_OK)
		return err;
	if (store_migrated(d->store) != NULL)
		log_notice("the database was brought up to date; as it was it "
			   "is kept in %s", store_migrated(d->store));
	level_apply(d, c);
	(void)snprintf(lock_dir, sizeof(lock_dir), "%.3900s/lock",
	    c->state_dir);
	err = supervisor_new(d->event, lock_dir, daemon_kick, d,
	    &d->supervisor, fail);
	if (err != KSM_OK)
		return err;
	supervisor_io(d->supervisor, &io);
	if ((err = engine_new(d->store, &io, &d->engine, fail)) != KSM_OK ||
	    (err = loop_prepare(d, fail)) != KSM_OK)
		return err;
	supervisor_engine(d->supervisor, d->engine);
	if ((err = fixed_remember(d, c, fail)) != KSM_OK)
		return err;
	zones_keep(d, c);
	if ((err = engine_configure(d->engine, c, fail)) != KSM_OK ||
	    (err = history_mark(d, "daemon started", fail)) != KSM_OK ||
	    (err = engine_handouts_open(d->engine,
		 engine_conf(d->engine)->handout_journal, fail)) != KSM_OK)
		return err;
	journal_place_look(engine_conf(d->engine));
	if ((err = hooks_new(d->event, d->engine, daemon_kick, d, &d->hooks,
		 fail)) != KSM_OK)
		return err;
	d->hook = (struct hook_taker){ d->engine, d->store, d->hooks };
	engine_take_tell(d->engine, hook_taken, &d->hook);
	if (d->once)
		return engine_topup(d->engine, &want, &d->ticket, fail);
	passed = d->passed;
	d->passed = -1; /* control_open has it now, also when it fails */
	return control_open(d->event,
	    &(struct control_want){ engine_conf(d->engine)->socket_path,
		engine_conf(d->engine)->socket_group,
		engine_conf(d->engine)->socket_readers, passed },
	    &(struct daemon_face){ .ctx = d,
		.engine = d->engine,
		.store = d->store,
		.version = KSM_VERSION,
		.started = clock_wall(),
		.reload = face_reload,
		.reload_forget = face_forget,
		.stop = daemon_stop,
		.log_level = face_log_level,
		.log_level_set = face_log_level_set,
		.database = face_database,
		.database_forget = face_database_forget,
		.hook = &d->hook,
		.kick = daemon_kick },
	    &d->control, fail);
}

static void
daemon_end(struct daemon *d)
{
	control_close(d->control);
	hooks_free(d->hooks);
	dbjob_forget(d->job);
	free(d->job_to);
	reader_free(d->reader);
	while (d->waiters != NULL) {
		struct waiter *w = d->waiters;

		d->waiters = w->link;
		free(w);
	}
	engine_free(d->engine);
	supervisor_free(d->supervisor);
	store_close(d->store);
	conf_clear(&d->first);
	for (size_t i = 0; i < FIXED_COUNT; i++)
		free(d->fixed[i]);
	(void)sd_event_source_disable_unref(d->tick);
	(void)sd_event_source_disable_unref(d->linger);
	(void)sd_event_unref(d->event);
	fd_close(&d->lock);
	fd_close(&d->passed);
}

/*
 * Before any child is started: the variables and descriptors are ours alone.
 * --once speaks to nobody and ignores them.
 */
static enum ksm_err
passed_take(struct daemon *d, struct ksm_fail *fail)
{
	int n = sd_listen_fds(1);

	if (n < 0)
		return ksm_failf(fail, KSM_ESYS,
		    "sockets passed by systemd: %s", strerror(-n));
	if (d->once || n == 0)
		return KSM_OK;
	if (n > 1)
		return ksm_failf(fail, KSM_EREFUSED,
		    "systemd passed %d sockets; expected one (ListenStream= of "
		    "ksmpoold.socket)",
		    n);
	d->passed = SD_LISTEN_FDS_START;
	return KSM_OK;
}

int
daemon_main(const struct daemon_options *options)
{
	struct daemon d = { .once = options->once, .quiet = options->quiet,
		.lock = -1, .passed = -1, .status = DAEMON_OK };
	struct ksm_fail fail = { .text = "" };
	char path[PATH_MAX];
	size_t npools, nrepositories;
	enum ksm_err err;
	int rc;

	conf_init(&d.first);
	(void)logsink_open();
	d.file = realpath(options->file, path) != NULL ? path : options->file;
	if (d.quiet)
		log_level_set(LOGL_WARNING);
	if ((rc = sd_event_default(&d.event)) < 0) {
		log_error("event loop: %s", strerror(-rc));
		return DAEMON_FAILED;
	}
	err = passed_take(&d, &fail);
	if (err == KSM_OK)
		err = daemon_start(&d, &fail);
	if (err != KSM_OK) {
		log_error("not started: %s", fail.text);
		(void)sd_notifyf(0, "STATUS=not started: %s", fail.text);
		d.status = err == KSM_EBUSY ? DAEMON_TAKEN : DAEMON_FAILED;
		daemon_end(&d);
		return d.status;
	}
	npools = engine_plan(d.engine)->npools;
	nrepositories = engine_repositories(d.engine);
	log_event(LOGL_NOTICE, &(struct log_about){ .id = LOG_ID_STARTED },
	    "ksmpoold %s started, %zu %s in %zu %s", KSM_VERSION,
	    npools, plural((int64_t)npools, "pool", "pools"), nrepositories,
	    plural((int64_t)nrepositories, "repository", "repositories"));
	(void)sd_notify(0, "READY=1");
	rc = sd_event_loop(d.event);
	if (rc < 0) {
		log_error("event loop: %s", strerror(-rc));
		d.status = DAEMON_FAILED;
	}
	d.job_arg = NULL; /* clients hear of the stop when they are closed */
	job_end(&d, "ksmpoold stopped before it was done");
	hooks_stop(d.hooks);
	if (history_mark(&d, "daemon stopped", &fail) != KSM_OK)
		log_warning("the history does not say that ksmpoold stopped: "
			    "%s",
		    fail.text);
	log_event(LOGL_NOTICE, &(struct log_about){ .id = LOG_ID_STOPPED },
	    "ksmpoold ended");
	daemon_end(&d);
	return d.status;
}
