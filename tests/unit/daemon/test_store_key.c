#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "test_store.h"

#include "ksmpool/alg.h"

/* ---- a key comes to be ----------------------------------------------- */

static void
an_id_is_the_tag_and_random_bytes(void **ctx)
{
	struct bed *b = *ctx;
	struct key_id ids[64];
	uint8_t tag[KEY_TAG_LEN];
	struct store_key k;

	store_tag_get(b->st, tag);
	ok(b, store_keys_intend(b->st, pool_any(b), nitems(ids), T0, ids,
		  &b->fail));
	for (size_t i = 0; i < nitems(ids); i++) {
		assert_memory_equal(ids[i].bytes, tag, sizeof(tag));
		for (size_t m = 0; m < i; m++)
			assert_int_not_equal(key_id_cmp(&ids[i], &ids[m]), 0);
		k = key_look(b, &ids[i]);
		assert_int_equal(k.state, KEY_INTENDED);
		assert_int_equal(k.intended, T0);
		assert_int_equal(k.since, T0);
		assert_int_equal(k.serial, 0);
		assert_int_equal(k.started, 0);
		assert_int_equal(k.ended, 0);
		assert_int_equal(k.publen, 0);
		assert_int_equal(k.tag_zsk, -1);
		assert_int_equal(k.was, KEY__STATES);
	}
}

static int dice_left;

/* The same number until dice_left is used up. */
static enum ksm_err
dice_loaded(void *buf, size_t len, struct ksm_fail *fail)
{
	(void)fail;
	memset(buf, dice_left > 0 ? 0x11 : 0x22, len);
	dice_left--;
	return KSM_OK;
}

static enum ksm_err
dice_broken(void *buf, size_t len, struct ksm_fail *fail)
{
	if (--dice_left > 0) {
		memset(buf, dice_left, len);
		return KSM_OK;
	}
	return ksm_failf(fail, KSM_ESYS, "getrandom: broken");
}

static void
an_id_that_is_taken_is_thrown_again(void **ctx)
{
	struct bed *b = *ctx;
	struct key_id ids[2];

	b->st->dice = dice_loaded;
	dice_left = 3; /* one for the first id, two collisions */
	ok(b, store_keys_intend(b->st, pool_any(b), 2, T0, ids, &b->fail));
	assert_int_equal(ids[0].bytes[15], 0x11);
	assert_int_equal(ids[1].bytes[15], 0x22);
	assert_int_equal(ask(b, "SELECT count(*) FROM key"), 2);
}

static void
dice_that_repeat_for_ever_are_a_fault(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	struct key_id ids[2];

	ok(b, store_commit(b->st, &b->fail));
	b->st->dice = dice_loaded;
	dice_left = 1000;
	assert_int_equal(store_keys_intend(b->st, pool, 2, T0, ids, &b->fail),
	    KSM_ESTORE);
	assert_true(store_batch_lost(b->st));
	assert_int_equal(ask(b, "SELECT count(*) FROM key"), 0);
}

static void
without_randomness_no_id_of_the_batch_is_kept(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	struct key_id ids[5];

	ok(b, store_commit(b->st, &b->fail));
	b->st->dice = dice_broken;
	dice_left = 4;
	assert_int_equal(store_keys_intend(b->st, pool, 5, T0, ids, &b->fail),
	    KSM_ESYS);
	assert_says(b, "getrandom: broken");
	assert_false(store_batch_open(b->st));
	assert_true(store_batch_lost(b->st));
	assert_int_equal(ask(b, "SELECT count(*) FROM key"), 0);
}

static void
a_made_key_is_recorded_to_the_byte(void **ctx)
{
	/* year 2200, a policy of 255 octets with everything in its name */
	const ksm_time then = 7258118400;
	struct bed *b = *ctx;
	char policy[256] = "it's \"50 %\"; DROP TABLE key; -- \\ \xc3\xa4"
			   "\xe2\x82\xac\xf0\x9f\x94\x91 ";
	uint8_t pub[DNSKEY_PUB_MAX], digest[32];
	struct store_made made = answer(then);
	struct key_id id;
	struct store_key k;

	memset(policy + strlen(policy), 'x', 255 - strlen(policy));
	for (size_t i = 0; i < sizeof(pub); i++)
		pub[i] = (uint8_t)(i * 7);
	for (size_t i = 0; i < sizeof(digest); i++)
		digest[i] = (uint8_t)(255 - i);
	made.pub = pub;
	made.publen = sizeof(pub);
	made.digest = digest;
	made.single = true;
	ok(b, store_keys_intend(b->st,
		  pool_of(b, policy, ROLE_CSK, "hsm's \xc3\xa4", 8, 4096), 1,
		  then - 9, &id, &b->fail));
	ok(b, store_key_made(b->st, &id, &made, then + 1, &b->fail));
	ok(b, store_commit(b->st, &b->fail));
	bed_close(b);
	bed_open(b);

	k = key_look(b, &id);
	assert_int_equal(key_id_cmp(&k.id, &id), 0);
	assert_int_equal(k.serial, 1);
	assert_string_equal(k.pool.policy, policy);
	assert_int_equal(strlen(k.pool.policy), 255);
	assert_int_equal(k.pool.role, ROLE_CSK);
	assert_string_equal(k.pool.repository, "hsm's \xc3\xa4");
	assert_int_equal(k.pool.alg, 8);
	assert_int_equal(k.pool.bits, 4096);
	assert_int_equal(k.state, KEY_MADE);
	assert_int_equal(k.was, KEY__STATES);
	assert_true(k.proved);
	assert_false(k.adopted);
	assert_string_equal(k.why, "");
	assert_int_equal(k.since, then + 1);
	assert_int_equal(k.intended, then - 9);
	assert_int_equal(k.started, then - 2);
	assert_int_equal(k.ended, then);
	assert_int_equal(k.publen, sizeof(pub));
	assert_memory_equal(k.pub, pub, sizeof(pub));
	assert_memory_equal(k.digest, digest, sizeof(digest));
	assert_int_equal(k.tag_zsk, 100);
	assert_int_equal(k.tag_ksk, 101);
	assert_int_equal(k.tag_revoked, 65535);
	assert_int_equal(ask(b, "SELECT took_ms FROM key"), 1500);
	assert_int_equal(ask(b, "SELECT single FROM key"), 1);
}

