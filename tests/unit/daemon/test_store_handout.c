#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "test_store.h"

#include "store_backup.h"
#include "store_handout.h"

static const char shared[] = "policy";

/* ---- doing ------------------------------------------------------------- */

/* Hand-out n, of a key to a zone. */
static struct handout
handout_of(int64_t n, const struct key_id *id, const char *zone,
    const char *share)
{
	struct handout h;

	memset(&h, 0, sizeof(h));
	h.number = n;
	h.id = *id;
	(void)snprintf(h.zone, sizeof(h.zone), "%s", zone);
	(void)snprintf(h.share, sizeof(h.share), "%s", share);
	(void)strcpy(h.pool.policy, "default");
	(void)strcpy(h.pool.repository, "hsm");
	h.pool.role = ROLE_ZSK;
	h.pool.alg = 13;
	h.pool.bits = 256;
	h.drawn = true;
	h.when = T0 + n;
	h.who = (struct store_actor){ 1000, 4711 };
	h.serial = n;
	h.mark = 100;
	return h;
}

static enum ksm_err
add_try(struct bed *b, const struct handout *h)
{
	char text[64];
	struct handout_line line = { .text = text };

	(void)snprintf(text, sizeof(text), "{\"n\":%lld}",
	    (long long)h->number);
	memset(line.hash, (int)(h->number & 0xff), sizeof(line.hash));
	b->fail.text[0] = '\0';
	return store_handout_add(b->st, h, &line, &b->fail);
}

static void
add(struct bed *b, const struct handout *h)
{
	ok(b, add_try(b, h));
}

static void
handed(struct bed *b, int64_t n, const struct key_id *id, const char *zone)
{
	struct handout h = handout_of(n, id, zone, shared);

	add(b, &h);
}

static void
given_again(struct bed *b, int64_t n, const struct key_id *id,
    const char *zone)
{
	struct handout h = handout_of(n, id, zone, shared);

	h.drawn = false;
	add(b, &h);
}

static void
commit(struct bed *b)
{
	ok(b, store_commit(b->st, &b->fail));
}

/* Ready, with these tags. */
static struct key_id
key_tagged(struct bed *b, int64_t pool, int zsk, int ksk, int revoked)
{
	struct key_id id = key_intended(b, pool);
	struct store_made made = answer(T0 + 5);

	made.tag_zsk = zsk;
	made.tag_ksk = ksk;
	made.tag_revoked = revoked;
	ok(b, store_key_made(b->st, &id, &made, T0 + 5, &b->fail));
	key_moved(b, &id, KEY_MADE, KEY_READY);
	return id;
}

static struct key_id
key_at(struct bed *b, int64_t pool, ksm_time ended)
{
	struct key_id id = key_intended(b, pool);
	struct store_made made = answer(ended);

	ok(b, store_key_made(b->st, &id, &made, ended, &b->fail));
	key_moved(b, &id, KEY_MADE, KEY_READY);
	return id;
}

/* ---- looking ----------------------------------------------------------- */

static int64_t
head_of(struct bed *b)
{
	uint8_t hash[DIGEST_LEN], want[DIGEST_LEN];
	int64_t n = -1;

	ok(b, store_handout_head(b->st, &n, hash, &b->fail));
	memset(want, (int)(n & 0xff), sizeof(want));
	assert_memory_equal(hash, want, sizeof(want));
	return n;
}

/* Numbers that are listed, in pages of two: "1 4 5". */
static void
listed(struct bed *b, const struct handout_filter *f, const char *want)
{
	struct handout page[2];
	char text[200] = "";
	int64_t cursor = 0;
	size_t n, used = 0;

	do {
		ok(b, store_handout_list(b->st, f, &cursor, page,
			  nitems(page), &n, &b->fail));
		for (size_t i = 0; i < n; i++)
			used += (size_t)snprintf(text + used,
			    sizeof(text) - used, "%s%lld",
			    used == 0 ? "" : " ", (long long)page[i].number);
	} while (n > 0);
	assert_string_equal(text, want);
}

static bool
has(struct bed *b, const struct key_id *id, const char *zone)
{
	bool yes = false;

	ok(b, store_handout_has(b->st, id, zone, &yes, &b->fail));
	return yes;
}

static int64_t
zones_of(struct bed *b, const struct key_id *id)
{
	int64_t n = -1;

	ok(b, store_handout_zones(b->st, id, &n, &b->fail));
	return n;
}

/* Keys that may be taken, in pages of two. */
static size_t
candidates(struct bed *b, const struct candidate_want *want,
    struct key_id *out, size_t max)
{
	struct store_key page[2];
	int64_t cursor = 0;
	size_t n, total = 0;

	do {
		ok(b, store_candidates(b->st, want, &cursor, page,
			  nitems(page), &n, &b->fail));
		for (size_t i = 0; i < n; i++) {
			assert_true(total < max);
			out[total++] = page[i].id;
		}
	} while (n > 0);
	return total;
}

static void
same_id(const struct key_id *a, const struct key_id *b)
{
	assert_int_equal(key_id_cmp(a, b), 0);
}

/* ---- on record ----------------------------------------------------------- */

