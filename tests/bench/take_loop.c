/*
 * take_loop - hand-outs by the engine, without a token, and beside them a bare
 * loop of what cannot be left out: one line appended and synced, one commit.
 *
 *   take_loop DIRECTORY KEYS
 *
 * Makes a database with so many ready keys and a hand-out journal in DIRECTORY.
 * Each line on stdin is "ARM TAKES"; when they are done, a line "TAKES SECONDS
 * BARE-SECONDS" goes to stdout. Arms:
 *
 *   single   one take after another, each waited for
 *   clientsN so many takes wait at any time, of N clients
 *   countN   as one `take --count N` after another
 *
 * After each take or group of takes the bare loop does as many: a line as long
 * as those of the journal is appended and synced, and one row is committed, in
 * a database set as ours is. Disks that others use, too, sync ten times slower
 * from one second to the next; so both meet the same.
 *
 * What is run is engine_take and engine_run as in ksmpoold. The proof is left
 * out as `key mark-used` leaves it out: the key is chosen by a dry run, and
 * then marked used; between these two, nothing is on disk. All that a take
 * does otherwise is done: `taking` committed, the journal, `taken` committed.
 */
#include <fcntl.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "ksmpool/duration.h"
#include "ksmpool/log.h"

#include "engine.h"
#include "engine_take.h"
#include "store.h"

#define FILL_BATCH 1000
#define TURNS	   100000 /* of the engine for one group of takes */

static struct store *store;
static struct engine *engine;
static int64_t zones; /* every take is for a zone of its own */

static void die(const char *fmt, ...)
    __attribute__((noreturn, format(printf, 1, 2)));