static void
a_key_without_readable_public_half_is_recorded_without(void **ctx)
{
	struct bed *b = *ctx;
	struct key_id id = key_intended(b, pool_any(b));
	struct store_made made = { .ended = T0, .adopted = true,
		.tag_zsk = -1, .tag_ksk = -1, .tag_revoked = -1 };
	struct store_key k;

	ok(b, store_key_made(b->st, &id, &made, T0, &b->fail));
	k = key_look(b, &id);
	assert_int_equal(k.publen, 0);
	assert_int_equal(k.tag_zsk, -1);
	assert_int_equal(k.tag_revoked, -1);
	assert_int_equal(k.started, 0);
	assert_int_equal(k.ended, T0);
	assert_false(k.proved);
	assert_true(k.adopted);
	assert_string_equal(k.why, "found by settling");
}

static void
a_start_after_the_end_is_recorded_as_the_end(void **ctx)
{
	struct bed *b = *ctx;
	struct key_id id = key_intended(b, pool_any(b));
	struct store_made made = answer(T0);

	made.started = T0 + 3600; /* and then the clock was set back */
	ok(b, store_key_made(b->st, &id, &made, T0, &b->fail));
	assert_int_equal(key_look(b, &id).started, T0);
	assert_int_equal(key_look(b, &id).ended, T0);
}

static void
an_answer_that_cannot_be_is_refused(void **ctx)
{
	struct bed *b = *ctx;
	struct key_id id = key_intended(b, pool_any(b));
	struct store_made good = answer(T0), bad;

	bad = good;
	bad.ended = 0;
	assert_int_equal(store_key_made(b->st, &id, &bad, T0, &b->fail),
	    KSM_EREFUSED);
	assert_says(b, "no creation date");
	bad = good;
	bad.publen = DNSKEY_PUB_MAX + 1;
	assert_int_equal(store_key_made(b->st, &id, &bad, T0, &b->fail),
	    KSM_EREFUSED);
	assert_says(b, "has 601 bytes");
	bad = good;
	bad.digest = NULL;
	assert_int_equal(store_key_made(b->st, &id, &bad, T0, &b->fail),
	    KSM_EREFUSED);
	bad = good;
	bad.tag_ksk = -1;
	assert_int_equal(store_key_made(b->st, &id, &bad, T0, &b->fail),
	    KSM_EREFUSED);
	bad = good;
	bad.pub = NULL;
	assert_int_equal(store_key_made(b->st, &id, &bad, T0, &b->fail),
	    KSM_EREFUSED);
	assert_says(b, "cannot be proved");
	assert_int_equal(key_look(b, &id).state, KEY_INTENDED);
	ok(b, store_key_made(b->st, &id, &good, T0, &b->fail));
}

static void
an_answer_is_recorded_once(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	struct key_id id = key_in(b, pool, KEY_MADE, 0);
	struct key_id gone = key_in(b, pool, KEY_GONE, 0);
	struct key_id nobody = { { 0 } };
	struct store_made made = answer(T0 + 99);

	assert_int_equal(store_key_made(b->st, &id, &made, T0, &b->fail),
	    KSM_ENOENT);
	assert_int_equal(store_key_made(b->st, &gone, &made, T0, &b->fail),
	    KSM_ENOENT);
	assert_int_equal(store_key_made(b->st, &nobody, &made, T0, &b->fail),
	    KSM_ENOENT);
	assert_int_equal(key_look(b, &id).ended, T0 + 5);
	assert_int_equal(store_serial_last(b->st), 1);
}