static void
numbers_have_no_gap_and_no_second(void **ctx)
{
	static const char words[] = "no gap and no second of a number";
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	struct key_id id[3];
	struct handout h;

	for (size_t i = 0; i < nitems(id); i++)
		id[i] = key_in(b, pool, KEY_TAKEN, 0);
	commit(b);
	assert_int_equal(head_of(b), 0);
	for (int64_t n = 0; n < 4; n += 1 + (n == 0)) { /* all but 1 */
		h = handout_of(n, &id[0], "a.example", shared);
		assert_int_equal(add_try(b, &h), KSM_EREFUSED);
		assert_says(b, words);
		assert_false(store_batch_lost(b->st));
	}
	handed(b, 1, &id[0], "a.example");
	commit(b);
	h = handout_of(1, &id[1], "a.example", shared);
	assert_int_equal(add_try(b, &h), KSM_EREFUSED);
	assert_says(b, words);
	handed(b, 2, &id[1], "a.example");
	handed(b, 3, &id[2], "a.example");
	assert_int_equal(head_of(b), 3);

	/* what is rolled back leaves no gap */
	store_rollback(b->st);
	assert_int_equal(head_of(b), 1);
	handed(b, 2, &id[2], "b.example");
	commit(b);
	bed_close(b);
	bed_open(b);
	assert_int_equal(head_of(b), 2);
}

static void
a_key_is_drawn_once(void **ctx)
{
	struct bed *b = *ctx;
	struct key_id id = key_in(b, pool_any(b), KEY_TAKEN, 0), other = id;
	struct handout h;

	other.bytes[15] ^= 1; /* one that this database does not know */
	handed(b, 1, &id, "a.example");
	commit(b);
	h = handout_of(2, &id, "b.example", shared);
	assert_int_equal(add_try(b, &h), KSM_EREFUSED);
	assert_says(b, "a key is drawn once");
	/* again to its own zone is no better */
	h = handout_of(2, &id, "a.example", shared);
	assert_int_equal(add_try(b, &h), KSM_EREFUSED);
	assert_int_equal(head_of(b), 1);

	given_again(b, 2, &id, "b.example");
	handed(b, 3, &other, "c.example");
	/* given without being drawn, it is not in the pool any more either */
	other.bytes[15] ^= 2;
	given_again(b, 4, &other, "c.example");
	h = handout_of(5, &other, "c.example", shared);
	commit(b);
	assert_int_equal(add_try(b, &h), KSM_EREFUSED);
	assert_says(b, "a key is drawn once");
	assert_int_equal(head_of(b), 4);
}

static void
an_operator_with_sqlite3_cannot_change_what_was(void **ctx)
{
	static const char unchanged[] = "what was handed out cannot change";
	static const char grows[] = "hand-outs only grow";
	static const char columns[] =
		"cka_id, zone, repository, policy, role, alg, bits, share, "
		"drawn, request, consumer, when_s, uid, pid, uncovered, "
		"outside, serial, mark, line, hash";
	static const struct {
		const char *how, *number, *drawn, *words;
	} copies[] = {
		{ "INSERT", "3", "1", "a key is drawn once" },
		{ "INSERT OR REPLACE", "3", "1", "a key is drawn once" },
		{ "INSERT OR IGNORE", "3", "1", "a key is drawn once" },
		{ "REPLACE", "1", "1", "no second of a number" },
		{ "INSERT", "4", "0", "no gap" },
		{ "INSERT", "2", "0", "no second of a number" },
		{ "INSERT", "0", "0", "no gap" },
		{ "INSERT", "-1", "0", "no gap" },
		{ "INSERT", "NULL", "0", "no gap" },
	};
	static const struct {
		const char *sql, *words;
	} cases[] = {
		{ "UPDATE handout SET zone = 'z.example'", unchanged },
		{ "UPDATE handout SET drawn = 0", unchanged },
		{ "UPDATE OR REPLACE handout SET number = 2 WHERE number = 1",
		    unchanged },
		{ "DELETE FROM handout", unchanged },
		{ "DELETE FROM handout WHERE number = 2", unchanged },
		{ "UPDATE meta SET handout_number = 0", grows },
		{ "UPDATE meta SET handout_number = 4", grows },
		{ "UPDATE meta SET handout_hash = zeroblob(32)", grows },
		{ "DELETE FROM handouts", "cannot modify handouts" },
		{ "INSERT INTO handouts (number) VALUES (3)",
		    "cannot modify handouts" },
	};
	struct bed *b = *ctx;
	struct key_id id = key_in(b, pool_any(b), KEY_TAKEN, 0);
	char sql[1000], list[400];
	sqlite3 *db;

	handed(b, 1, &id, "a.example");
	given_again(b, 2, &id, "b.example");
	commit(b);
	db = other_open(b);
	for (size_t i = 0; i < nitems(cases); i++)
		other_is_refused(db, cases[i].sql, cases[i].words);
	for (size_t i = 0; i < nitems(copies); i++) {
		char *drawn;

		(void)strcpy(list, columns);
		drawn = strstr(list, "drawn");
		(void)snprintf(sql, sizeof(sql), "%s INTO handout (number, %s) "
		    "SELECT %s, %.*s%s%s FROM handout WHERE number = 1",
		    copies[i].how, columns, copies[i].number,
		    (int)(drawn - list), list, copies[i].drawn, drawn + 5);
		other_is_refused(db, sql, copies[i].words);
	}
	(void)sqlite3_close(db);
	assert_int_equal(head_of(b), 2);
	listed(b, &(struct handout_filter){ .zone = NULL }, "1 2");
}

