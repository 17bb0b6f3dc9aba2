/*
 * What operators have done in a token: inspect, sweep, remove, and attributes
 * of their own in a template. Keys of other programs are in the way of each.
 */
#include "peer.h"

#define SIGNED	     "1000100" /* flags of the store: a token key that signs */
#define FIELDS	     7	       /* of a line of the store */
#define FIELD_HANDLE 0
#define FIELD_CLASS  1
#define FIELD_ID     4
#define FIELD_DER    6

/* ---- the store of the fake module --------------------------------------- */

static FILE *
store_open(const char *mode)
{
	char path[128];
	FILE *f;

	path_in(path, sizeof(path), "store");
	f = fopen(path, mode);
	assert_non_null(f);
	return f;
}

/* The line of this object, in words. */
static void
store_words(int handle, char word[FIELDS][4096])
{
	FILE *f = store_open("re");
	bool found = false;

	while (!found &&
	       fscanf(f, "%4095s %4095s %4095s %4095s %4095s %4095s %4095s",
		   word[0], word[1], word[2], word[3], word[4], word[5],
		   word[6]) == FIELDS)
		found = atoi(word[0]) == handle;
	(void)fclose(f);
	assert_true(found);
}

/* As if somebody else had been at the token. */
static void
store_edit(int handle, int field, const char *value)
{
	static char word[FIELDS][4096], copy[1 << 17];
	FILE *f = store_open("re"), *new;
	char path[128], text[128];
	size_t len;

	len = fread(copy, 1, sizeof(copy) - 1, f);
	assert_true(len < sizeof(copy) - 1);
	copy[len] = '\0';
	(void)fclose(f);
	f = fmemopen(copy, len, "r");
	assert_non_null(f);
	path_in(path, sizeof(path), "store.edit");
	new = fopen(path, "we");
	assert_non_null(new);
	while (fscanf(f, "%4095s %4095s %4095s %4095s %4095s %4095s %4095s",
		   word[0], word[1], word[2], word[3], word[4], word[5],
		   word[6]) == FIELDS) {
		bool this = atoi(word[0]) == handle;

		for (int i = 0; i < FIELDS; i++)
			(void)fprintf(new, "%s%c",
			    this && i == field ? value : word[i],
			    i == FIELDS - 1 ? '\n' : ' ');
	}
	(void)fclose(f);
	(void)fclose(new);
	path_in(text, sizeof(text), "store");
	assert_int_equal(rename(path, text), 0);
}

static void
store_count(int privates, int publics)
{
	char line[8192];
	FILE *f = store_open("re");
	int n[2] = { 0, 0 }, class;

	while (fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "%*d %d", &class) == 1)
			n[class == 3 ? 0 : 1]++;
	(void)fclose(f);
	assert_int_equal(n[0], privates);
	assert_int_equal(n[1], publics);
}

static void
touch(const char *name, bool there)
{
	char path[128];
	FILE *f;

	path_in(path, sizeof(path), name);
	if (!there) {
		assert_int_equal(unlink(path), 0);
		return;
	}
	f = fopen(path, "we");
	assert_non_null(f);
	(void)fclose(f);
}

static void
knob_path(const char *name, const char *file)
{
	char path[128];

	path_in(path, sizeof(path), file);
	knob(name, path);
}

/* ---- inspect ------------------------------------------------------------ */

struct seen {
	int64_t objects, debris, unreadable, pages;
	bool foreign_debris; /* one with an id or a label */
};

static enum hsm_type
inspect(struct worker *w, struct seen *seen)
{
	const struct hsm_object *o;
	struct hsm_msg m;

	memset(seen, 0, sizeof(*seen));
	memset(&m, 0, sizeof(m));
	m.type = HSM_INSPECT;
	m.u.inspect.job = 500;
	send_msg(w, &m);
	for (; hear(w) == HSM_OBJECTS; seen->pages++) {
		assert_int_equal(w->got.u.objects.job, 500);
		for (size_t i = 0; i < w->got.u.objects.nobjects; i++) {
			o = &w->got.u.objects.objects[i];
			seen->objects++;
			seen->debris += o->debris;
			seen->unreadable += o->class == OBJECT_UNREADABLE;
			if (o->debris && (o->idlen != 0 || o->label[0] != '\0'))
				seen->foreign_debris = true;
		}
	}
	return w->got.type;
}

static long
calls_of(const char *call)
{
	char path[128], name[32];
	long n, found = -1;
	FILE *f;

	path_in(path, sizeof(path), "calls");
	f = fopen(path, "re");
	assert_non_null(f);
	while (fscanf(f, "%31s %ld", name, &n) == 2)
		if (strcmp(name, call) == 0)
			found = n;
	(void)fclose(f);
	assert_int_not_equal(found, -1);
	return found;
}