static void
an_unknown_key_is_adopted_with_its_answer(void **ctx)
{
	struct bed *b = *ctx;
	struct key_id id = key_in(b, pool_any(b), KEY_UNKNOWN, 0);
	struct store_made made = answer(T0 + 99);

	made.adopted = true;
	ok(b, store_key_made(b->st, &id, &made, T0 + 99, &b->fail));
	assert_true(key_look(b, &id).adopted);
	assert_int_equal(key_look(b, &id).state, KEY_MADE);
}

static void
the_same_public_key_is_found_in_whatever_state(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	struct key_id id = key_in(b, pool, KEY_DESTROYED, 0);
	struct key_id other = key_intended(b, pool), found;
	struct store_made made = answer(T0 + 99);

	assert_int_equal(
	    store_digest_find(b->st, made.digest, &id, &found, &b->fail),
	    KSM_ENOENT);
	ok(b, store_digest_find(b->st, made.digest, &other, &found, &b->fail));
	assert_int_equal(key_id_cmp(&found, &id), 0);
	ok(b, store_key_made(b->st, &other, &made, T0 + 99, &b->fail));
	ok(b, store_digest_find(b->st, made.digest, &id, &found, &b->fail));
	assert_int_equal(key_id_cmp(&found, &other), 0);
	assert_int_equal(
	    store_digest_find(b->st, (const uint8_t[32]){ 1 }, &id, &found,
		&b->fail),
	    KSM_ENOENT);
	assert_int_equal(
	    ask(b, "SELECT count(*) FROM pragma_index_list('key') "
		   "WHERE name = 'key_by_digest'"),
	    1);
}

static void
serials_grow_and_are_never_used_twice(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b), last;
	struct key_id id, refused;

	assert_int_equal(store_serial_last(b->st), 0);
	for (int64_t i = 1; i <= 3; i++) {
		id = key_in(b, pool, KEY_MADE, 0);
		assert_int_equal(key_look(b, &id).serial, i);
		assert_int_equal(store_serial_last(b->st), i);
	}
	refused = key_intended(b, pool);
	ok(b, store_key_refused(b->st, &refused, &b->fail));
	ok(b, store_commit(b->st, &b->fail));
	bed_close(b);
	bed_open(b);
	assert_int_equal(store_serial_last(b->st), 3);
	id = key_in(b, pool, KEY_MADE, 0);
	assert_int_equal(key_look(b, &id).serial, 4);
	last = ask(b, "SELECT serial FROM meta");
	assert_int_equal(last, 4);
}

static void
only_a_key_that_never_came_to_be_can_be_dropped(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);

	for (int s = 0; s < KEY__STATES; s++) {
		struct key_id id = key_in(b, pool, (enum key_state)s,
		    KEY_READY);
		bool may = s == KEY_INTENDED || s == KEY_UNKNOWN;

		assert_int_equal(store_key_refused(b->st, &id, &b->fail),
		    may ? KSM_OK : KSM_ENOENT);
		if (may)
			assert_int_equal(store_key_get(b->st, &id,
					     &(struct store_key){ 0 },
					     &b->fail),
			    KSM_ENOENT);
		else
			assert_int_equal(key_look(b, &id).state, s);
	}
	assert_false(store_batch_lost(b->st));
}

static void
a_row_number_is_not_used_again(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b), cursor = 0;
	struct store_brief brief[4];
	struct key_id id = key_intended(b, pool), next;
	size_t n;

	ok(b, store_keys_brief(b->st, "hsm", &cursor, brief, 4, &n, &b->fail));
	assert_int_equal(n, 1);
	ok(b, store_key_refused(b->st, &id, &b->fail));
	next = key_intended(b, pool);
	/* the listing that is under way must not miss the new key */
	ok(b, store_keys_brief(b->st, "hsm", &cursor, brief, 4, &n, &b->fail));
	assert_int_equal(n, 1);
	assert_int_equal(key_id_cmp(&brief[0].id, &next), 0);
}

/* ---- a key moves ----------------------------------------------------- */

static const enum key_state was_ones[] = { KEY_MADE, KEY_READY, KEY_SURPLUS,
	KEY_QUARANTINED, KEY_TAKEN, KEY_RETIRED };

static void
move_is(struct bed *b, int64_t pool, enum key_state from, enum key_state was,
    enum key_state to)
{
	struct key_id id = key_in(b, pool, from, was);
	struct store_key k;
	enum ksm_err err, want = KSM_OK;

	if (!key_state_may(from, to) ||
	    (to == KEY_MADE && from != KEY_MISSING) ||
	    (from == KEY_MISSING && to != was))
		want = KSM_EREFUSED;
	err = store_key_move(b->st, &id, from, to, "because", T0 + 77,
	    &b->fail);
	if (err != want)
		fail_msg("%s (was %s) -> %s: %d, not %d: %s",
		    key_state_text(from), key_state_text(was),
		    key_state_text(to), (int)err, (int)want, b->fail.text);
	if (want != KSM_OK)
		assert_says(b, key_state_text(to));
	k = key_look(b, &id);
	if (want != KSM_OK) {
		assert_int_equal(k.state, from);
		return;
	}
	assert_int_equal(k.state, to);
	assert_int_equal(k.since, T0 + 77);
	assert_string_equal(k.why, "because");
	assert_int_equal(k.was, to == KEY_MISSING ? from : KEY__STATES);
}