static void
what_is_on_record_reads_as_it_was_written(void **ctx)
{
	static char text[HANDOUT_LINE], longest[HANDOUT_LINE];
	struct handout_line line = { .text = longest };
	struct bed *b = *ctx;
	struct key_id id = key_in(b, pool_any(b), KEY_TAKEN, 0);
	struct handout h = handout_of(1, &id, "a\\.b.example", "owner:it's"),
		       got;
	uint8_t hash[DIGEST_LEN];
	int64_t cursor = 0;
	size_t n;

	(void)strcpy(h.pool.policy, "\xc3\xbc \"quoted\" 'it'");
	(void)strcpy(h.pool.repository, "hsm b\\");
	(void)strcpy(h.request, "r-1");
	(void)strcpy(h.consumer, "bind");
	h.pool.role = ROLE_CSK;
	h.pool.alg = 8;
	h.pool.bits = 2048;
	h.uncovered = true;
	h.serial = INT64_C(1) << 40;
	h.mark = INT64_C(1) << 41;
	memset(longest, 'x', sizeof(longest) - 1);
	memset(line.hash, 0xa5, sizeof(line.hash));
	ok(b, store_handout_add(b->st, &h, &line, &b->fail));
	ok(b, store_handout_list(b->st,
		  &(struct handout_filter){ .zone = NULL }, &cursor, &got, 1,
		  &n, &b->fail));
	assert_int_equal(n, 1);
	assert_int_equal(got.number, 1);
	same_id(&got.id, &id);
	assert_string_equal(got.zone, h.zone);
	assert_string_equal(got.share, h.share);
	assert_string_equal(got.pool.policy, h.pool.policy);
	assert_string_equal(got.pool.repository, h.pool.repository);
	assert_int_equal(got.pool.role, ROLE_CSK);
	assert_int_equal(got.pool.alg, 8);
	assert_int_equal(got.pool.bits, 2048);
	assert_string_equal(got.request, "r-1");
	assert_string_equal(got.consumer, "bind");
	assert_int_equal(got.when, h.when);
	assert_int_equal(got.who.uid, 1000);
	assert_int_equal(got.who.pid, 4711);
	assert_true(got.drawn && got.uncovered && !got.outside);
	assert_int_equal(got.serial, h.serial);
	assert_int_equal(got.mark, h.mark);
	ok(b, store_handout_text(b->st, 1, text, hash, &b->fail));
	assert_string_equal(text, longest);
	assert_memory_equal(hash, line.hash, sizeof(hash));
	assert_int_equal(store_handout_text(b->st, 2, text, hash, &b->fail),
	    KSM_ENOENT);
	assert_says(b, "there is no hand-out 2");

	/* nothing asked for, by nobody, to the longest name there is */
	h = handout_of(2, &id, "", "");
	memset(h.zone, 'z', sizeof(h.zone) - 1);
	memset(h.share, 's', sizeof(h.share) - 1);
	memset(h.request, 'r', sizeof(h.request) - 1);
	memset(h.consumer, 'c', sizeof(h.consumer) - 1);
	memset(h.pool.policy, 'p', sizeof(h.pool.policy) - 1);
	h.drawn = false;
	h.outside = true;
	h.who = ACTOR_DAEMON;
	add(b, &h);
	ok(b, store_handout_list(b->st,
		  &(struct handout_filter){ .zone = h.zone }, &(int64_t){ 0 },
		  &got, 1, &n, &b->fail));
	assert_int_equal(n, 1);
	assert_string_equal(got.zone, h.zone);
	assert_string_equal(got.share, h.share);
	assert_string_equal(got.request, h.request);
	assert_string_equal(got.consumer, h.consumer);
	assert_string_equal(got.pool.policy, h.pool.policy);
	assert_true(!got.drawn && got.outside);
	assert_int_equal(got.who.uid, -1);
	assert_int_equal(got.who.pid, -1);
}

static void
lists_are_filtered_and_in_order(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	struct key_id id[3];
	struct handout h;

	for (size_t i = 0; i < nitems(id); i++)
		id[i] = key_in(b, pool, KEY_TAKEN, 0);
	/* 1: key 0, a, r-1; 2: key 0, b; 3: key 1, a, r-1, another policy;
	 * 4: key 2, b, r-2; 5: key 0, c, r-1 */
	h = handout_of(1, &id[0], "a.example", shared);
	(void)strcpy(h.request, "r-1");
	add(b, &h);
	given_again(b, 2, &id[0], "b.example");
	h = handout_of(3, &id[1], "a.example", shared);
	(void)strcpy(h.request, "r-1");
	(void)strcpy(h.pool.policy, "gold");
	add(b, &h);
	h = handout_of(4, &id[2], "b.example", shared);
	(void)strcpy(h.request, "r-2");
	add(b, &h);
	h = handout_of(5, &id[0], "c.example", shared);
	(void)strcpy(h.request, "r-1");
	h.drawn = false;
	add(b, &h);

#define LIST(want, ...) listed(b, &(struct handout_filter){ __VA_ARGS__ }, want)
	LIST("1 2 3 4 5", .zone = NULL);
	LIST("1 3", .zone = "a.example");
	LIST("", .zone = "A.example");
	LIST("", .zone = "");
	LIST("1 2 5", .id = &id[0]);
	LIST("3", .policy = "gold");
	LIST("1 2 4 5", .policy = "default");
	LIST("1 3 5", .request = "r-1");
	LIST("", .request = "");
	LIST("", .request = "r");
	LIST("1 3", .request = "r-1", .zone = "a.example");
	LIST("1 5", .request = "r-1", .id = &id[0]);
	LIST("1", .request = "r-1", .id = &id[0], .zone = "a.example");
	LIST("3", .request = "r-1", .policy = "gold");
	LIST("2", .zone = "b.example", .id = &id[0]);
	LIST("3", .zone = "a.example", .policy = "gold");
	LIST("", .id = &id[1], .policy = "default");
	LIST("", .request = "r-2", .zone = "a.example");
#undef LIST
}