static void
ten_thousand_objects_are_one_search_and_two_reads_each(void **ctx)
{
	enum { PAIRS = 4990 };
	struct key_id id;
	char hex[KEY_ID_HEX];
	struct seen seen;
	struct worker w;
	FILE *f = store_open("we");
	int handle = 1;

	(void)ctx;
	for (int n = 0; n < PAIRS; n++) {
		id = id_of(n);
		key_id_format(&id, hex);
		store_line(f, handle++, 3, hex, hex);
		store_line(f, handle++, 2, hex, hex);
	}
	for (int n = 0; n < 5; n++) {
		store_line(f, handle++, 3, "0102", "-");
		store_line(f, handle++, 2, "-", "ab");
		store_line(f, handle++, 1, "-", "ab");
		(void)fprintf(f, "%d 2 0 0000000 - - -\n", handle++);
	}
	(void)fclose(f);

	knob_path("KSMFAKE_CALLS", "calls");
	worker_ready(&w, PURPOSE_INSPECTOR);
	assert_int_equal(inspect(&w, &seen), HSM_LISTED);
	assert_int_equal(w.got.u.listed.privates, PAIRS);
	assert_int_equal(w.got.u.listed.publics, PAIRS);
	assert_int_equal(w.got.u.listed.foreign, 10);
	assert_int_equal(w.got.u.listed.other, 5);
	assert_int_equal(w.got.u.listed.nameless, 5);
	assert_int_equal(w.got.u.listed.pages, 100);
	assert_int_equal(seen.pages, 100);
	assert_int_equal(seen.objects, 10000);
	assert_int_equal(seen.debris, 5);
	assert_int_equal(worker_end(&w), 0);
	assert_int_equal(calls_of("find"), 1);
	assert_in_range(calls_of("getattr"), 10000, 20100);
	assert_int_equal(calls_of("destroy"), 0);
}

/* How the others make keys, and what else is nobody's business of ours. */
static int
foreign_store(void)
{
	static const struct {
		int class, type;
		const char *flags, *id, *label;
	} objects[] = {
		/* BIND: 16 bytes, and a label of its own */
		{ 3, 3, SIGNED, "00112233445566778899aabbccddeeff", "7a2d6b" },
		{ 2, 3, SIGNED, "00112233445566778899aabbccddeeff", "7a2d6b" },
		/* Knot: 20 bytes, no label */
		{ 3, 3, SIGNED, "000102030405060708090a0b0c0d0e0f10111213", "-" },
		{ 2, 3, SIGNED, "000102030405060708090a0b0c0d0e0f10111213", "-" },
		/* PowerDNS: one id for every key, none on the public half */
		{ 3, 0, SIGNED, "01020304", "61" },
		{ 2, 0, SIGNED, "-", "61" },
		{ 3, 0, SIGNED, "01020304", "62" },
		{ 2, 0, SIGNED, "-", "62" },
		/* pkcs11-tool without --id */
		{ 3, 3, SIGNED, "-", "6b6579" },
		{ 2, 3, SIGNED, "-", "6b6579" },
		/* p11tool without id and label, of a type we do not know, too */
		{ 3, 3, SIGNED, "-", "-" },
		{ 2, 3, SIGNED, "-", "-" },
		{ 3, 1, SIGNED, "-", "-" },
		{ 3, 48, SIGNED, "-", "-" },
		/* session objects that have a name */
		{ 3, 3, "0000000", "aa", "-" },
		{ 2, 3, "0000000", "-", "aa" },
		/* nameless, but no keys */
		{ 1, 0, "0000000", "-", "-" },
		{ 0, 0, "0000000", "-", "-" },
		{ 4, 0, "0000000", "-", "-" },
		{ 6, 0, "0000000", "-", "-" },
	};
	FILE *f = store_open("we");

	for (size_t i = 0; i < nitems(objects); i++)
		(void)fprintf(f, "%zu %d %d %s %s %s -\n", i + 1,
		    objects[i].class, objects[i].type, objects[i].flags,
		    objects[i].id, objects[i].label);
	(void)fclose(f);
	return (int)nitems(objects);
}

static void
debris_add(int handle, int n)
{
	FILE *f = store_open("ae");

	for (int i = 0; i < n; i++)
		(void)fprintf(
		    f, "%d %d 0 0000000 - - -\n", handle + i, 2 + i % 2);
	(void)fclose(f);
}

static int
store_lines(void)
{
	char line[8192];
	FILE *f = store_open("re");
	int n = 0;

	while (fgets(line, sizeof(line), f) != NULL)
		n++;
	(void)fclose(f);
	return n;
}

static void
keys_of_other_programs_are_never_debris(void **ctx)
{
	int n = foreign_store();
	struct seen seen;
	struct worker w;

	(void)ctx;
	worker_ready(&w, PURPOSE_DESTROYER);
	assert_int_equal(inspect(&w, &seen), HSM_LISTED);
	assert_int_equal(seen.objects, n);
	assert_int_equal(seen.debris, 0);
	assert_int_equal(w.got.u.listed.nameless, 0);
	assert_int_equal(w.got.u.listed.other, 4);
	assert_int_equal(w.got.u.listed.privates, 1);
	assert_int_equal(w.got.u.listed.publics, 1);
	assert_int_equal(w.got.u.listed.foreign, n - 6);
	assert_int_equal(sweep(&w, n), HSM_REFUSED);
	assert_int_equal(sweep(&w, 0), HSM_SWEPT);
	assert_int_equal(w.got.u.swept.n, 0);

	debris_add(n + 1, 4);
	assert_int_equal(inspect(&w, &seen), HSM_LISTED);
	assert_int_equal(seen.debris, 4);
	assert_false(seen.foreign_debris);
	assert_int_equal(sweep(&w, 4), HSM_SWEPT);
	assert_int_equal(w.got.u.swept.n, 4);
	assert_int_equal(worker_end(&w), 0);
	assert_int_equal(store_lines(), n);
}