static void
die(const char *fmt, ...)
{
	va_list ap;

	fputs("take_loop: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

static void *
must(void *p)
{
	if (p == NULL)
		die("no memory");
	return p;
}

static double
seconds(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void
path_in(const char *dir, const char *name, char out[512])
{
	if (snprintf(out, 512, "%s/%s", dir, name) >= 512)
		die("%s: too long", dir);
}

/* ---- a world where no worker ever says a word --------------------------- */

static ksm_time
world_wall(void *ctx)
{
	(void)ctx;
	return time(NULL);
}

static ksm_msec
world_steady(void *ctx)
{
	(void)ctx;
	return (ksm_msec)(seconds() * 1000);
}

static void
world_random(void *ctx, void *buf, size_t len)
{
	(void)ctx;
	if (getrandom(buf, len, 0) != (ssize_t)len)
		die("getrandom failed");
}

static enum ksm_err
world_start(void *ctx, worker_no no, const struct conf_repository *r,
    enum worker_purpose purpose, bool alone, const char *refused_pin,
    struct ksm_fail *fail)
{
	(void)ctx, (void)no, (void)r, (void)purpose, (void)alone;
	(void)refused_pin, (void)fail;
	return KSM_OK;
}

static enum ksm_err
world_send(void *ctx, worker_no no, const struct hsm_msg *m,
    ksm_msec deadline, ksm_msec kill_after, struct ksm_fail *fail)
{
	(void)ctx, (void)no, (void)m, (void)deadline, (void)kill_after;
	return ksm_failf(fail, KSM_EUNKNOWN, "there is no worker");
}

static void
world_leave(void *ctx, worker_no no)
{
	(void)ctx, (void)no;
}

static void
world_kill(void *ctx, worker_no no, const char *why)
{
	(void)ctx, (void)no, (void)why;
}

static void
world_pin(void *ctx, const struct conf_repository *r, char out[128])
{
	(void)ctx, (void)r;
	out[0] = '\0';
}

/* One policy, one pool that nobody fills. */
static void
configure(void)
{
	struct conf_repository *r;
	struct conf_policy *p;
	struct ksm_fail fail;
	struct conf_key *k;
	struct conf c;

	conf_init(&c);
	r = must(conf_repository_add(&c, "hsm"));
	r->module = must(strdup("/module.so"));
	r->token_label = must(strdup("hsm"));
	r->pin = PIN_FILE;
	r->pin_path = must(strdup("/pin"));
	r->capacity = -1;
	r->sessions = 1;
	r->deadline = 120;
	p = must(conf_policy_add(&c, "default"));
	p->zones = p->owners = c.zones = 1;
	k = must(conf_key_add(p));
	k->role = ROLE_ZSK;
	k->alg = 13;
	k->bits = 256;
	k->repository = must(strdup("hsm"));
	conf_pool_default(&k->pool);
	k->pool.strategy = STRATEGY_MANUAL;
	k->pool.scope = SCOPE_ZONE;
	if (engine_configure(engine, &c, &fail) != KSM_OK)
		die("%s", fail.text);
	conf_clear(&c);
}

/* ---- keys --------------------------------------------------------- */

static void
key_fill(const struct key_id *id, ksm_time now)
{
	uint8_t pub[64], digest[32];
	struct store_made made = { .started = now - 1,
		.ended = now,
		.took = 1000,
		.proved = true,
		.pub = pub,
		.publen = sizeof(pub),
		.digest = digest };
	struct ksm_fail fail;
	uint16_t tag;

	world_random(NULL, pub, sizeof(pub));
	world_random(NULL, digest, sizeof(digest));
	memcpy(&tag, digest, sizeof(tag));
	made.tag_zsk = tag;
	made.tag_ksk = (tag + 1) % 65536;
	made.tag_revoked = (tag + 129) % 65536;
	if (store_key_made(store, id, &made, now, &fail) != KSM_OK ||
	    store_key_move(store, id, KEY_MADE, KEY_READY, "", now, &fail) !=
		KSM_OK)
		die("%s", fail.text);
}

static void
keys_fill(int64_t n)
{
	struct key_id ids[FILL_BATCH];
	struct pool_spec spec = { "default", ROLE_ZSK, "hsm", 13, 256 };
	struct store_pool pool;
	struct ksm_fail fail;
	ksm_time now = time(NULL);

	if (store_pool_get(store, &spec, &pool, &fail) != KSM_OK)
		die("%s", fail.text);
	while (n > 0) {
		size_t some = n < FILL_BATCH ? (size_t)n : FILL_BATCH;

		if (store_keys_intend(store, pool.row, some, now, ids,
			&fail) != KSM_OK)
			die("%s", fail.text);
		for (size_t i = 0; i < some; i++)
			key_fill(&ids[i], now);
		if (store_commit(store, &fail) != KSM_OK)
			die("%s", fail.text);
		n -= (int64_t)some;
	}
}

/* ---- takes -------------------------------------------------------- */

static void
done_wait(const int64_t *tickets, size_t n, struct take_state *last)
{
	size_t at = 0;

	for (int turn = 0; turn < TURNS && at < n; turn++) {
		(void)engine_run(engine);
		for (; at < n; at++) {
			if (engine_take_state(engine, tickets[at], last) !=
			    KSM_OK)
				die("the engine lost sight of a take");
			if (!last->done)
				break;
			if (last->err != KSM_OK)
				die("%s", last->text);
		}
	}
	if (at < n)
		die("takes do not end");
}

static int64_t
take_ask(size_t count, bool dry, const struct key_id *outside, int64_t zone)
{
	char name[32];
	struct take_want want = { .zone = name,
		.policy = "default",
		.repository = "hsm",
		.role = ROLE_ZSK,
		.alg = 13,
		.count = count,
		.dry_run = dry,
		.outside = outside,
		.reason = "bench",
		.who = { 1000, 4711 } };
	struct ksm_fail fail;
	int64_t ticket;

	(void)snprintf(name, sizeof(name), "z%lld.example", (long long)zone);
	if (engine_take(engine, &want, &ticket, &fail) != KSM_OK)
		die("%s", fail.text);
	return ticket;
}

/*
 * `n` takes that wait at the same time: of as many clients, each with a choice
 * of its own, or of one that chooses `n` at once.
 */
static void
group_take(size_t n, bool one_choice)
{
	struct key_id *ids = must(calloc(n, sizeof(*ids)));
	int64_t *tickets = must(calloc(n, sizeof(*tickets)));
	struct take_state s = { .done = false };

	for (size_t i = 1; !one_choice && i < n; i++) {
		tickets[i] = take_ask(1, true, NULL, zones + (int64_t)i);
	}
	tickets[0] = take_ask(n, true, NULL, zones);
	done_wait(tickets, 1, &s);
	for (size_t i = 0; i < n; i++)
		ids[i] = s.keys[i].id;
	if (!one_choice)
		done_wait(tickets + 1, n - 1, &s);
	for (size_t i = 0; i < n; i++)
		if (tickets[i] != 0)
			engine_take_forget(engine, tickets[i]);
	for (size_t i = 0; i < n; i++)
		tickets[i] = take_ask(1, false, &ids[i],
		    zones + (one_choice ? 0 : (int64_t)i));
	done_wait(tickets, n, &s);
	for (size_t i = 0; i < n; i++)
		engine_take_forget(engine, tickets[i]);
	zones += one_choice ? 1 : (int64_t)n;
	free(ids);
	free(tickets);
}

/* ---- the bare loop ------------------------------------------------ */

static int bare_fd = -1;
static sqlite3 *bare_db;
static sqlite3_stmt *bare_begin, *bare_add, *bare_commit;
static char bare_line[HANDOUT_LINE];
static size_t bare_len;

static void
bare_open(const char *dir)
{
	static const char sql[] = "PRAGMA journal_mode = WAL;"
				  "PRAGMA synchronous = FULL;"
				  "PRAGMA journal_size_limit = 4194304;"
				  "CREATE TABLE taken (n INTEGER PRIMARY KEY, "
				  "id BLOB NOT NULL);";
	char path[512];

	path_in(dir, "bare.journal", path);
	bare_fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
	if (bare_fd == -1)
		die("%s: cannot be opened", path);
	path_in(dir, "bare.db", path);
	if (sqlite3_open(path, &bare_db) != SQLITE_OK ||
	    sqlite3_exec(bare_db, sql, NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_prepare_v2(bare_db, "BEGIN IMMEDIATE", -1, &bare_begin,
		NULL) != SQLITE_OK ||
	    sqlite3_prepare_v2(bare_db, "INSERT INTO taken (id) VALUES (?)",
		-1, &bare_add, NULL) != SQLITE_OK ||
	    sqlite3_prepare_v2(bare_db, "COMMIT", -1, &bare_commit, NULL) !=
		SQLITE_OK)
		die("%s: %s", path, sqlite3_errmsg(bare_db));
}

/* As long as the first line that a take of ours wrote. */
static void
bare_measure(const char *dir)
{
	char path[512];
	FILE *in;

	path_in(dir, "handout.journal", path);
	in = fopen(path, "re");
	if (in == NULL || fgets(bare_line, sizeof(bare_line), in) == NULL ||
	    fgets(bare_line, sizeof(bare_line), in) == NULL)
		die("%s: there is no line in it", path);
	(void)fclose(in);
	bare_len = strlen(bare_line);
}

static void
bare_step(sqlite3_stmt *q)
{
	if (sqlite3_step(q) != SQLITE_DONE)
		die("bare loop: %s", sqlite3_errmsg(bare_db));
	(void)sqlite3_reset(q);
}

static void
bare_run(int64_t n)
{
	uint8_t id[16];

	for (int64_t i = 0; i < n; i++) {
		world_random(NULL, id, sizeof(id));
		if (write(bare_fd, bare_line, bare_len) != (ssize_t)bare_len ||
		    fdatasync(bare_fd) != 0)
			die("bare loop: its line cannot be written");
		bare_step(bare_begin);
		(void)sqlite3_bind_blob(bare_add, 1, id, sizeof(id),
		    SQLITE_STATIC);
		bare_step(bare_add);
		bare_step(bare_commit);
	}
}

static void
bare_close(void)
{
	(void)sqlite3_finalize(bare_begin);
	(void)sqlite3_finalize(bare_add);
	(void)sqlite3_finalize(bare_commit);
	(void)sqlite3_close(bare_db);
	(void)close(bare_fd);
}

/* ---- all of it ---------------------------------------------------- */

static void
arm_run(int64_t n, int64_t group, bool one_choice)
{
	double took = 0, bare = 0;

	for (int64_t left = n; left > 0; left -= group) {
		int64_t some = left < group ? left : group;
		double begin = seconds(), between;

		group_take((size_t)some, one_choice);
		between = seconds();
		bare_run(some);
		took += between - begin;
		bare += seconds() - between;
	}
	(void)printf("%lld %.6f %.6f\n", (long long)n, took, bare);
	(void)fflush(stdout);
}

static void
arm_parse(const char *arm, int64_t *group, bool *one_choice)
{
	long long n = 1;

	*one_choice = sscanf(arm, "count%lld", &n) == 1;
	if ((!*one_choice && sscanf(arm, "clients%lld", &n) != 1 &&
		strcmp(arm, "single") != 0) ||
	    n < 1 || n > TAKE_MOST)
		die("%s: not single, clientsN or countN, N up to %d", arm,
		    TAKE_MOST);
	*group = n;
}

int
main(int argc, char **argv)
{
	static const struct engine_io io = { .wall = world_wall,
		.steady = world_steady,
		.random = world_random,
		.worker_start = world_start,
		.worker_send = world_send,
		.worker_leave = world_leave,
		.worker_kill = world_kill,
		.pin_source_print = world_pin };
	char path[512], arm[32];
	struct ksm_fail fail;
	bool one_choice;
	int64_t group;
	long long n;

	if (argc != 3)
		die("usage: take_loop DIRECTORY KEYS");
	log_level_set(LOGL_ERROR);
	path_in(argv[1], "ksmpool.db", path);
	if (store_open(path, &store, &fail) != KSM_OK)
		die("%s", fail.text);
	path_in(argv[1], "handout.journal", path);
	if (engine_new(store, &io, &engine, &fail) != KSM_OK)
		die("%s", fail.text);
	configure();
	if (engine_handouts_open(engine, path, &fail) != KSM_OK)
		die("%s", fail.text);
	keys_fill(strtoll(argv[2], NULL, 10));
	group_take(1, false);
	bare_open(argv[1]);
	bare_measure(argv[1]);
	while (scanf("%31s %lld", arm, &n) == 2) {
		arm_parse(arm, &group, &one_choice);
		arm_run(n, group, one_choice);
	}
	bare_close();
	engine_free(engine);
	store_close(store);
	return 0;
}