static void
a_group_has_the_key_that_was_drawn_last(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	struct key_id id[7];
	struct handout h = handout_of(1, &(struct key_id){ 0 }, "", ""), got;
	struct pool_spec spec = h.pool;

	for (size_t i = 0; i < nitems(id); i++)
		id[i] = key_in(b, pool, KEY_TAKEN, 0);
#define CURRENT(share)                                                         \
	store_handout_current(b->st, &spec, share, &got, &b->fail)
	assert_int_equal(CURRENT(shared), KSM_ENOENT);
	handed(b, 1, &id[0], "a.example");
	assert_int_equal(CURRENT(shared), KSM_OK);
	same_id(&got.id, &id[0]);
	handed(b, 2, &id[1], "b.example");
	given_again(b, 3, &id[0], "c.example"); /* it is not drawn */
	assert_int_equal(CURRENT(shared), KSM_OK);
	same_id(&got.id, &id[1]);
	assert_int_equal(got.number, 2);
	assert_string_equal(got.zone, "b.example");
	/* of another group, role, algorithm, size, repository */
	h = handout_of(4, &id[2], "a.example", "owner:bob");
	add(b, &h);
	h = handout_of(5, &id[3], "a.example", shared);
	h.pool.role = ROLE_KSK;
	add(b, &h);
	h = handout_of(6, &id[4], "a.example", shared);
	h.pool.alg = 8;
	add(b, &h);
	h = handout_of(7, &id[5], "a.example", shared);
	h.pool.bits = 384;
	add(b, &h);
	h = handout_of(8, &id[6], "a.example", shared);
	(void)strcpy(h.pool.repository, "other");
	add(b, &h);
	assert_int_equal(CURRENT(shared), KSM_OK);
	same_id(&got.id, &id[1]);
	assert_int_equal(CURRENT("owner:bob"), KSM_OK);
	same_id(&got.id, &id[2]);
	assert_int_equal(CURRENT("owner:Bob"), KSM_ENOENT);
	(void)strcpy(spec.repository, "other");
	assert_int_equal(CURRENT(shared), KSM_OK);
	same_id(&got.id, &id[6]);
	(void)strcpy(spec.repository, "hsm");
	spec.role = ROLE_KSK;
	assert_int_equal(CURRENT(shared), KSM_OK);
	same_id(&got.id, &id[3]);
	(void)strcpy(spec.policy, "gold");
	assert_int_equal(CURRENT(shared), KSM_ENOENT);
#undef CURRENT
}

static bool
outside(struct bed *b, const struct key_id *id)
{
	bool is = false;

	ok(b, store_handout_outside(b->st, id, &is, &b->fail));
	return is;
}

static void
a_key_that_is_marked_used_is_known(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	struct key_id id = key_in(b, pool, KEY_TAKEN, 0),
		      marked = key_in(b, pool, KEY_TAKEN, 0),
		      other = key_in(b, pool, KEY_READY, 0);
	struct handout h = handout_of(2, &marked, "b.example", shared);

	h.outside = true;
	handed(b, 1, &id, "a.example");
	add(b, &h);
	assert_false(outside(b, &id));
	assert_true(outside(b, &marked));
	assert_false(outside(b, &other));
}

static void
the_zones_of_a_key_are_known(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	struct key_id id = key_in(b, pool, KEY_TAKEN, 0),
		      other = key_in(b, pool, KEY_READY, 0);

	handed(b, 1, &id, "a.example");
	given_again(b, 2, &id, "b.example");
	given_again(b, 3, &id, "a.example"); /* once more counts once */
	assert_int_equal(zones_of(b, &id), 2);
	assert_int_equal(zones_of(b, &other), 0);
	assert_true(has(b, &id, "a.example"));
	assert_true(has(b, &id, "b.example"));
	assert_false(has(b, &id, "c.example"));
	assert_false(has(b, &other, "a.example"));
}

/* ---- tags ---------------------------------------------------------------- */