/* ---- sweep -------------------------------------------------------------- */

/* SoftHSM says CKR_ATTRIBUTE_VALUE_INVALID to all that is asked of it. */
static void
an_object_that_never_got_a_class_is_debris(void **ctx)
{
	int n = foreign_store();
	struct seen seen;
	struct worker w;
	FILE *f;

	(void)ctx;
	f = store_open("ae");
	(void)fprintf(f, "%d 99 0 0000000 - - -\n", n + 1);
	(void)fclose(f);
	debris_add(n + 2, 1);
	worker_ready(&w, PURPOSE_DESTROYER);
	assert_int_equal(inspect(&w, &seen), HSM_LISTED);
	assert_int_equal(seen.unreadable, 1);
	assert_int_equal(seen.debris, 2);
	assert_int_equal(sweep(&w, 2), HSM_SWEPT);
	assert_int_equal(w.got.u.swept.n, 2);
	assert_int_equal(worker_end(&w), 0);
	assert_int_equal(store_lines(), n);
}

static void
what_became_a_key_after_the_look_is_not_swept(void **ctx)
{
	int n = foreign_store();
	struct seen seen;
	struct worker w;

	(void)ctx;
	debris_add(n + 1, 3);
	worker_ready(&w, PURPOSE_DESTROYER);
	assert_int_equal(inspect(&w, &seen), HSM_LISTED);
	store_edit(n + 2, FIELD_ID, "aa");
	assert_int_equal(sweep(&w, 3), HSM_SWEPT);
	assert_int_equal(w.got.u.swept.n, 2);
	assert_int_equal(worker_end(&w), 0);
	assert_int_equal(store_lines(), n + 1);
}

static void
a_token_that_was_unreadable_all_along_keeps_its_keys(void **ctx)
{
	static const char *const codes[] = { "0x5", "0x6", "0x13", "0x12",
		"0x11" };

	for (size_t i = 0; i < nitems(codes); i++) {
		int n;
		struct seen seen;
		struct worker w;

		(void)fresh_token(ctx);
		n = foreign_store();
		debris_add(n + 1, 2);
		knob_path("KSMFAKE_MUTE", "mute");
		knob("KSMFAKE_MUTE_CKR", codes[i]);
		touch("mute", true);
		worker_ready(&w, PURPOSE_DESTROYER);
		assert_int_equal(inspect(&w, &seen), HSM_LISTED);
		assert_int_equal(seen.unreadable, n + 2);
		assert_int_equal(sweep(&w, n + 2), HSM_REFUSED);
		/* where they were many it leaves; else nothing is debris */
		touch("mute", false);
		assert_int_equal(sweep(&w, n + 2),
		    seen.debris > 0 ? HSM__TYPES : HSM_REFUSED);
		assert_int_equal(worker_end(&w), seen.debris > 0 ? 1 : 0);
		assert_int_equal(store_lines(), n + 2);
	}
}

static void
a_token_that_turns_unreadable_before_a_sweep_keeps_its_keys(void **ctx)
{
	static const char *const codes[] = { "0x5", "0x6", "0x13", "0x12",
		"0x30" };

	for (size_t i = 0; i < nitems(codes); i++) {
		int n;
		struct seen seen;
		struct worker w;

		(void)fresh_token(ctx);
		n = foreign_store();
		debris_add(n + 1, 2);
		knob_path("KSMFAKE_MUTE", "mute");
		knob("KSMFAKE_MUTE_CKR", codes[i]);
		worker_ready(&w, PURPOSE_DESTROYER);
		assert_int_equal(inspect(&w, &seen), HSM_LISTED);
		assert_int_equal(seen.debris, 2);
		touch("mute", true);
		assert_int_not_equal(sweep(&w, 2), HSM_SWEPT);
		assert_int_equal(hear(&w), HSM__TYPES);
		assert_int_equal(worker_end(&w), 1);
		assert_int_equal(store_lines(), n + 2);
	}
}