static void
a_key_moves_along_its_arrows_and_nowhere_else(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);

	for (int from = 0; from < KEY__STATES; from++) {
		for (int to = 0; to < KEY__STATES; to++) {
			if (from != KEY_MISSING)
				move_is(b, pool, (enum key_state)from,
				    KEY__STATES, (enum key_state)to);
			for (size_t i = 0;
			     from == KEY_MISSING && i < nitems(was_ones); i++)
				move_is(b, pool, KEY_MISSING, was_ones[i],
				    (enum key_state)to);
		}
	}
	assert_false(store_batch_lost(b->st));
}

static void
whoever_comes_second_is_told(void **ctx)
{
	struct bed *b = *ctx;
	struct key_id id = key_in(b, pool_any(b), KEY_READY, 0);
	struct key_id nobody = { { 0 } };

	key_moved(b, &id, KEY_READY, KEY_TAKING);
	assert_int_equal(store_key_move(b->st, &id, KEY_READY, KEY_TAKING, "",
			     T0, &b->fail),
	    KSM_ENOENT);
	assert_says(b, "key is not ready");
	assert_int_equal(store_key_move(b->st, &id, KEY_MISSING, KEY_READY, "",
			     T0, &b->fail),
	    KSM_ENOENT);
	assert_int_equal(store_key_move(b->st, &nobody, KEY_READY, KEY_TAKING,
			     "", T0, &b->fail),
	    KSM_ENOENT);
	assert_int_equal(store_key_move(b->st, &nobody, KEY_MISSING, KEY_READY,
			     "", T0, &b->fail),
	    KSM_ENOENT);
	assert_false(store_batch_lost(b->st));
}

static void
a_long_reason_is_cut_between_two_characters(void **ctx)
{
	struct bed *b = *ctx;
	struct key_id id = key_in(b, pool_any(b), KEY_MADE, 0);
	char why[400], is[256];

	/* the 255th byte is the middle of a euro sign */
	memset(why, 'x', sizeof(why));
	memcpy(why + 253, "\xe2\x82\xac", 3);
	why[sizeof(why) - 1] = '\0';
	ok(b, store_key_move(b->st, &id, KEY_MADE, KEY_QUARANTINED, why, T0,
		  &b->fail));
	(void)strcpy(is, key_look(b, &id).why);
	assert_int_equal(strlen(is), 253);
	assert_memory_equal(is, why, 253);
}

static void
nothing_is_ready_or_taken_unproved(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b), n;
	struct key_id id = key_intended(b, pool);
	struct store_made made = answer(T0);

	made.proved = false;
	ok(b, store_key_made(b->st, &id, &made, T0, &b->fail));
	ok(b, store_commit(b->st, &b->fail));
	assert_int_equal(store_key_move(b->st, &id, KEY_MADE, KEY_READY, "",
			     T0, &b->fail),
	    KSM_ESTORE);
	assert_says(b, "before it is proved");
	assert_true(store_batch_lost(b->st));

	ok(b, store_key_proved(b->st, &id, &b->fail));
	key_moved(b, &id, KEY_MADE, KEY_READY);
	ok(b, store_commit(b->st, &b->fail));

	ok(b, store_keys_doubt(b->st, &n, &b->fail));
	assert_int_equal(n, 1);
	ok(b, store_commit(b->st, &b->fail));
	assert_int_equal(store_key_move(b->st, &id, KEY_READY, KEY_TAKING, "",
			     T0, &b->fail),
	    KSM_ESTORE);
	assert_true(store_batch_lost(b->st));
	/* missing and back it may go, that proves nothing */
	key_moved(b, &id, KEY_READY, KEY_MISSING);
	key_moved(b, &id, KEY_MISSING, KEY_READY);
	ok(b, store_key_proved(b->st, &id, &b->fail));
	key_moved(b, &id, KEY_READY, KEY_TAKING);
}

static void
a_key_that_never_was_cannot_be_proved(void **ctx)
{
	struct bed *b = *ctx;
	struct key_id id = key_intended(b, pool_any(b));

	assert_int_equal(store_key_proved(b->st, &id, &b->fail), KSM_ENOENT);
}

static void
at_start_every_intended_key_is_unknown(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b), n = -1;
	struct key_id ids[3], ready = key_in(b, pool, KEY_READY, 0);

	ok(b, store_keys_intend(b->st, pool, 3, T0, ids, &b->fail));
	ok(b, store_commit(b->st, &b->fail));
	bed_close(b);
	bed_open(b);
	ok(b, store_keys_orphan(b->st, T0 + 50, &n, &b->fail));
	assert_int_equal(n, 3);
	for (size_t i = 0; i < nitems(ids); i++) {
		assert_int_equal(key_look(b, &ids[i]).state, KEY_UNKNOWN);
		assert_int_equal(key_look(b, &ids[i]).since, T0 + 50);
	}
	assert_int_equal(key_look(b, &ready).state, KEY_READY);
	ok(b, store_commit(b->st, &b->fail));
	ok(b, store_keys_orphan(b->st, T0 + 60, &n, &b->fail));
	assert_int_equal(n, 0);
	assert_false(store_batch_open(b->st)); /* nothing to write */
}