static void
no_two_keys_of_a_zone_have_one_tag(void **ctx)
{
	/* of a key that the zone has: 1 as ZSK, 2 as KSK, 3 revoked */
	static const struct {
		const char *what;
		enum key_role had, wants;
		int zsk, ksk, revoked;
		bool clash;
	} cases[] = {
		{ "ZSK and ZSK", ROLE_ZSK, ROLE_ZSK, 1, 8, 9, true },
		{ "others of a ZSK do not count", ROLE_ZSK, ROLE_ZSK, 2, 1, 1,
		    false },
		{ "a ZSK is never revoked", ROLE_ZSK, ROLE_ZSK, 3, 8, 9,
		    false },
		{ "KSK and ZSK", ROLE_KSK, ROLE_ZSK, 2, 8, 9, true },
		{ "revoked KSK and ZSK", ROLE_KSK, ROLE_ZSK, 3, 8, 9, true },
		{ "a KSK is not used as ZSK", ROLE_KSK, ROLE_ZSK, 1, 8, 9,
		    false },
		{ "ZSK and KSK", ROLE_ZSK, ROLE_KSK, 7, 1, 9, true },
		{ "ZSK and revoked KSK", ROLE_ZSK, ROLE_KSK, 7, 8, 1, true },
		{ "as ZSK it is not used", ROLE_ZSK, ROLE_KSK, 1, 8, 9,
		    false },
		{ "KSK and KSK", ROLE_KSK, ROLE_KSK, 7, 2, 9, true },
		{ "revoked KSK and KSK", ROLE_KSK, ROLE_KSK, 7, 3, 9, true },
		{ "KSK and revoked KSK", ROLE_KSK, ROLE_KSK, 7, 8, 2, true },
		{ "both revoked", ROLE_KSK, ROLE_KSK, 7, 8, 3, true },
		{ "neither", ROLE_KSK, ROLE_KSK, 1, 8, 9, false },
		{ "CSK and ZSK", ROLE_CSK, ROLE_ZSK, 2, 8, 9, true },
		{ "ZSK and CSK", ROLE_ZSK, ROLE_CSK, 7, 1, 9, true },
		{ "CSK and CSK", ROLE_CSK, ROLE_CSK, 7, 8, 3, true },
	};
	struct bed *b = *ctx;
	int64_t pools[ROLE__COUNT];

	for (int role = 0; role < ROLE__COUNT; role++)
		pools[role] = pool_of(b, "default", (enum key_role)role, "hsm",
		    13, 256);
	for (size_t i = 0; i < nitems(cases); i++) {
		struct key_id had = key_tagged(b, pools[cases[i].had], 1, 2, 3),
			      wants = key_tagged(b, pools[cases[i].wants],
				  cases[i].zsk, cases[i].ksk, cases[i].revoked),
			      out;
		struct store_key key = key_look(b, &wants);
		char zone[32];
		struct handout h;
		enum ksm_err err;

		(void)snprintf(zone, sizeof(zone), "z%zu.example", i);
		h = handout_of((int64_t)i + 1, &had, zone, zone);
		add(b, &h);
		err = store_tag_clash(b->st, &key, zone, zone, &out, &b->fail);
		if (err != (cases[i].clash ? KSM_OK : KSM_ENOENT))
			fail_msg("%s: %d", cases[i].what, (int)err);
		if (cases[i].clash)
			same_id(&out, &had);
	}
}

static void
a_tag_clashes_where_both_are_published(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b),
		gold = pool_of(b, "gold", ROLE_ZSK, "hsm", 13, 256);
	struct key_id old = key_tagged(b, pool, 1, 2, 3),
		      wants = key_tagged(b, pool, 1, 8, 9),
		      golden = key_tagged(b, gold, 1, 8, 9), out;
	struct store_key key = key_look(b, &wants),
			 of_gold = key_look(b, &golden);

#define CLASH(zone, share)                                                     \
	store_tag_clash(b->st, &key, zone, share, &out, &b->fail)
	handed(b, 1, &old, "a.example");
	assert_int_equal(CLASH("a.example", "owner:bob"), KSM_OK);
	assert_int_equal(CLASH("b.example", shared), KSM_OK);
	assert_int_equal(CLASH("b.example", "owner:bob"), KSM_ENOENT);
	/* a group is one of its policy, a zone is one everywhere */
	assert_int_equal(store_tag_clash(b->st, &of_gold, "b.example", shared,
			     &out, &b->fail), KSM_ENOENT);
	assert_int_equal(store_tag_clash(b->st, &of_gold, "a.example",
			     "owner:bob", &out, &b->fail), KSM_OK);
	same_id(&out, &old);
	/* never with itself */
	given_again(b, 2, &wants, "c.example");
	assert_int_equal(CLASH("c.example", "owner:bob"), KSM_ENOENT);

	/* retired it may still be published; destroyed it is gone */
	key_moved(b, &old, KEY_READY, KEY_TAKING);
	key_moved(b, &old, KEY_TAKING, KEY_TAKEN);
	key_moved(b, &old, KEY_TAKEN, KEY_RETIRED);
	assert_int_equal(CLASH("a.example", "owner:bob"), KSM_OK);
	key_moved(b, &old, KEY_RETIRED, KEY_DESTROYING);
	assert_int_equal(CLASH("a.example", "owner:bob"), KSM_OK);
	key_moved(b, &old, KEY_DESTROYING, KEY_DESTROYED);
	assert_int_equal(CLASH("a.example", "owner:bob"), KSM_ENOENT);