/* With GENERAL_ERROR after the first went, and with a code that says gone. */
static void
a_sweep_that_is_cut_off_leaves_the_rest(void **ctx)
{
	static const struct {
		const char *fault;
		enum hsm_type answer;
		int gone;
		bool lives;
	} cases[] = {
		{ "destroy:1:ckr=0x5", HSM_UNKNOWN, 0, false },
		{ "destroy:2:ckr=0x5", HSM_UNKNOWN, 1, false },
		{ "destroy:2:ckr=0x30", HSM_UNKNOWN, 1, false },
		{ "destroy:2:ckr-after=0x5", HSM_UNKNOWN, 2, false },
		{ "destroy:1:ckr=0x1b", HSM_REFUSED, 0, true },
		{ "destroy:2:ckr=0x1b", HSM_UNKNOWN, 1, false },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		int n = foreign_store();
		struct seen seen;
		struct worker w;

		debris_add(n + 1, 3);
		knob("KSMFAKE_FAULT", cases[i].fault);
		worker_ready(&w, PURPOSE_DESTROYER);
		assert_int_equal(inspect(&w, &seen), HSM_LISTED);
		assert_int_equal(sweep(&w, 3), cases[i].answer);
		assert_string_equal(w.got.u.no.stage, "destroy");
		assert_int_equal(store_lines(), n + 3 - cases[i].gone);
		if (cases[i].lives)
			/* not again without a new look */
			assert_int_equal(sweep(&w, 3), HSM_REFUSED);
		else
			assert_int_equal(hear(&w), HSM__TYPES);
		assert_int_equal(worker_end(&w), cases[i].lives ? 0 : 1);
	}
}

static void
a_token_of_nothing_but_debris_can_be_swept(void **ctx)
{
	struct seen seen;
	struct worker w;

	(void)ctx;
	(void)fclose(store_open("we"));
	debris_add(1, 3);
	worker_ready(&w, PURPOSE_DESTROYER);
	assert_int_equal(inspect(&w, &seen), HSM_LISTED);
	assert_int_equal(sweep(&w, 3), HSM_SWEPT);
	assert_int_equal(w.got.u.swept.n, 3);
	assert_int_equal(worker_end(&w), 0);
	assert_int_equal(store_lines(), 0);
}

/* ---- remove ------------------------------------------------------------- */

static enum hsm_type
pair_remove(struct worker *w, int n)
{
	struct hsm_msg m;

	memset(&m, 0, sizeof(m));
	m.type = HSM_REMOVE;
	m.u.remove.job = 701;
	m.u.remove.id = id_of(n);
	send_msg(w, &m);
	return hear(w);
}

/* Pairs 1 to n: the public half of pair k is object 2k - 1, then its private */
static void
pairs_make(int n, int alg, int bits)
{
	struct worker w;

	worker_ready(&w, PURPOSE_GENERATOR);
	for (int k = 1; k <= n; k++)
		assert_int_equal(generate(&w, k, alg, bits), HSM_GENERATED);
	assert_int_equal(worker_end(&w), 0);
}

static void
only_what_was_proven_last_is_removed(void **ctx)
{
	struct worker w;

	(void)ctx;
	pairs_make(3, 13, 256);
	worker_ready(&w, PURPOSE_DESTROYER);
	assert_int_equal(enumerate(&w, "", NULL), HSM_LISTED);
	assert_int_equal(pair_remove(&w, 1), HSM_REFUSED);
	assert_non_null(strstr(w.got.u.no.text, "proven last"));

	/* another was proven since; and a refusal uses the proof up */
	assert_int_equal(prove(&w, 1, 13), HSM_PROOF);
	assert_int_equal(prove(&w, 2, 13), HSM_PROOF);
	assert_int_equal(pair_remove(&w, 1), HSM_REFUSED);
	assert_int_equal(pair_remove(&w, 2), HSM_REFUSED);
	store_count(3, 3);

	assert_int_equal(prove(&w, 1, 13), HSM_PROOF);
	assert_int_equal(pair_remove(&w, 1), HSM_DESTROYED);
	assert_int_equal(w.got.u.destroyed.job, 701);
	store_count(2, 2);
	assert_int_equal(pair_remove(&w, 1), HSM_REFUSED);

	/* a proof is of one enumeration */
	assert_int_equal(prove(&w, 2, 13), HSM_PROOF);
	assert_int_equal(enumerate(&w, "", NULL), HSM_LISTED);
	assert_int_equal(pair_remove(&w, 2), HSM_REFUSED);
	assert_int_equal(worker_end(&w), 0);
	store_count(2, 2);
}