/* ---- a hand with sqlite3 --------------------------------------------- */

static void
the_database_itself_holds_the_invariants(void **ctx)
{
	static const struct {
		const char *sql, *says;
	} cases[] = {
		{ "UPDATE key SET state = 'ready' WHERE state = 'taken'",
		    "never comes back" },
		{ "UPDATE key SET state = 'ready' WHERE state = 'retired'",
		    "never comes back" },
		{ "UPDATE key SET state = 'surplus' WHERE state = 'consumed'",
		    "never comes back" },
		{ "UPDATE key SET state = 'ready', was = NULL "
		  "WHERE state = 'missing' AND was = 'taken'",
		    "never comes back" },
		{ "UPDATE key SET was = 'ready' WHERE was = 'taken';"
		  "UPDATE key SET state = 'ready', was = NULL "
		  "WHERE state = 'missing'",
		    "cannot change" },
		{ "UPDATE key SET state = 'destroyed' WHERE state = 'ready'",
		    "no such arrow" },
		{ "UPDATE key SET state = 'surplus', was = NULL "
		  "WHERE state = 'missing' AND was = 'ready'",
		    "as what it was" },
		{ "UPDATE key SET state = 'missing', was = 'surplus' "
		  "WHERE state = 'ready'",
		    "remembers" },
		{ "UPDATE key SET state = 'fine' WHERE state = 'ready'",
		    "no such arrow" },
		{ "UPDATE key SET was = 'ready' WHERE state = 'ready'",
		    "cannot change" },
		{ "DELETE FROM key WHERE state = 'ready'", "cannot be deleted" },
		{ "DELETE FROM key WHERE state = 'gone'", "cannot be deleted" },
		{ "DELETE FROM pool", "FOREIGN KEY" },
		{ "DELETE FROM repository", "FOREIGN KEY" },
		{ "DELETE FROM meta", "cannot be deleted" },
		{ "UPDATE meta SET tag = x'00000000'", "cannot change" },
		{ "UPDATE meta SET serial = serial - 1", "only grow" },
		{ "UPDATE key SET cka_id = randomblob(16)", "cannot change" },
		{ "UPDATE key SET pool = pool + 1", "cannot change" },
		{ "UPDATE key SET intended = 1", "cannot change" },
		{ "UPDATE key SET ended = 2000000000 WHERE serial = 1",
		    "cannot change" },
		{ "UPDATE key SET started = NULL WHERE serial = 1",
		    "cannot change" },
		{ "UPDATE key SET serial = 4711 WHERE serial = 1",
		    "cannot change" },
		{ "UPDATE key SET serial = NULL WHERE serial = 1",
		    "cannot change" },
		{ "UPDATE key SET pub = x'00' WHERE serial = 1",
		    "cannot change" },
		{ "UPDATE key SET tag_zsk = 1 WHERE serial = 1",
		    "cannot change" },
		{ "UPDATE key SET state = 'made', ended = 5, serial = 1 "
		  "WHERE state = 'intended'",
		    "only grow" },
		{ "UPDATE key SET state = 'made', ended = 5 "
		  "WHERE state = 'intended'",
		    "CHECK" },
		{ "UPDATE key SET state = 'made', started = 6, ended = 5, "
		  "serial = 4711 WHERE state = 'intended'",
		    "CHECK" },
		{ "INSERT INTO key (cka_id, pool, state, since, intended) "
		  "VALUES (randomblob(16), 1, 'ready', 1, 1)",
		    "begins as intended" },
		{ "INSERT INTO key (cka_id, pool, state, since, intended) "
		  "VALUES (randomblob(15), 1, 'intended', 1, 1)",
		    "CHECK" },
		{ "INSERT INTO key (cka_id, pool, state, since, intended) "
		  "VALUES ('sixteen letters!', 1, 'intended', 1, 1)",
		    "TEXT value" },
		{ "INSERT INTO key (cka_id, pool, state, since, intended) "
		  "SELECT cka_id, 1, 'intended', 1, 1 FROM key LIMIT 1",
		    "UNIQUE" },
		{ "INSERT INTO key (cka_id, pool, state, since, intended) "
		  "VALUES (randomblob(16), 4711, 'intended', 1, 1)",
		    "FOREIGN KEY" },
		{ "UPDATE pool SET policy = 'other'", "cannot change" },
		{ "INSERT INTO pool (policy, role, repository, alg, bits) "
		  "SELECT policy, role, repository, alg, bits FROM pool",
		    "UNIQUE" },
		{ "INSERT INTO pool (policy, role, repository, alg, bits) "
		  "VALUES ('p', 'XSK', 1, 8, 2048)",
		    "CHECK" },
	};
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	sqlite3 *db;

	/* READY is serial 1 */
	(void)key_in(b, pool, KEY_READY, 0);
	for (int s = 0; s < KEY__STATES; s++)
		if (s != KEY_MISSING)
			(void)key_in(b, pool, (enum key_state)s, 0);
	(void)key_in(b, pool, KEY_MISSING, KEY_READY);
	(void)key_in(b, pool, KEY_MISSING, KEY_TAKEN);
	ok(b, store_commit(b->st, &b->fail));

	db = other_open(b);
	other_run(db, "PRAGMA foreign_keys = ON");
	/* even where somebody draws an arrow that must not be */
	other_run(db, "INSERT INTO arrow VALUES ('taken', 'ready'), "
		      "('retired', 'ready'), ('consumed', 'surplus')");
	for (size_t i = 0; i < nitems(cases); i++) {
		other_run(db, "BEGIN");
		other_is_refused(db, cases[i].sql, cases[i].says);
		(void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	}
	(void)sqlite3_close(db);
}

/* ---- looking --------------------------------------------------------- */

static void
an_unknown_id_is_an_answer(void **ctx)
{
	struct bed *b = *ctx;
	struct key_id nobody = { { 0 } };
	struct store_key k;

	assert_int_equal(store_key_get(b->st, &nobody, &k, &b->fail),
	    KSM_ENOENT);
}

static void
short_facts_come_per_repository_and_in_pages(void **ctx)
{
	struct bed *b = *ctx;
	int64_t here = pool_any(b), cursor = 0;
	int64_t there = pool_of(b, "default", ROLE_KSK, "other", 8, 2048);
	struct store_brief page[4];
	struct key_id mine[10];
	struct store_made made = answer(T0);
	size_t n, total = 0;

	for (size_t i = 0; i < nitems(mine); i++) {
		mine[i] = key_intended(b, here);
		(void)key_intended(b, there);
	}
	made.single = true;
	made.proved = false;
	ok(b, store_key_made(b->st, &mine[3], &made, T0, &b->fail));
	key_moved(b, &mine[3], KEY_MADE, KEY_QUARANTINED);
	key_moved(b, &mine[3], KEY_QUARANTINED, KEY_MISSING);

	for (;;) {
		ok(b, store_keys_brief(b->st, "hsm", &cursor, page,
			  nitems(page), &n, &b->fail));
		if (n == 0)
			break;
		for (size_t i = 0; i < n; i++, total++) {
			assert_int_equal(key_id_cmp(&page[i].id, &mine[total]),
			    0);
			assert_int_equal(page[i].alg, 13);
			assert_int_equal(page[i].single, total == 3);
			assert_false(page[i].proved);
			assert_int_equal(page[i].state,
			    total == 3 ? KEY_MISSING : KEY_INTENDED);
			assert_int_equal(page[i].was,
			    total == 3 ? KEY_QUARANTINED : KEY__STATES);
			assert_int_equal(page[i].serial, total == 3 ? 1 : 0);
		}
	}
	assert_int_equal(total, nitems(mine));

	cursor = 0;
	ok(b, store_keys_brief(b->st, "nobody's", &cursor, page, nitems(page),
		  &n, &b->fail));
	assert_int_equal(n, 0);
}

/* Ids that a filter lets through, counted over pages of two. */
static size_t
listed(struct bed *b, const struct key_filter *f, struct store_key *last)
{
	struct store_key page[2];
	int64_t cursor = 0, before;
	size_t n, total = 0;

	for (;;) {
		before = cursor;
		ok(b, store_keys_list(b->st, f, &cursor, page, nitems(page),
			  &n, &b->fail));
		if (n == 0)
			return total;
		assert_true(cursor > before);
		if (last != NULL)
			*last = page[n - 1];
		total += n;
	}
}

static void
a_listing_can_be_narrowed(void **ctx)
{
	struct bed *b = *ctx;
	int64_t a = pool_of(b, "a", ROLE_ZSK, "hsm", 13, 256);
	int64_t c = pool_of(b, "c", ROLE_KSK, "other", 8, 2048);
	struct store_key k;

	for (int i = 0; i < 5; i++)
		(void)key_in(b, a, KEY_READY, 0);
	(void)key_in(b, a, KEY_QUARANTINED, 0);
	(void)key_in(b, c, KEY_READY, 0);

	assert_int_equal(listed(b, &(struct key_filter){ 0 }, NULL), 7);
	assert_int_equal(listed(b, &(struct key_filter){ .policy = "a" },
			     NULL), 6);
	assert_int_equal(listed(b, &(struct key_filter){ .policy = "b" },
			     NULL), 0);
	assert_int_equal(listed(b, &(struct key_filter){
					 .repository = "other" }, &k), 1);
	assert_string_equal(k.pool.policy, "c");
	assert_int_equal(listed(b, &(struct key_filter){ .by_role = true,
				       .role = ROLE_KSK }, &k), 1);
	assert_int_equal(k.pool.role, ROLE_KSK);
	assert_int_equal(listed(b, &(struct key_filter){ .by_state = true,
				       .state = KEY_READY }, NULL), 6);
	assert_int_equal(listed(b, &(struct key_filter){ .by_state = true,
				       .state = KEY_READY, .policy = "a" },
			     &k), 5);
	assert_int_equal(k.state, KEY_READY);
	assert_int_equal(listed(b, &(struct key_filter){ .by_state = true,
				       .state = KEY_TAKEN }, NULL), 0);
}

static void
created_after_means_living_keys_no_backup_can_have(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	struct key_filter f = { .by_created = true, .created_after = T0 };
	static const ksm_time ended[] = { T0 - 1, T0, T0 + 1 };
	struct key_id id;

	for (size_t i = 0; i < nitems(ended); i++) {
		struct store_made made = answer(ended[i]);

		id = key_intended(b, pool);
		ok(b, store_key_made(b->st, &id, &made, T0, &b->fail));
	}
	/* not less than T0: the second of the backup itself is in no backup */
	assert_int_equal(listed(b, &f, NULL), 2);

	/* what is not in the token needs no backup */
	for (int s = 0; s < KEY__STATES; s++) {
		size_t before = listed(b, &f, NULL);

		(void)key_in(b, pool, (enum key_state)s, KEY_READY);
		assert_int_equal(listed(b, &f, NULL),
		    before + (key_state_living((enum key_state)s) ? 1 : 0));
	}
}

/* ---- the view -------------------------------------------------------- */

static void
operators_see_keys_through_the_view(void **ctx)
{
	static const char *const columns[] = { "id", "label", "repository",
		"policy", "role", "algorithm", "size", "created", "state",
		"serial", "created_s", "backup", "backed_up" };
	struct bed *b = *ctx;
	char hex[KEY_ID_HEX];
	struct key_id id;
	struct store_made made = answer(7258118400); /* 2200-01-01 */
	sqlite3 *db;
	sqlite3_stmt *q;

	id = key_intended(b, pool_of(b, "lab's", ROLE_KSK, "hsm", 13, 256));
	key_id_format(&id, hex);
	ok(b, store_key_made(b->st, &id, &made, T0, &b->fail));
	(void)key_intended(b, pool_any(b));
	ok(b, store_commit(b->st, &b->fail));

	db = other_open(b);
	assert_int_equal(sqlite3_prepare_v2(db, "SELECT * FROM keys "
			     "ORDER BY created_s DESC", -1, &q, NULL),
	    SQLITE_OK);
	assert_int_equal(sqlite3_column_count(q), nitems(columns));
	for (size_t i = 0; i < nitems(columns); i++)
		assert_string_equal(sqlite3_column_name(q, (int)i),
		    columns[i]);
	assert_int_equal(sqlite3_step(q), SQLITE_ROW);
#define text(col) ((const char *)sqlite3_column_text(q, col))
	assert_string_equal(text(0), hex);
	assert_string_equal(text(1), hex);
	assert_string_equal(text(2), "hsm");
	assert_string_equal(text(3), "lab's");
	assert_string_equal(text(4), "KSK");
	assert_string_equal(text(5), "ECDSAP256SHA256");
	assert_string_equal(text(6), "256");
	assert_string_equal(text(7), "2200-01-01T00:00:00Z");
	assert_string_equal(text(8), "made");
	assert_string_equal(text(9), "1");
	assert_string_equal(text(10), "7258118400");
	assert_int_equal(sqlite3_step(q), SQLITE_ROW);
	assert_null(text(7)); /* intended: it is not created yet */
	assert_string_equal(text(8), "intended");
	assert_int_equal(sqlite3_step(q), SQLITE_DONE);
#undef text
	(void)sqlite3_finalize(q);
	(void)sqlite3_close(db);
}

static void
the_view_names_algorithms_as_we_do(void **ctx)
{
	struct bed *b = *ctx;
	char sql[160];

	for (int number = 1; number <= 255; number++) {
		const struct alg *alg = alg_find(number);

		if (alg == NULL)
			continue;
		(void)key_intended(b, pool_of(b, "p", ROLE_ZSK, "hsm", number,
					  alg->bits_max));
		(void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM keys "
		    "WHERE algorithm = '%s' AND size = %d", alg->name,
		    alg->bits_max);
		assert_int_equal(ask(b, sql), 1);
	}
}

/* ---- more of listing ------------------------------------------------- */

static void
a_list_knows_age_algorithm_and_tag(void **ctx)
{
	static const struct {
		struct key_filter f;
		size_t n;
	} cases[] = {
		{ { .alg = 13 }, 22 },
		{ { .alg = 8 }, 5 },
		{ { .alg = 15 }, 0 },
		{ { .by_tag = true, .tag = 1007 }, 1 },
		{ { .by_tag = true, .tag = 2007 }, 1 },
		{ { .by_tag = true, .tag = 3007 }, 1 },
		{ { .by_tag = true, .tag = 0 }, 1 },
		{ { .by_tag = true, .tag = 9 }, 0 },
		{ { .created_before = T0 + 10 }, 10 },
		{ { .created_before = T0 }, 0 },
		{ { .by_created = true, .created_after = T0 + 5,
		      .created_before = T0 + 10 }, 5 },
		{ { .by_state = true, .state = KEY_MADE,
		      .created_before = T0 + 10, .alg = 8 }, 0 },
		{ { .by_state = true, .state = KEY_MADE, .alg = 8 }, 5 },
	};
	static struct store_key page[4];
	struct bed *b = *ctx;
	int64_t ec = pool_any(b);
	int64_t rsa = pool_of(b, "default", ROLE_KSK, "hsm", 8, 2048);
	struct key_id id;

	for (int i = 0; i < 25; i++) {
		struct store_made made = answer(T0 + i);

		made.tag_zsk = i == 24 ? 0 : 1000 + i;
		made.tag_ksk = 2000 + i;
		made.tag_revoked = 3000 + i;
		id = key_intended(b, i < 20 ? ec : rsa);
		ok(b, store_key_made(b->st, &id, &made, T0 + i, &b->fail));
	}
	(void)key_intended(b, ec);
	(void)key_in(b, ec, KEY_GONE, 0);
	for (size_t i = 0; i < nitems(cases); i++) {
		int64_t cursor = 0, last = 0;
		size_t n, total = 0;

		do {
			ok(b, store_keys_list(b->st, &cases[i].f, &cursor,
				  page, nitems(page), &n, &b->fail));
			assert_true(n == 0 || cursor > last);
			last = cursor;
			total += n;
		} while (n > 0);
		assert_int_equal(total, cases[i].n);
	}
}

/* ---- adoption -------------------------------------------------------- */

static void
a_pair_that_is_there_already_gets_a_row_to_settle(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	struct key_id id = { { 0xde, 0xad } };
	struct store_made made = answer(T0 + 5);
	struct store_key k;

	ok(b, store_key_adopt(b->st, pool, &id, "adopted: from the old tool",
		  T0, &b->fail));
	ok(b, store_commit(b->st, &b->fail));
	k = key_look(b, &id);
	assert_int_equal(k.state, KEY_UNKNOWN);
	assert_string_equal(k.why, "adopted: from the old tool");
	assert_int_equal(k.serial, 0);
	assert_string_equal(k.pool.policy, "default");
	made.adopted = true;
	ok(b, store_key_made(b->st, &id, &made, T0 + 5, &b->fail));
	assert_true(key_look(b, &id).adopted);
}

static void
what_is_on_record_cannot_be_adopted(void **ctx)
{
	struct bed *b = *ctx;
	int64_t pool = pool_any(b);
	struct key_id id = key_in(b, pool, KEY_TAKEN, 0);
	struct key_id other = { { 1 } };

	ok(b, store_commit(b->st, &b->fail));
	assert_int_equal(store_key_adopt(b->st, pool, &id, "", T0, &b->fail),
	    KSM_EREFUSED);
	assert_says(b, "on record already: it is taken, policy default");
	assert_false(store_batch_open(b->st));
	assert_int_equal(key_look(b, &id).state, KEY_TAKEN);
	/* no such pool */
	assert_int_equal(store_key_adopt(b->st, 4711, &other, "", T0,
			     &b->fail), KSM_ESTORE);
	assert_true(store_batch_lost(b->st));
}

int
main(void)
{
#define opened(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {
		opened(an_id_is_the_tag_and_random_bytes),
		opened(the_same_public_key_is_found_in_whatever_state),
		opened(an_id_that_is_taken_is_thrown_again),
		opened(dice_that_repeat_for_ever_are_a_fault),
		opened(without_randomness_no_id_of_the_batch_is_kept),
		opened(a_made_key_is_recorded_to_the_byte),
		opened(a_key_without_readable_public_half_is_recorded_without),
		opened(a_start_after_the_end_is_recorded_as_the_end),
		opened(an_answer_that_cannot_be_is_refused),
		opened(an_answer_is_recorded_once),
		opened(an_unknown_key_is_adopted_with_its_answer),
		opened(serials_grow_and_are_never_used_twice),
		opened(only_a_key_that_never_came_to_be_can_be_dropped),
		opened(a_row_number_is_not_used_again),
		opened(a_key_moves_along_its_arrows_and_nowhere_else),
		opened(whoever_comes_second_is_told),
		opened(a_long_reason_is_cut_between_two_characters),
		opened(nothing_is_ready_or_taken_unproved),
		opened(a_key_that_never_was_cannot_be_proved),
		opened(at_start_every_intended_key_is_unknown),
		opened(the_database_itself_holds_the_invariants),
		opened(an_unknown_id_is_an_answer),
		opened(short_facts_come_per_repository_and_in_pages),
		opened(a_listing_can_be_narrowed),
		opened(created_after_means_living_keys_no_backup_can_have),
		opened(operators_see_keys_through_the_view),
		opened(the_view_names_algorithms_as_we_do),
		opened(a_list_knows_age_algorithm_and_tag),
		opened(a_pair_that_is_there_already_gets_a_row_to_settle),
		opened(what_is_on_record_cannot_be_adopted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