#undef CLASH
}

/* ---- keys to take ---------------------------------------------------------- */

static void
the_oldest_that_may_be_taken_is_first(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b),
		other = pool_of(b, "default", ROLE_KSK, "hsm", 13, 256);
	struct candidate_want want = { .pool_row = pool };
	struct key_id id[7], got[8];
	sqlite3 *db;

	/* the order is that of the serials, whatever the clock said */
	for (size_t i = 0; i < nitems(id); i++)
		id[i] = key_at(b, pool, T0 + (ksm_time)(i % 3) * 100);
	(void)key_at(b, other, T0);
	for (int state = 0; state < KEY__STATES; state++)
		if (state != KEY_READY)
			(void)key_in(b, pool, (enum key_state)state, KEY_MADE);
	assert_int_equal(candidates(b, &want, got, nitems(got)), nitems(id));
	for (size_t i = 0; i < nitems(id); i++) {
		same_id(&got[i], &id[i]);
		assert_true(i == 0 ||
		    key_look(b, &got[i - 1]).serial <
			key_look(b, &got[i]).serial);
	}
	/* whatever was handed out, in whatever way, is none */
	handed(b, 1, &id[0], "a.example");
	given_again(b, 2, &id[3], "a.example");
	assert_int_equal(candidates(b, &want, got, nitems(got)), 5);
	same_id(&got[0], &id[1]);
	same_id(&got[2], &id[4]);
	/* made then or later */
	want.not_before = T0 + 100;
	assert_int_equal(candidates(b, &want, got, nitems(got)), 4);
	same_id(&got[0], &id[1]);
	same_id(&got[3], &id[5]);
	want.not_before = T0 + 201;
	assert_int_equal(candidates(b, &want, got, nitems(got)), 0);

	/* what lost its proof is none before it has it again */
	want.not_before = 0;
	commit(b);
	db = other_open(b);
	other_run(db, "UPDATE key SET proved = 0 WHERE serial <= 2");
	(void)sqlite3_close(db);
	assert_int_equal(candidates(b, &want, got, nitems(got)), 4);
	same_id(&got[0], &id[2]);
}

static void
only_what_is_in_a_backup_is_covered(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	struct candidate_want want = { .pool_row = pool, .covered = true };
	struct key_id id[3], got[4], stranger;
	struct store_backup backup;
	bool covered;

	for (size_t i = 0; i < nitems(id); i++)
		id[i] = key_in(b, pool, KEY_READY, 0);
	assert_int_equal(candidates(b, &want, got, nitems(got)), 0);
	ok(b, store_backup_begin(b->st, "hsm", "one", NULL, NULL, T0,
		  ACTOR_DAEMON, &backup, &b->fail));
	ok(b, store_backup_commit(b->st, "hsm", "one", &id[1], 1, T0,
		  ACTOR_DAEMON, &backup, &b->fail));
	assert_int_equal(candidates(b, &want, got, nitems(got)), 2);
	same_id(&got[0], &id[0]);
	same_id(&got[1], &id[2]);
	for (size_t i = 0; i < nitems(id); i++) {
		ok(b, store_key_covered(b->st, &id[i], &covered, &b->fail));
		assert_int_equal(covered, i != 1);
	}
	stranger = id[0];
	stranger.bytes[15] ^= 1;
	ok(b, store_key_covered(b->st, &stranger, &covered, &b->fail));
	assert_false(covered);
	want.covered = false;
	assert_int_equal(candidates(b, &want, got, nitems(got)), 3);
}

static void
a_drawn_key_that_looks_free_is_named(void **ctx)
{
	static const struct {
		enum key_state state, was;
		bool named;
	} cases[] = {
		{ KEY_INTENDED, 0, false }, /* no serial: it cannot be */
		{ KEY_UNKNOWN, 0, true },
		{ KEY_MADE, 0, true },
		{ KEY_READY, 0, true },
		{ KEY_SURPLUS, 0, true },
		{ KEY_QUARANTINED, 0, true },
		{ KEY_TAKING, 0, true },
		{ KEY_MISSING, KEY_MADE, true },
		{ KEY_MISSING, KEY_READY, true },
		{ KEY_MISSING, KEY_TAKEN, false },
		{ KEY_MISSING, KEY_RETIRED, false },
		{ KEY_TAKEN, 0, false },
		{ KEY_RETIRED, 0, false },
		{ KEY_DESTROYING, 0, false },
		{ KEY_DESTROYED, 0, false },
		{ KEY_CONSUMED, 0, false },
		{ KEY_GONE, 0, false },
	};
	struct bed *b = *ctx;
	int64_t pool = pool_any(b), n = 0, cursor = 0;
	struct key_id want[nitems(cases)], only;
	struct handed_out page[2];
	size_t wanted = 0, found = 0, got;

	for (size_t i = 0; i < nitems(cases); i++) {
		struct key_id id = key_in(b, pool, cases[i].state,
		    cases[i].was);

		handed(b, ++n, &id, "a.example");
		given_again(b, ++n, &id, "b.example"); /* named once */
		if (cases[i].named)
			want[wanted++] = id;
	}
	/* given without being drawn, and one that is not on record */
	only = key_in(b, pool, KEY_READY, 0);
	given_again(b, ++n, &only, "a.example");
	only.bytes[15] ^= 1;
	handed(b, ++n, &only, "a.example");
	(void)key_in(b, pool, KEY_READY, 0);
	do {
		ok(b, store_handed_out(b->st, &cursor, page, nitems(page),
			  &got, &b->fail));
		for (size_t i = 0; i < got; i++, found++) {
			assert_true(found < wanted);
			same_id(&page[i].id, &want[found]);
			assert_int_equal(page[i].state,
			    key_look(b, &want[found]).state);
		}
	} while (got > 0);
	assert_int_equal(found, wanted);
}