static void
what_is_not_the_proven_pair_any_more_is_spared(void **ctx)
{
	/* objects of pair 1: 1 public, 2 private */
	static const struct {
		int alg, handle, field;
		const char *value; /* NULL: the same of object `other` */
		int other;
	} cases[] = {
		/* the handle stands for nothing, or another object */
		{ 13, 2, FIELD_HANDLE, "99", 0 },
		{ 13, 1, FIELD_HANDLE, "99", 0 },
		{ 13, 2, FIELD_CLASS, "2", 0 },
		{ 13, 1, FIELD_CLASS, "4", 0 },
		/* for another id */
		{ 13, 2, FIELD_ID, NULL, 4 },
		{ 13, 1, FIELD_ID, NULL, 3 },
		{ 13, 1, FIELD_ID, "-", 0 },
		/* for another key */
		{ 13, 1, FIELD_DER, NULL, 3 },
		{ 15, 1, FIELD_DER, NULL, 3 },
		{ 8, 1, FIELD_DER, NULL, 3 },
		{ 8, 2, FIELD_DER, NULL, 4 },
		{ 13, 1, FIELD_DER, "00", 0 },
	};
	static char word[FIELDS][4096];

	for (size_t i = 0; i < nitems(cases); i++) {
		struct worker w;

		(void)fresh_token(ctx);
		pairs_make(2, cases[i].alg, cases[i].alg == 8 ? 1024 : 256);
		worker_ready(&w, PURPOSE_DESTROYER);
		assert_int_equal(enumerate(&w, "", NULL), HSM_LISTED);
		assert_int_equal(prove(&w, 1, cases[i].alg), HSM_PROOF);
		if (cases[i].value == NULL)
			store_words(cases[i].other, word);
		store_edit(cases[i].handle, cases[i].field,
		    cases[i].value != NULL ? cases[i].value
					   : word[cases[i].field]);
		if (pair_remove(&w, 1) != HSM_REFUSED)
			fail_msg("case %zu: %s", i,
			    w.got.type == HSM_UNKNOWN ? w.got.u.no.text
						      : "destroyed");
		assert_string_equal(w.got.u.no.stage, "destroy");
		assert_int_equal(store_lines(), 4);
		assert_int_equal(worker_end(&w), 0);
	}
}

static void
a_key_that_cannot_sign_can_be_removed_after_its_proof(void **ctx)
{
	static const struct {
		int pairs;
		const char *fault, *der;
	} cases[] = {
		{ 2, "none", "00" },		   /* torn, another signs */
		{ 2, "signinit:1+:ckr=0x68", NULL }, /* CKA_SIGN is false */
		{ 1, "none", "00" }, /* torn, and there is no other key */
	};

	for (size_t i = 0; i < nitems(cases); i++) {
		struct worker w;

		(void)fresh_token(ctx);
		pairs_make(cases[i].pairs, 13, 256);
		if (cases[i].der != NULL)
			store_edit(2, FIELD_DER, cases[i].der);
		knob("KSMFAKE_FAULT", cases[i].fault);
		worker_ready(&w, PURPOSE_DESTROYER);
		assert_int_equal(enumerate(&w, "", NULL), HSM_LISTED);
		assert_int_equal(prove(&w, 1, 13), HSM_PROOF);
		assert_string_equal(w.got.u.proof.evidence.signature, "");
		assert_string_not_equal(w.got.u.proof.evidence.sign_ckr, "");
		if (pair_remove(&w, 1) != HSM_DESTROYED)
			fail_msg("case %zu: not destroyed", i);
		assert_int_equal(worker_end(&w), 0);
		store_count(cases[i].pairs - 1, cases[i].pairs - 1);
	}
}

/* Halves of two keys under one id: quarantined, and nobody wants to keep it. */
static void
a_pair_that_does_not_belong_together_can_be_removed(void **ctx)
{
	static const int algs[] = { 8, 13 };

	for (size_t i = 0; i < nitems(algs); i++) {
		struct worker w;

		(void)fresh_token(ctx);
		knob("KSMFAKE_LIE", "other-public@1");
		pairs_make(2, algs[i], 1024);
		worker_ready(&w, PURPOSE_DESTROYER);
		assert_int_equal(enumerate(&w, "", NULL), HSM_LISTED);
		assert_int_equal(prove(&w, 1, algs[i]), HSM_PROOF);
		assert_int_equal(pair_remove(&w, 1), HSM_DESTROYED);
		assert_int_equal(worker_end(&w), 0);
		store_count(1, 1);
	}
}

/* Nothing was asked for yet: that it could not be read is a clear no. */
static void
a_pair_that_cannot_be_read_again_is_untouched(void **ctx)
{
	struct worker w;

	(void)ctx;
	pairs_make(2, 13, 256);
	knob_path("KSMFAKE_MUTE", "mute");
	worker_ready(&w, PURPOSE_DESTROYER);
	assert_int_equal(enumerate(&w, "", NULL), HSM_LISTED);
	assert_int_equal(prove(&w, 1, 13), HSM_PROOF);
	touch("mute", true);
	assert_int_equal(pair_remove(&w, 1), HSM_REFUSED);
	assert_string_equal(w.got.u.no.name, "CKR_GENERAL_ERROR");
	assert_int_equal(hear(&w), HSM__TYPES);
	assert_int_equal(worker_end(&w), 1);
	store_count(2, 2);
}

static void
a_private_half_without_a_public_one_is_a_pair_of_one(void **ctx)
{
	struct worker w;

	(void)ctx;
	knob("KSMFAKE_LIE", "no-public@1,no-private@2");
	pairs_make(3, 8, 1024);
	worker_ready(&w, PURPOSE_DESTROYER);
	assert_int_equal(enumerate(&w, "", NULL), HSM_LISTED);
	assert_int_equal(prove(&w, 1, 8), HSM_PROOF);
	assert_int_equal(pair_remove(&w, 1), HSM_DESTROYED);
	store_count(1, 2);
	/* a public half alone is no pair */
	assert_int_equal(prove(&w, 2, 8), HSM_PROOF);
	assert_int_equal(pair_remove(&w, 2), HSM_REFUSED);
	assert_int_equal(worker_end(&w), 0);
	store_count(1, 2);
}

