/*
 * test_store.h - a store in a directory of its own, for the test_store*.c.
 *
 * Include it after cmocka.h.
 */
#ifndef TEST_STORE_H
#define TEST_STORE_H

#include <sys/stat.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store_internal.h"

#define T0 ((ksm_time)1900000000) /* some moment in 2030 */

struct bed {
	char dir[64];
	char path[128];
	struct store *st;
	struct ksm_fail fail;
};

static inline void
bed_file(const struct bed *b, const char *suffix, char out[160])
{
	(void)snprintf(out, 160, "%s%s", b->path, suffix);
}

static inline void
bed_open(struct bed *b)
{
	b->fail.text[0] = '\0';
	if (store_open(b->path, &b->st, &b->fail) != KSM_OK)
		fail_msg("open: %s", b->fail.text);
}

static inline void
bed_close(struct bed *b)
{
	store_close(b->st);
	b->st = NULL;
}

static inline int
bed_make(void **ctx)
{
	struct bed *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	(void)strcpy(b->dir, "/tmp/ksmpool-store-XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	(void)snprintf(b->path, sizeof(b->path), "%s/ksmpool.db", b->dir);
	*ctx = b;
	return 0;
}

static inline int
bed_setup(void **ctx)
{
	(void)bed_make(ctx);
	bed_open(*ctx);
	return 0;
}

/* Whatever lies in it: copies have names of their own. */
static inline int
bed_teardown(void **ctx)
{
	struct bed *b = *ctx;
	struct dirent *e;
	char path[400];
	DIR *d;

	bed_close(b);
	(void)chmod(b->dir, 0700);
	d = opendir(b->dir);
	assert_non_null(d);
	while ((e = readdir(d)) != NULL) {
		(void)snprintf(path, sizeof(path), "%s/%s", b->dir, e->d_name);
		if (e->d_name[0] != '.' && unlink(path) == -1)
			(void)rmdir(path);
	}
	(void)closedir(d);
	assert_int_equal(rmdir(b->dir), 0);
	free(b);
	return 0;
}

#define ok(b, call)                                                            \
	do {                                                                   \
		(b)->fail.text[0] = '\0';                                      \
		if ((call) != KSM_OK)                                          \
			fail_msg("%s: %s", #call, (b)->fail.text);             \
	} while (0)

static inline void
assert_says(const struct bed *b, const char *words)
{
	if (strstr(b->fail.text, words) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", b->fail.text, words);
}

/* A connection of somebody else: an operator with sqlite3. */
static inline sqlite3 *
other_open(const struct bed *b)
{
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open_v2(b->path, &db,
			     SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL),
	    SQLITE_OK);
	return db;
}

static inline void
other_run(sqlite3 *db, const char *sql)
{
	char *text = NULL;

	if (sqlite3_exec(db, sql, NULL, NULL, &text) != SQLITE_OK)
		fail_msg("%s: %s", sql, text);
}

static inline void
other_is_refused(sqlite3 *db, const char *sql, const char *words)
{
	char *text = NULL;

	if (sqlite3_exec(db, sql, NULL, NULL, &text) == SQLITE_OK)
		fail_msg("was accepted: %s", sql);
	if (strstr(text, words) == NULL)
		fail_msg("%s: \"%s\" does not say \"%s\"", sql, text, words);
	sqlite3_free(text);
}

static inline int64_t
ask(const struct bed *b, const char *sql)
{
	struct ksm_fail fail;
	int64_t n = -1;

	if (store_ask_int(b->st, sql, &n, &fail) != KSM_OK)
		fail_msg("%s: %s", sql, fail.text);
	return n;
}

static inline int64_t
pool_of(struct bed *b, const char *policy, enum key_role role,
    const char *repository, int alg, int bits)
{
	struct pool_spec spec = { .role = role, .alg = alg, .bits = bits };
	struct store_pool pool;

	(void)snprintf(spec.policy, sizeof(spec.policy), "%s", policy);
	(void)snprintf(spec.repository, sizeof(spec.repository), "%s",
	    repository);
	ok(b, store_pool_get(b->st, &spec, &pool, &b->fail));
	return pool.row;
}

static inline int64_t
pool_any(struct bed *b)
{
	return pool_of(b, "default", ROLE_ZSK, "hsm", 13, 256);
}

/* An answer with everything in it. */
static inline struct store_made
answer(ksm_time ended)
{
	static const uint8_t pub[64] = { 0xab, 0xcd };
	static const uint8_t digest[32] = { 0xd1, 0x9e };

	return (struct store_made){ .started = ended - 2,
		.ended = ended,
		.took = 1500,
		.proved = true,
		.pub = pub,
		.publen = sizeof(pub),
		.digest = digest,
		.tag_zsk = 100,
		.tag_ksk = 101,
		.tag_revoked = 65535 };
}

static inline struct key_id
key_intended(struct bed *b, int64_t pool)
{
	struct key_id id;

	ok(b, store_keys_intend(b->st, pool, 1, T0, &id, &b->fail));
	return id;
}

static inline void
key_moved(struct bed *b, const struct key_id *id, enum key_state from,
    enum key_state to)
{
	ok(b, store_key_move(b->st, id, from, to, "", T0 + 10, &b->fail));
}

/* A key in `state`, by the shortest way; missing was `was`. */
static inline struct key_id
key_in(struct bed *b, int64_t pool, enum key_state state, enum key_state was)
{
	struct key_id id = key_intended(b, pool);
	struct store_made made = answer(T0 + 5);

	if (state == KEY_INTENDED)
		return id;
	if (state == KEY_UNKNOWN || state == KEY_GONE) {
		key_moved(b, &id, KEY_INTENDED, state);
		return id;
	}
	ok(b, store_key_made(b->st, &id, &made, T0 + 5, &b->fail));
	if (state == KEY_MISSING)
		state = was;
	else
		was = KEY__STATES;
	switch (state) {
	case KEY_READY:
	case KEY_QUARANTINED:
		key_moved(b, &id, KEY_MADE, state);
		break;
	case KEY_SURPLUS:
	case KEY_TAKING:
	case KEY_TAKEN:
	case KEY_RETIRED:
	case KEY_CONSUMED:
	case KEY_DESTROYING:
	case KEY_DESTROYED:
		key_moved(b, &id, KEY_MADE, KEY_READY);
		if (state == KEY_SURPLUS) {
			key_moved(b, &id, KEY_READY, KEY_SURPLUS);
			break;
		}
		if (state == KEY_DESTROYING || state == KEY_DESTROYED) {
			key_moved(b, &id, KEY_READY, KEY_DESTROYING);
			if (state == KEY_DESTROYED)
				key_moved(b, &id, KEY_DESTROYING, state);
			break;
		}
		key_moved(b, &id, KEY_READY, KEY_TAKING);
		if (state == KEY_TAKING)
			break;
		key_moved(b, &id, KEY_TAKING, KEY_TAKEN);
		if (state != KEY_TAKEN)
			key_moved(b, &id, KEY_TAKEN, state);
		break;
	default:
		break;
	}
	if (was != KEY__STATES)
		key_moved(b, &id, was, KEY_MISSING);
	return id;
}

static inline struct store_key
key_look(struct bed *b, const struct key_id *id)
{
	struct store_key k;

	ok(b, store_key_get(b->st, id, &k, &b->fail));
	return k;
}

#endif