/* ---- what stands in meta ----------------------------------------------------- */

static void
a_lock_has_a_reason_and_is_kept(void **ctx)
{
	struct bed *b = *ctx;
	char text[LOCK_TEXT], reason[2 * LOCK_TEXT];

	ok(b, store_handout_locked(b->st, text, &b->fail));
	assert_string_equal(text, "");
	ok(b, store_handout_lock(b->st, "it's \"older\"", &b->fail));
	commit(b);
	bed_close(b);
	bed_open(b);
	ok(b, store_handout_locked(b->st, text, &b->fail));
	assert_string_equal(text, "it's \"older\"");

	/* cut, and not within a character */
	for (size_t i = 0; i + 2 < sizeof(reason); i += 2)
		memcpy(reason + i, "\xc3\xbc", 3);
	ok(b, store_handout_lock(b->st, reason, &b->fail));
	ok(b, store_handout_locked(b->st, text, &b->fail));
	assert_int_equal(strlen(text), LOCK_TEXT - 2);
	assert_memory_equal(text, reason, LOCK_TEXT - 2);
	ok(b, store_handout_lock(b->st, "", &b->fail));
	ok(b, store_handout_locked(b->st, text, &b->fail));
	assert_string_equal(text, "");
	store_rollback(b->st);
	ok(b, store_handout_locked(b->st, text, &b->fail));
	assert_string_equal(text, "it's \"older\"");
}

static void
serials_are_only_raised(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	struct key_id id = key_in(b, pool, KEY_READY, 0);

	assert_int_equal(key_look(b, &id).serial, 1);
	commit(b);
	ok(b, store_serial_raise(b->st, 41, &b->fail));
	assert_int_equal(store_serial_last(b->st), 41);
	store_rollback(b->st);
	assert_int_equal(store_serial_last(b->st), 1);
	ok(b, store_serial_raise(b->st, 41, &b->fail));
	ok(b, store_serial_raise(b->st, 40, &b->fail));
	ok(b, store_serial_raise(b->st, 0, &b->fail));
	assert_int_equal(store_serial_last(b->st), 41);
	commit(b);
	bed_close(b);
	bed_open(b);
	assert_int_equal(store_serial_last(b->st), 41);
	id = key_in(b, pool, KEY_READY, 0);
	assert_int_equal(key_look(b, &id).serial, 42);
	assert_int_equal(store_serial_last(b->st), 42);
}

static void
pairs_that_were_looked_at_are_counted_by_repository(void **ctx)
{
	struct bed *b = *ctx;
	struct store_repository hsm, other;
	int64_t n;

	(void)pool_any(b);
	(void)pool_of(b, "default", ROLE_ZSK, "other", 13, 256);
	ok(b, store_repository_get(b->st, "hsm", &hsm, &b->fail));
	ok(b, store_repository_get(b->st, "other", &other, &b->fail));
	ok(b, store_orphans_accepted(b->st, hsm.row, &n, &b->fail));
	assert_int_equal(n, 0);
	ok(b, store_orphans_accept(b->st, hsm.row, 7, &b->fail));
	commit(b);
	ok(b, store_orphans_accepted(b->st, hsm.row, &n, &b->fail));
	assert_int_equal(n, 7);
	ok(b, store_orphans_accepted(b->st, other.row, &n, &b->fail));
	assert_int_equal(n, 0);
	assert_int_equal(store_orphans_accept(b->st, hsm.row, -1, &b->fail),
	    KSM_ESTORE);
}

/* ---- schema ------------------------------------------------------------------ */

/* What is invented of the keys is a fault, of the rest nothing may be. */
static void
hear(void *ctx, const char *text)
{
	(void)ctx;
	if (strstr(text, "public key") == NULL)
		fail_msg("%s", text);
}

/* A database as the third schema had it. */
static void
schema_3_write(const struct bed *b)
{
	sqlite3 *db = other_open(b);

	other_run(db, "PRAGMA journal_mode = WAL; BEGIN");
	for (int i = 0; i < 3; i++)
		other_run(db, store_migrations[i]);
	other_run(db, "PRAGMA application_id = 1263750480;"
		      "PRAGMA user_version = 3;"
		      "INSERT INTO repository (name) VALUES ('hsm');"
		      "INSERT INTO pool (policy, role, repository, alg, bits) "
		      "VALUES ('default', 'ZSK', 1, 13, 256);"
		      "INSERT INTO zone_count (policy, zones) VALUES "
		      "('default', 12);"
		      "INSERT INTO arrow VALUES ('intended', 'made'),"
		      "('made', 'ready')");
	for (int i = 0; i < 5; i++)
		other_run(db, "INSERT INTO key (cka_id, pool, state, since, "
			      "intended) VALUES (randomblob(16), 1, "
			      "'intended', 1, 1)");
	other_run(db, "UPDATE key SET state = 'made', serial = row, "
		      "started = 1, ended = 1 + row, proved = 1, "
		      "pub = zeroblob(64), digest = zeroblob(32), "
		      "tag_zsk = 1, tag_ksk = 2, tag_revoked = 3;"
		      "UPDATE meta SET serial = 5;"
		      "UPDATE key SET state = 'ready' WHERE row > 1;"
		      "COMMIT");
	(void)sqlite3_close(db);
}