static void
a_destruction_that_stops_between_the_halves_is_unknown(void **ctx)
{
	static const struct {
		const char *fault;
		enum hsm_type answer;
		int privates, publics;
		bool lives;
	} cases[] = {
		/* even a clear no is none after the private half went */
		{ "destroy:2:ckr=0x1b", HSM_UNKNOWN, 1, 2, false },
		{ "destroy:2:ckr=0x5", HSM_UNKNOWN, 1, 2, false },
		{ "destroy:2:ckr-after=0x30", HSM_UNKNOWN, 1, 1, false },
		{ "destroy:1:ckr-after=0x5", HSM_UNKNOWN, 1, 2, false },
		{ "destroy:1:ckr=0x1b", HSM_REFUSED, 2, 2, true },
		{ "destroy:1:ckr=0x5", HSM_UNKNOWN, 2, 2, false },
	};

	for (size_t i = 0; i < nitems(cases); i++) {
		struct worker w;

		(void)fresh_token(ctx);
		pairs_make(2, 13, 256);
		knob("KSMFAKE_FAULT", cases[i].fault);
		worker_ready(&w, PURPOSE_DESTROYER);
		assert_int_equal(enumerate(&w, "", NULL), HSM_LISTED);
		assert_int_equal(prove(&w, 1, 13), HSM_PROOF);
		assert_int_equal(pair_remove(&w, 1), cases[i].answer);
		assert_string_equal(w.got.u.no.stage, "destroy");
		if (!cases[i].lives)
			assert_int_equal(hear(&w), HSM__TYPES);
		assert_int_equal(worker_end(&w), cases[i].lives ? 0 : 1);
		store_count(cases[i].privates, cases[i].publics);
	}
}

static void
a_pair_with_two_objects_of_a_half_is_not_removed(void **ctx)
{
	static const char *const lies[] = { "no-private@2", "no-public@2",
		"none" };

	for (size_t i = 0; i < nitems(lies); i++) {
		struct worker w;
		int lines;

		(void)fresh_token(ctx);
		knob("KSMFAKE_LIE", lies[i]);
		worker_ready(&w, PURPOSE_GENERATOR);
		assert_int_equal(generate(&w, 1, 13, 256), HSM_GENERATED);
		assert_int_equal(generate(&w, 1, 13, 256), HSM_GENERATED);
		assert_int_equal(worker_end(&w), 0);
		lines = store_lines();
		worker_ready(&w, PURPOSE_DESTROYER);
		assert_int_equal(enumerate(&w, "", NULL), HSM_LISTED);
		assert_int_equal(prove(&w, 1, 13), HSM_PROOF);
		assert_int_equal(pair_remove(&w, 1), HSM_REFUSED);
		assert_int_equal(worker_end(&w), 0);
		assert_int_equal(store_lines(), lines);
	}
}

static void
nobody_but_a_destroyer_removes_or_sweeps(void **ctx)
{
	static const enum worker_purpose others[] = { PURPOSE_GENERATOR,
		PURPOSE_VERIFIER, PURPOSE_SETTLER, PURPOSE_INSPECTOR };
	struct worker w;

	(void)ctx;
	pairs_make(1, 13, 256);
	for (size_t i = 0; i < nitems(others); i++) {
		worker_ready(&w, others[i]);
		assert_int_equal(pair_remove(&w, 1), HSM__TYPES);
		assert_int_equal(worker_end(&w), 3);
		worker_ready(&w, others[i]);
		assert_int_equal(sweep(&w, 0), HSM__TYPES);
		assert_int_equal(worker_end(&w), 3);
	}
	/* nor does one that has not looked */
	worker_ready(&w, PURPOSE_DESTROYER);
	assert_int_equal(pair_remove(&w, 1), HSM__TYPES);
	assert_int_equal(worker_end(&w), 3);
	worker_ready(&w, PURPOSE_DESTROYER);
	assert_int_equal(sweep(&w, 0), HSM__TYPES);
	assert_int_equal(worker_end(&w), 3);
	store_count(1, 1);
}

/* ---- attributes --------------------------------------------------------- */

static void
attribute_say(struct hsm_msg *start, bool public_half, const char *name,
    const char *value)
{
	struct hsm_attribute *a =
	    &start->u.start.attributes[start->u.start.nattributes++];

	a->public_half = public_half;
	a->remove = value == NULL;
	(void)snprintf(a->name, sizeof(a->name), "%s", name);
	(void)snprintf(
	    a->value, sizeof(a->value), "%s", value != NULL ? value : "");
}

/* How often a line of the templates begins so. */
static int
template_has(const char *begins)
{
	char path[128], line[2048];
	int n = 0;
	FILE *f;

	path_in(path, sizeof(path), "templates");
	f = fopen(path, "re");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		n += strncmp(line, begins, strlen(begins)) == 0;
	if (f != NULL)
		(void)fclose(f);
	return n;
}

static void
attributes_reach_the_template_of_their_half(void **ctx)
{
	struct hsm_msg start = start_of(PURPOSE_GENERATOR);
	struct worker w;

	(void)ctx;
	knob_path("KSMFAKE_TEMPLATES", "templates");
	attribute_say(&start, false, "CKA_DECRYPT", "false");
	attribute_say(&start, false, "CKA_DERIVE", "true");
	attribute_say(&start, true, "CKA_ENCRYPT", "false");
	attribute_say(&start, true, "CKA_WRAP", "false");
	attribute_say(&start, true, "CKA_0x80000001", "0x0aff");
	attribute_say(&start, false, "CKA_0x80000002", "258");
	attribute_say(&start, false, "CKA_START_DATE", "0x");
	attribute_say(&start, false, "CKA_EXTRACTABLE", NULL);
	attribute_say(&start, true, "CKA_KEY_TYPE", NULL);
	assert_int_equal(worker_start(&w, &start, "1234"), HSM_HELLO);
	assert_int_equal(generate(&w, 1, 8, 1024), HSM_GENERATED);
	assert_int_equal(worker_end(&w), 0);

	assert_int_equal(template_has("private 0x105=00\n"), 1);
	assert_int_equal(template_has("private 0x10c=01\n"), 1);
	assert_int_equal(template_has("public 0x104=00\n"), 1);
	assert_int_equal(template_has("public 0x106=00\n"), 1);
	assert_int_equal(template_has("public 0x80000001=0aff\n"), 1);
	assert_int_equal(template_has("private 0x80000002=0201000000000000"), 1);
	assert_int_equal(template_has("private 0x110=\n"), 1);
	assert_int_equal(template_has("private 0x162"), 0);
	assert_int_equal(template_has("public 0x100"), 0);
	/* not on the other half, and what was not named is as ever */
	assert_int_equal(template_has("public 0x105"), 0);
	assert_int_equal(template_has("public 0x10c"), 0);
	assert_int_equal(template_has("private 0x104"), 0);
	assert_int_equal(template_has("private 0x106"), 0);
	assert_int_equal(template_has("private 0x100"), 1);
	assert_int_equal(template_has("private 0x103=01\n"), 1);
	assert_int_equal(template_has("private 0x108=01\n"), 1);
	assert_int_equal(template_has("private 0x107"), 0);
}

static void
a_refused_attribute_is_a_clear_no(void **ctx)
{
	struct hsm_msg start = start_of(PURPOSE_GENERATOR);
	struct worker w;

	(void)ctx;
	knob("KSMFAKE_REFUSES", "0x105");
	attribute_say(&start, false, "CKA_DECRYPT", "false");
	assert_int_equal(worker_start(&w, &start, "1234"), HSM_HELLO);
	for (int n = 1; n <= 2; n++) {
		assert_int_equal(generate(&w, n, 13, 256), HSM_REFUSED);
		assert_string_equal(w.got.u.no.stage, "generate");
		assert_string_equal(
		    w.got.u.no.name, "CKR_ATTRIBUTE_TYPE_INVALID");
		assert_int_equal(w.got.u.no.group, CKRG_POLICY);
	}
	assert_int_equal(worker_end(&w), 0);
	token_holds(0, 0);
}

/* Whatever the daemon lets through: what makes a key ours is not changed. */
static void
what_makes_a_key_ours_is_never_changed(void **ctx)
{
	static const struct {
		bool public_half;
		const char *name, *value;
	} cases[] = {
		{ false, "CKA_ID", NULL },
		{ false, "CKA_LABEL", NULL },
		{ false, "CKA_TOKEN", "false" },
		{ false, "CKA_EXTRACTABLE", "true" },
		{ false, "CKA_SENSITIVE", "false" },
		{ true, "CKA_MODULUS_BITS", NULL },
		{ true, "CKA_DECRYPT", "false" },
		{ false, "CKA_DECRYPT", "maybe" },
		{ false, "CKA_DECRYPT", NULL },
		{ false, "CKA_0x7fffffff", "0x01" },
	};

	for (size_t i = 0; i < nitems(cases); i++) {
		struct hsm_msg start = start_of(PURPOSE_GENERATOR);
		struct worker w;

		(void)fresh_token(ctx);
		knob_path("KSMFAKE_TEMPLATES", "templates");
		attribute_say(&start, cases[i].public_half, cases[i].name,
		    cases[i].value);
		assert_int_equal(worker_start(&w, &start, "1234"), HSM_HELLO);
		assert_int_equal(generate(&w, 1, 8, 1024), HSM_REFUSED);
		assert_int_equal(w.got.u.no.group, CKRG_POLICY);
		assert_int_equal(worker_end(&w), 0);
		assert_int_equal(template_has("p"), 0);
		token_holds(0, 0);
	}
}