static void
an_older_schema_keeps_what_it_has(void **ctx)
{
	struct bed *b = *ctx;
	struct candidate_want want = { .pool_row = 1 };
	struct store_pool pool;
	struct pool_spec spec = { .role = ROLE_ZSK, .alg = 13, .bits = 256 };
	struct zone_count *zones = NULL;
	struct key_id got[5];
	char text[LOCK_TEXT];
	int64_t faults;
	ksm_time when;
	struct stat st;
	size_t n;

	schema_3_write(b);
	bed_open(b);
	assert_int_equal(ask(b, "PRAGMA user_version"), store_nmigrations);
	(void)snprintf(text, sizeof(text), "%s.schema-3", b->path);
	assert_string_equal(store_migrated(b->st), text);
	assert_int_equal(stat(text, &st), 0);

	/* nothing was handed out, nothing is locked, all of it can be taken */
	assert_int_equal(head_of(b), 0);
	ok(b, store_handout_locked(b->st, text, &b->fail));
	assert_string_equal(text, "");
	assert_int_equal(candidates(b, &want, got, nitems(got)), 4);
	assert_int_equal(key_look(b, &got[0]).serial, 2);
	assert_int_equal(store_serial_last(b->st), 5);
	(void)strcpy(spec.policy, "default");
	(void)strcpy(spec.repository, "hsm");
	ok(b, store_pool_get(b->st, &spec, &pool, &b->fail));
	assert_int_equal(pool.row, 1);
	/* a zone was its own owner */
	ok(b, store_zones_get(b->st, &zones, &n, &when, &b->fail));
	assert_int_equal(n, 1);
	assert_int_equal(zones[0].zones, 12);
	assert_int_equal(zones[0].owners, 12);
	free(zones);

	handed(b, 1, &got[0], "a.example");
	commit(b);
	assert_int_equal(candidates(b, &want, got, nitems(got)), 3);
	ok(b, store_file_check(b->path, hear, NULL, &faults, &b->fail));
	bed_close(b);
	bed_open(b);
	assert_int_equal(head_of(b), 1);
	assert_null(store_migrated(b->st));
}

static void
the_view_keeps_its_columns(void **ctx)
{
	struct bed *b = *ctx;
	struct key_id id = key_in(b, pool_any(b), KEY_TAKEN, 0);
	sqlite3_stmt *q = NULL;
	char text[256] = "", hex[KEY_ID_HEX];

	handed(b, 1, &id, "a.example");
	assert_int_equal(sqlite3_prepare_v2(b->st->db, "SELECT * FROM handouts",
			     -1, &q, NULL), SQLITE_OK);
	for (int i = 0; i < sqlite3_column_count(q); i++)
		(void)snprintf(text + strlen(text),
		    sizeof(text) - strlen(text), "%s%s", i == 0 ? "" : " ",
		    sqlite3_column_name(q, i));
	assert_string_equal(text, "number time id zone policy role repository "
	    "share drawn request consumer uid pid uncovered outside time_s");
	assert_int_equal(sqlite3_step(q), SQLITE_ROW);
	assert_string_equal((const char *)sqlite3_column_text(q, 1),
	    "2030-03-17T17:46:41Z");
	key_id_format(&id, hex);
	assert_string_equal((const char *)sqlite3_column_text(q, 2), hex);
	assert_int_equal(sqlite3_column_int64(q, 15), T0 + 1);
	assert_int_equal(sqlite3_step(q), SQLITE_DONE);
	(void)sqlite3_finalize(q);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define bare(f)	  cmocka_unit_test_setup_teardown(f, bed_make, bed_teardown)
#define opened(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
		opened(numbers_have_no_gap_and_no_second),
		opened(a_key_is_drawn_once),
		opened(an_operator_with_sqlite3_cannot_change_what_was),
		opened(what_is_on_record_reads_as_it_was_written),
		opened(lists_are_filtered_and_in_order),
		opened(a_group_has_the_key_that_was_drawn_last),
		opened(a_key_that_is_marked_used_is_known),
		opened(the_zones_of_a_key_are_known),
		opened(no_two_keys_of_a_zone_have_one_tag),
		opened(a_tag_clashes_where_both_are_published),
		opened(the_oldest_that_may_be_taken_is_first),
		opened(only_what_is_in_a_backup_is_covered),
		opened(a_drawn_key_that_looks_free_is_named),
		opened(a_lock_has_a_reason_and_is_kept),
		opened(serials_are_only_raised),
		opened(pairs_that_were_looked_at_are_counted_by_repository),
		bare(an_older_schema_keeps_what_it_has),
		opened(the_view_keeps_its_columns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