static void
softhsm_usage(const struct key_id *id, const char *private_usage,
    const char *public_usage)
{
	char command[512], line[512], hex[KEY_ID_HEX];
	char class[16], key[64], label[64], state[16], usage[128];
	int halves = 0;
	FILE *f;

	key_id_format(id, hex);
	(void)snprintf(command, sizeof(command),
	    "%s/tests/token_dump -u %s lab %s/pin", getenv("KSM_BUILD"),
	    SOFTHSM, dir);
	f = popen(command, "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL) {
		assert_int_equal(sscanf(line, "%15s %63s %63s %15s %127s",
				     class, key, label, state, usage),
		    5);
		if (strcmp(key, hex) != 0)
			continue;
		halves++;
		assert_string_equal(usage,
		    strcmp(class, "private") == 0 ? private_usage
						  : public_usage);
	}
	assert_int_equal(pclose(f), 0);
	assert_int_equal(halves, 2);
}

static void
softhsm_takes_away_what_attributes_forbid(void **ctx)
{
	static const struct {
		int alg, bits;
	} algorithms[] = { { 8, 1024 }, { 13, 256 } };
	struct hsm_msg start = start_of(PURPOSE_GENERATOR);
	struct key_id id;
	struct worker w;

	(void)ctx;
	if (!softhsm_token(&start)) {
		skip();
		return;
	}
	/* without a word its keys can do what no signer needs */
	assert_int_equal(worker_start(&w, &start, "1234"), HSM_HELLO);
	assert_int_equal(generate(&w, 1, 8, 1024), HSM_GENERATED);
	assert_int_equal(worker_end(&w), 0);
	id = id_of(1);
	softhsm_usage(&id, "sign+decrypt+unwrap", "verify+encrypt+wrap");

	attribute_say(&start, false, "CKA_DECRYPT", "false");
	attribute_say(&start, false, "CKA_UNWRAP", "false");
	attribute_say(&start, true, "CKA_ENCRYPT", "false");
	attribute_say(&start, true, "CKA_WRAP", "false");
	assert_int_equal(worker_start(&w, &start, "1234"), HSM_HELLO);
	for (size_t i = 0; i < nitems(algorithms); i++) {
		int n = 2 + (int)i;

		assert_int_equal(generate(&w, n, algorithms[i].alg,
				     algorithms[i].bits),
		    HSM_GENERATED);
		id = id_of(n);
		softhsm_usage(&id, "sign", "verify");
	}
	assert_int_equal(worker_end(&w), 0);
}

static void
softhsm_loses_a_proven_pair_and_no_other(void **ctx)
{
	struct hsm_msg start = start_of(PURPOSE_GENERATOR);
	struct seen seen;
	struct worker w;

	(void)ctx;
	if (!softhsm_token(&start)) {
		skip();
		return;
	}
	assert_int_equal(worker_start(&w, &start, "1234"), HSM_HELLO);
	for (int n = 1; n <= 3; n++)
		assert_int_equal(generate(&w, n, 13, 256), HSM_GENERATED);
	assert_int_equal(worker_end(&w), 0);

	start.u.start.purpose = PURPOSE_DESTROYER;
	assert_int_equal(worker_start(&w, &start, "1234"), HSM_HELLO);
	assert_int_equal(enumerate(&w, "", NULL), HSM_LISTED);
	assert_int_equal(prove(&w, 2, 13), HSM_PROOF);
	assert_int_equal(pair_remove(&w, 1), HSM_REFUSED);
	assert_int_equal(prove(&w, 2, 13), HSM_PROOF);
	assert_int_equal(pair_remove(&w, 2), HSM_DESTROYED);
	assert_int_equal(inspect(&w, &seen), HSM_LISTED);
	assert_int_equal(w.got.u.listed.privates, 2);
	assert_int_equal(w.got.u.listed.publics, 2);
	assert_int_equal(seen.debris, 0);
	assert_int_equal(worker_end(&w), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(ten_thousand_objects_are_one_search_and_two_reads_each),
		TEST(keys_of_other_programs_are_never_debris),
		TEST(an_object_that_never_got_a_class_is_debris),
		TEST(what_became_a_key_after_the_look_is_not_swept),
		TEST(a_token_that_was_unreadable_all_along_keeps_its_keys),
		TEST(a_token_that_turns_unreadable_before_a_sweep_keeps_its_keys),
		TEST(a_sweep_that_is_cut_off_leaves_the_rest),
		TEST(a_token_of_nothing_but_debris_can_be_swept),
		TEST(only_what_was_proven_last_is_removed),
		TEST(what_is_not_the_proven_pair_any_more_is_spared),
		TEST(a_key_that_cannot_sign_can_be_removed_after_its_proof),
		TEST(a_pair_that_does_not_belong_together_can_be_removed),
		TEST(a_pair_that_cannot_be_read_again_is_untouched),
		TEST(a_private_half_without_a_public_one_is_a_pair_of_one),
		TEST(a_destruction_that_stops_between_the_halves_is_unknown),
		TEST(a_pair_with_two_objects_of_a_half_is_not_removed),
		TEST(nobody_but_a_destroyer_removes_or_sweeps),
		TEST(attributes_reach_the_template_of_their_half),
		TEST(a_refused_attribute_is_a_clear_no),
		TEST(what_makes_a_key_ours_is_never_changed),
		TEST(softhsm_takes_away_what_attributes_forbid),
		TEST(softhsm_loses_a_proven_pair_and_no_other),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
