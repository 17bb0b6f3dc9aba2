#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "journal.h"
#include "ksmpool/dnsname.h"

#define NOBODY 65534
#define FILE_MAX 65536
#define SEEN_MAX 16

static const uint8_t ours[KEY_TAG_LEN] = { 0x4b, 0x53, 0x4d, 0x50 };
static const char head[] =
	"{\"journal\":\"ksmpool hand-outs\",\"v\":1,"
	"\"installation\":\"4b534d50\"}\n";

struct desk {
	char dir[64], path[128];
	struct journal *j;
	struct ksm_fail fail;
	int64_t cut, known;
	size_t nseen; /* lines that were read when it was opened */
	struct handout seen[SEEN_MAX];
	struct handout_line lines[SEEN_MAX];
	enum ksm_err answer; /* what the reader of lines says */
};

/* ---- a disk that fails ------------------------------------------------- */

static bool no_sync, no_truncate;

int
fdatasync(int fd)
{
	if (no_sync) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_fdatasync, fd);
}

int
fsync(int fd)
{
	if (no_sync) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_fsync, fd);
}

int
ftruncate(int fd, off_t length)
{
	if (no_truncate) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_ftruncate, fd, length);
}

/* ---- doing ------------------------------------------------------------- */

static enum ksm_err
see(void *ctx, const struct handout *h, const struct handout_line *line,
    struct ksm_fail *fail)
{
	struct desk *d = ctx;

	if (d->answer != KSM_OK)
		return ksm_failf(fail, d->answer, "the reader says no");
	assert_true(d->nseen < SEEN_MAX);
	d->seen[d->nseen] = *h;
	d->lines[d->nseen].text = strdup(line->text);
	memcpy(d->lines[d->nseen].hash, line->hash, DIGEST_LEN);
	d->nseen++;
	return KSM_OK;
}

static void
seen_forget(struct desk *d)
{
	for (size_t i = 0; i < d->nseen; i++)
		free(d->lines[i].text);
	d->nseen = 0;
}

static enum ksm_err
open_try(struct desk *d)
{
	seen_forget(d);
	d->fail.text[0] = '\0';
	return journal_open(d->path, ours, d->known, see, d, &d->j, &d->cut, &d->fail);
}

static void
desk_open(struct desk *d)
{
	if (open_try(d) != KSM_OK)
		fail_msg("open: %s", d->fail.text);
}

static void
desk_close(struct desk *d)
{
	journal_close(d->j);
	d->j = NULL;
}

static int
setup(void **ctx)
{
	struct desk *d = calloc(1, sizeof(*d));

	assert_non_null(d);
	no_sync = no_truncate = false;
	(void)strcpy(d->dir, "/tmp/ksmpool-journal-XXXXXX");
	assert_non_null(mkdtemp(d->dir));
	(void)snprintf(d->path, sizeof(d->path), "%s/handout.journal", d->dir);
	*ctx = d;
	return 0;
}

static int
teardown(void **ctx)
{
	struct desk *d = *ctx;
	struct dirent *e;
	char path[400];
	DIR *dir;

	desk_close(d);
	seen_forget(d);
	dir = opendir(d->dir);
	assert_non_null(dir);
	while ((e = readdir(dir)) != NULL) {
		(void)snprintf(path, sizeof(path), "%s/%s", d->dir, e->d_name);
		if (e->d_name[0] != '.' && unlink(path) == -1)
			(void)rmdir(path);
	}
	(void)closedir(dir);
	assert_int_equal(rmdir(d->dir), 0);
	free(d);
	return 0;
}

/* The i-th of some, each another. */
static struct handout
handout_no(int i)
{
	struct handout h;

	memset(&h, 0, sizeof(h));
	memset(h.id.bytes, 0x10 + i, sizeof(h.id.bytes));
	(void)snprintf(h.zone, sizeof(h.zone), "zone%d.example", i);
	(void)snprintf(h.share, sizeof(h.share), "zone:zone%d.example", i);
	(void)strcpy(h.pool.policy, "default");
	(void)strcpy(h.pool.repository, "hsm");
	h.pool.role = i % 2 == 0 ? ROLE_ZSK : ROLE_KSK;
	h.pool.alg = 13;
	h.pool.bits = 256;
	h.drawn = true;
	h.when = 1900000000 + i;
	h.who = (struct store_actor){ 1000, 4711 };
	h.serial = i + 1;
	h.mark = 100;
	return h;
}

/* n more of them, from the i-th on. */
static void
append(struct desk *d, int i, size_t n)
{
	struct handout h[SEEN_MAX];
	struct handout_line lines[SEEN_MAX];

	assert_true(n <= SEEN_MAX);
	for (size_t k = 0; k < n; k++)
		h[k] = handout_no(i + (int)k);
	if (journal_append(d->j, h, n, lines, &d->fail) != KSM_OK)
		fail_msg("append: %s", d->fail.text);
	for (size_t k = 0; k < n; k++)
		free(lines[k].text);
}

/* A journal of n lines, closed. */
static void
written(struct desk *d, size_t n)
{
	desk_open(d);
	append(d, 0, n);
	desk_close(d);
}

static size_t
file_get(const char *path, char buf[FILE_MAX])
{
	FILE *f = fopen(path, "re");
	size_t n;

	assert_non_null(f);
	n = fread(buf, 1, FILE_MAX - 1, f);
	buf[n] = '\0';
	(void)fclose(f);
	return n;
}

static void
file_put(const char *path, const void *bytes, size_t len)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

/* Start of line n (1, 2, ...), or the end. */
static char *
line_at(char *text, int n)
{
	while (--n > 0)
		text = strchr(text, '\n') + 1;
	return text;
}

static void
says(const struct desk *d, const char *words)
{
	if (strstr(d->fail.text, words) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", d->fail.text, words);
}

/* It is refused with these words, and not touched. */
static void
must_not_open(struct desk *d, enum ksm_err err, const char *words)
{
	static char before[FILE_MAX], after[FILE_MAX];
	size_t n = file_get(d->path, before);

	assert_int_equal(open_try(d), err);
	assert_null(d->j);
	says(d, words);
	assert_int_equal(file_get(d->path, after), n);
	assert_memory_equal(before, after, n);
}

static void
same(const struct handout *a, const struct handout *b)
{
	assert_int_equal(a->number, b->number);
	assert_int_equal(key_id_cmp(&a->id, &b->id), 0);
	assert_string_equal(a->zone, b->zone);
	assert_string_equal(a->pool.policy, b->pool.policy);
	assert_string_equal(a->pool.repository, b->pool.repository);
	assert_int_equal(a->pool.role, b->pool.role);
	assert_int_equal(a->pool.alg, b->pool.alg);
	assert_int_equal(a->pool.bits, b->pool.bits);
	assert_string_equal(a->share, b->share);
	assert_int_equal(a->drawn, b->drawn);
	assert_string_equal(a->request, b->request);
	assert_string_equal(a->consumer, b->consumer);
	assert_int_equal(a->when, b->when);
	assert_int_equal(a->who.uid, b->who.uid);
	assert_int_equal(a->who.pid, b->who.pid);
	assert_int_equal(a->uncovered, b->uncovered);
	assert_int_equal(a->outside, b->outside);
	assert_int_equal(a->serial, b->serial);
	assert_int_equal(a->mark, b->mark);
}

/* ---- a line -------------------------------------------------------------- */

/* There and back again. */
static void
there_and_back(const struct handout *h)
{
	static const uint8_t prev[DIGEST_LEN] = { 0xab, 0xcd };
	uint8_t chain[DIGEST_LEN];
	struct ksm_fail fail;
	struct handout again;
	char *text = handout_encode(h, prev);

	assert_non_null(text);
	assert_true(strlen(text) < HANDOUT_LINE);
	assert_null(strchr(text, '\n'));
	if (handout_decode(text, strlen(text), &again, chain, &fail) != KSM_OK)
		fail_msg("%s: %s", fail.text, text);
	same(h, &again);
	assert_memory_equal(chain, prev, DIGEST_LEN);
	free(text);
}

static void
a_line_reads_as_it_was_written(void **ctx)
{
	static const char *const names[] = { "default", "it's", "\"quoted\"",
		"back\\slash", "\xc3\xbc\xe2\x82\xac\xf0\x9f\x94\x91", "{}[],:",
		"a b\tc\nd", "\x7f", "$(id)`", "<&amp;>", " " };
	struct handout h = handout_no(1);

	(void)ctx;
	h.number = 1;
	there_and_back(&h);
	for (size_t i = 0; i < nitems(names); i++) {
		(void)strcpy(h.pool.policy, names[i]);
		(void)strcpy(h.pool.repository, names[i]);
		(void)strcpy(h.request, names[i]);
		(void)snprintf(h.share, sizeof(h.share), "owner:%s", names[i]);
		there_and_back(&h);
	}
	for (enum key_role role = 0; role < ROLE__COUNT; role++) {
		h.pool.role = role;
		h.drawn = role == ROLE_KSK;
		h.uncovered = role == ROLE_ZSK;
		h.outside = role == ROLE_CSK;
		there_and_back(&h);
	}
	(void)strcpy(h.consumer, "opendnssec");
	h.number = h.serial = h.mark = INT64_MAX;
	h.when = (ksm_time)4102444800; /* 2100 */
	h.who = ACTOR_DAEMON;
	h.pool.alg = 255;
	h.pool.bits = 16384;
	there_and_back(&h);
	h.when = 0;
	h.who = (struct store_actor){ UINT32_MAX, INT32_MAX };
	there_and_back(&h);
}

static void
the_longest_line_has_room(void **ctx)
{
	uint8_t wire[DNSNAME_WIRE];
	struct handout h = handout_no(1);
	size_t at = 0;

	(void)ctx;
	/* the most that a name can be, every octet an escape */
	for (size_t label = 0; label < 4; label++) {
		uint8_t n = label < 3 ? 63 : 61;

		wire[at] = n;
		memset(wire + at + 1, 200, n);
		at += n + 1u;
	}
	wire[at++] = 0;
	assert_int_equal(at, DNSNAME_WIRE);
	dnsname_text(wire, at, h.zone);
	assert_int_equal(strlen(h.zone), 1003);
	(void)snprintf(h.share, sizeof(h.share), "owner:%s", h.zone);
	memset(h.pool.policy, '"', sizeof(h.pool.policy) - 1);
	memset(h.pool.repository, '\\', sizeof(h.pool.repository) - 1);
	memset(h.request, '"', sizeof(h.request) - 1);
	memset(h.consumer, '"', sizeof(h.consumer) - 1);
	h.number = h.serial = h.mark = h.when = INT64_MAX / 1024;
	h.who = (struct store_actor){ INT64_MIN, INT64_MIN };
	there_and_back(&h);
}

static json_t *
line_json(void)
{
	static const uint8_t prev[DIGEST_LEN];
	struct handout h = handout_no(1);
	char *text;
	json_t *line;

	h.number = 1;
	text = handout_encode(&h, prev);
	assert_non_null(text);
	line = json_loads(text, 0, NULL);
	assert_non_null(line);
	free(text);
	return line;
}

static void
text_is_refused(const char *text, size_t len, const char *words)
{
	struct ksm_fail fail = { .text = "" };
	uint8_t prev[DIGEST_LEN];
	struct handout h;

	if (handout_decode(text, len, &h, prev, &fail) != KSM_EREFUSED)
		fail_msg("was taken: %s", text);
	if (strstr(fail.text, words) == NULL)
		fail_msg("%s: \"%s\" does not say \"%s\"", text, fail.text,
		    words);
}

/* Takes `line` over. */
static void
json_is_refused(json_t *line, const char *words)
{
	char *text = json_dumps(line, JSON_COMPACT);

	assert_non_null(text);
	text_is_refused(text, strlen(text), words);
	free(text);
	json_decref(line);
}

static void
what_is_no_line_is_refused_with_words(void **ctx)
{
	static const char not_json[] = "it is no JSON";
	static const char no_line[] = "it is no line of a hand-out journal";
	json_t *line = line_json(), *value;
	const char *name;
	char *text = json_dumps(line, JSON_COMPACT);
	size_t len = strlen(text);

	(void)ctx;
	assert_int_equal(json_object_size(line), 21);
	text_is_refused("", 0, not_json);
	text_is_refused("rubbish", 7, not_json);
	text_is_refused("[]", 2, no_line);
	text_is_refused("{}", 2, no_line);
	text_is_refused(head, strlen(head), no_line);
	text_is_refused("{\"n\":1,\"n\":1}", 13, not_json); /* twice */
	for (size_t i = 1; i < len; i++)
		text_is_refused(text, i, not_json);
	text[len] = 'x'; /* where its NUL was */
	text_is_refused(text, len + 1, not_json);

	json_object_foreach(line, name, value) {
		json_t *other = json_copy(line);

		(void)json_object_del(other, name);
		json_is_refused(other, no_line);
		other = json_copy(line);
		(void)json_object_set_new(other, name, json_null());
		json_is_refused(other, no_line);
		other = json_copy(line);
		(void)json_object_set_new(other, name,
		    json_is_string(value) ? json_integer(1) : json_string("1"));
		json_is_refused(other, no_line);
	}
	value = json_copy(line);
	(void)json_object_set_new(value, "more", json_true());
	json_is_refused(value, no_line);
	/* a text that C would read only half of */
	value = json_copy(line);
	(void)json_object_set_new(value, "zone",
	    json_stringn("a.example\0b", 11));
	json_is_refused(value, not_json);
	free(text);
	json_decref(line);
}

static void
what_cannot_be_is_refused_with_words(void **ctx)
{
	static const struct {
		const char *name;
		json_int_t value;
	} numbers[] = {
		{ "n", 0 }, { "n", -1 }, { "n", INT64_MIN },
		{ "algorithm", 0 }, { "algorithm", -13 }, { "algorithm", 256 },
		{ "algorithm", INT64_C(0x10000000d) }, /* 13, cut to 32 bits */
		{ "size", 0 }, { "size", -1 }, { "size", INT64_C(0x100000100) },
	};
	static const struct {
		const char *name, *value;
	} texts[] = {
		{ "key", "" }, { "key", "11" },
		{ "key", "1111111111111111111111111111111g" },
		{ "key", "111111111111111111111111111111111" },
		{ "prev", "" }, { "prev", "00" },
		{ "role", "" }, { "role", "zsk" }, { "role", "XSK" },
	};
	static const struct {
		const char *name;
		size_t size; /* of its field */
	} longest[] = {
		{ "zone", ZONE_TEXT }, { "share", SHARE_TEXT },
		{ "policy", 256 }, { "repository", 128 },
		{ "request", REQUEST_TEXT }, { "consumer", CONSUMER_TEXT },
	};
	static const char words[] = "one of its values cannot be";
	char text[SHARE_TEXT + 1];

	(void)ctx;
	for (size_t i = 0; i < nitems(numbers); i++) {
		json_t *line = line_json();

		(void)json_object_set_new(line, numbers[i].name,
		    json_integer(numbers[i].value));
		json_is_refused(line, words);
	}
	for (size_t i = 0; i < nitems(texts); i++) {
		json_t *line = line_json();

		(void)json_object_set_new(line, texts[i].name,
		    json_string(texts[i].value));
		json_is_refused(line, words);
	}
	for (size_t i = 0; i < nitems(longest); i++) {
		json_t *line = line_json();

		memset(text, 'a', longest[i].size);
		text[longest[i].size] = '\0';
		(void)json_object_set_new(line, longest[i].name,
		    json_string(text));
		json_is_refused(line, words);
	}
}

/* ---- the file ------------------------------------------------------------ */

static void
a_new_one_names_its_installation(void **ctx)
{
	static char text[FILE_MAX];
	struct desk *d = *ctx;
	uint8_t hash[DIGEST_LEN], want[DIGEST_LEN];
	mode_t was = umask(0);
	struct stat st;

	desk_open(d);
	(void)umask(was);
	assert_int_equal(d->cut, 0);
	assert_int_equal(d->nseen, 0);
	assert_int_equal(stat(d->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(file_get(d->path, text), strlen(head));
	assert_string_equal(text, head);
	assert_int_equal(digest_sha256(head, strlen(head) - 1, want, NULL),
	    KSM_OK);
	assert_int_equal(journal_head(d->j, hash), 0);
	assert_memory_equal(hash, want, DIGEST_LEN);
	assert_int_equal(journal_look(d->j, &d->fail), KSM_OK);
	desk_close(d);

	/* opened again it is the same */
	desk_open(d);
	assert_int_equal(file_get(d->path, text), strlen(head));
	assert_int_equal(journal_head(d->j, NULL), 0);
}

static void
what_is_written_is_read_again(void **ctx)
{
	static char text[FILE_MAX];
	struct desk *d = *ctx;
	struct handout h[5];
	struct handout_line lines[5];
	uint8_t hash[DIGEST_LEN];
	char *at;

	for (int i = 0; i < 5; i++)
		h[i] = handout_no(i);
	desk_open(d);
	assert_int_equal(journal_append(d->j, h, 0, lines, &d->fail), KSM_OK);
	assert_int_equal(journal_append(d->j, h, 1, lines, &d->fail), KSM_OK);
	assert_int_equal(journal_append(d->j, h + 1, 3, lines + 1, &d->fail),
	    KSM_OK);
	desk_close(d);
	desk_open(d);
	assert_int_equal(d->nseen, 4);
	assert_int_equal(journal_append(d->j, h + 4, 1, lines + 4, &d->fail),
	    KSM_OK);
	assert_int_equal(journal_head(d->j, hash), 5);
	assert_memory_equal(hash, lines[4].hash, DIGEST_LEN);
	desk_close(d);
	desk_open(d);
	assert_int_equal(d->cut, 0);
	assert_int_equal(d->nseen, 5);
	(void)file_get(d->path, text);
	at = line_at(text, 2);
	for (int i = 0; i < 5; i++) {
		size_t len = strlen(lines[i].text);

		assert_int_equal(h[i].number, i + 1);
		same(&d->seen[i], &h[i]);
		assert_string_equal(d->lines[i].text, lines[i].text);
		assert_memory_equal(d->lines[i].hash, lines[i].hash,
		    DIGEST_LEN);
		assert_memory_equal(at, lines[i].text, len);
		assert_int_equal(at[len], '\n');
		at += len + 1;
		free(lines[i].text);
	}
	assert_int_equal(*at, '\0');
}

/* Of what is known only the chain is looked at. */
static void
what_is_known_is_only_chained(void **ctx)
{
	static char whole[FILE_MAX];
	struct desk *d = *ctx;
	struct handout last = handout_no(3);
	char *at;
	size_t len;

	written(d, 4);
	d->known = 3;
	desk_open(d);
	assert_int_equal(d->nseen, 4);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(d->seen[i].number, i + 1);
		assert_int_equal(d->seen[i].mark, 100);
	}
	last.number = 4;
	same(&d->seen[3], &last);
	assert_int_equal(journal_head(d->j, NULL), 4);
	desk_close(d);

	len = file_get(d->path, whole);
	at = strstr(line_at(whole, 3), "zone1");
	at[4] = '7';
	file_put(d->path, whole, len);
	must_not_open(d, KSM_EREFUSED,
	    "handout.journal:4: the line before it is not the one");
	at[4] = '1';
	/* one that is written in another way is read as a whole */
	(void)memcpy(line_at(whole, 2), "{ ", 2);
	file_put(d->path, whole, len);
	must_not_open(d, KSM_EREFUSED, "handout.journal:2: it is no JSON");
}

static void
who_reads_the_lines_may_end_it(void **ctx)
{
	struct desk *d = *ctx;

	written(d, 2);
	d->answer = KSM_ESTORE;
	must_not_open(d, KSM_ESTORE, "the reader says no");
	d->answer = KSM_OK;
	desk_open(d);
	assert_int_equal(d->nseen, 2);
}

static void
a_torn_last_line_is_cut_off(void **ctx)
{
	static char whole[FILE_MAX], now[FILE_MAX];
	struct desk *d = *ctx;
	size_t len, last;

	written(d, 3);
	len = file_get(d->path, whole);
	last = (size_t)(line_at(whole, 4) - whole);
	for (size_t n = last; n < len; n++) {
		file_put(d->path, whole, n);
		desk_open(d);
		assert_int_equal(d->cut, n - last);
		assert_int_equal(d->nseen, 2);
		assert_int_equal(file_get(d->path, now), last);
		assert_memory_equal(now, whole, last);
		append(d, 2, 1);
		assert_int_equal(file_get(d->path, now), len);
		assert_memory_equal(now, whole, len);
		desk_close(d);
	}
	/* whatever a disk makes of it */
	memset(whole + last, 0, len - last);
	file_put(d->path, whole, len);
	desk_open(d);
	assert_int_equal(d->cut, len - last);
	assert_int_equal(file_get(d->path, now), last);
}

static void
a_torn_first_line_is_written_again(void **ctx)
{
	static char now[FILE_MAX];
	struct desk *d = *ctx;
	char zeroes[sizeof(head)] = { 0 };

	for (size_t n = 0; n < strlen(head); n++) {
		file_put(d->path, head, n);
		desk_open(d);
		assert_int_equal(d->cut, n);
		(void)file_get(d->path, now);
		assert_string_equal(now, head);
		desk_close(d);
	}
	file_put(d->path, zeroes, sizeof(zeroes));
	desk_open(d);
	assert_int_equal(d->cut, sizeof(zeroes));
	(void)file_get(d->path, now);
	assert_string_equal(now, head);
}

static void
a_file_that_is_none_is_refused_and_left_alone(void **ctx)
{
	static const struct {
		const char *text, *words;
	} cases[] = {
		{ "notes of somebody\n", ":1: it is not the hand-out journal" },
		{ "notes of somebody", ":1: it is not the hand-out journal" },
		{ "{\"journal\":\"ksmpool hand-outs\",\"v\":2",
		    ":1: it is not the hand-out journal" },
		{ "{\"journal\":\"ksmpool hand-outs\",\"v\":2,"
		  "\"installation\":\"4b534d50\"}\n", ":1: it is not" },
		{ "\n", ":1: it is not the hand-out journal" },
		/* that of another installation, which is named */
		{ "{\"journal\":\"ksmpool hand-outs\",\"v\":1,"
		  "\"installation\":\"00000001\"}\n",
		    "of this installation: its first line should be {" },
	};
	static char text[FILE_MAX];
	struct desk *d = *ctx;
	size_t len;

	for (size_t i = 0; i < nitems(cases); i++) {
		file_put(d->path, cases[i].text, strlen(cases[i].text));
		must_not_open(d, KSM_EREFUSED, cases[i].words);
		says(d, d->path);
	}
	says(d, "\"installation\":\"4b534d50\"");

	/* lines are bounded, whatever is in them */
	len = (size_t)snprintf(text, sizeof(text), "%s", head);
	memset(text + len, 'x', HANDOUT_LINE);
	text[len + HANDOUT_LINE] = '\n';
	file_put(d->path, text, len + HANDOUT_LINE + 1);
	must_not_open(d, KSM_EREFUSED, ":2: a line of 4097 bytes is none of");
}

static void
lines_that_are_not_what_was_written_are_refused(void **ctx)
{
	static char whole[FILE_MAX], text[FILE_MAX];
	struct desk *d = *ctx;
	size_t second, third, fourth, len;

	written(d, 3);
	len = file_get(d->path, whole);
	second = (size_t)(line_at(whole, 2) - whole);
	third = (size_t)(line_at(whole, 3) - whole);
	fourth = (size_t)(line_at(whole, 4) - whole);

	/* any byte but of the last line, of which the database knows */
	for (size_t i = 0; i < fourth; i++) {
		memcpy(text, whole, len);
		text[i] ^= text[i] == ('\n' ^ 1) ? 2 : 1;
		file_put(d->path, text, len);
		if (open_try(d) != KSM_EREFUSED)
			fail_msg("byte %zu was changed, and it was taken", i);
		says(d, d->path);
	}

	/* one is missing */
	memcpy(text, whole, second);
	memcpy(text + second, whole + third, len - third);
	file_put(d->path, text, len - (third - second));
	must_not_open(d, KSM_EREFUSED,
	    ":2: hand-out 2 stands where 1 should be");
	/* one is there twice */
	memcpy(text, whole, third);
	memcpy(text + third, whole + second, len - second);
	file_put(d->path, text, len + (third - second));
	must_not_open(d, KSM_EREFUSED,
	    ":3: hand-out 1 stands where 2 should be");
	/* one was put in place of another */
	memcpy(text, whole, len);
	memcpy(strstr(text + second, "zone0"), "zone9", 5);
	file_put(d->path, text, len);
	must_not_open(d, KSM_EREFUSED, ":3: the line before it is not the one "
				       "that was written");
	/* an editor's habits */
	memcpy(text, whole, len);
	text[len] = '\n';
	file_put(d->path, text, len + 1);
	must_not_open(d, KSM_EREFUSED, ":5: it is no JSON");
	/* nothing of all that stays: as it was it is sound */
	file_put(d->path, whole, len);
	desk_open(d);
	assert_int_equal(d->nseen, 3);
}

static void
only_one_may_hold_it(void **ctx)
{
	struct desk *d = *ctx;
	struct journal *first;

	desk_open(d);
	append(d, 0, 1);
	first = d->j;
	d->j = NULL;
	must_not_open(d, KSM_EBUSY, "another process holds it");
	says(d, d->path);
	d->j = first;
	append(d, 1, 1);
	desk_close(d);
	desk_open(d);
	assert_int_equal(d->nseen, 2);
}

/* In a process without rights; what it says ends up in d->fail. */
static enum ksm_err
open_as_nobody(struct desk *d)
{
	int pair[2], status;
	pid_t child;

	if (geteuid() != 0)
		return open_try(d);
	assert_int_equal(pipe(pair), 0);
	child = fork();
	assert_int_not_equal(child, -1);
	if (child == 0) {
		enum ksm_err err = KSM_ENOMEM;

		if (setgid(NOBODY) == 0 && setuid(NOBODY) == 0)
			err = open_try(d);
		(void)!write(pair[1], d->fail.text, sizeof(d->fail.text));
		_exit(err);
	}
	assert_int_equal(read(pair[0], d->fail.text, sizeof(d->fail.text)),
	    sizeof(d->fail.text));
	(void)close(pair[0]);
	(void)close(pair[1]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return (enum ksm_err)WEXITSTATUS(status);
}

static void
what_the_system_refuses_is_named(void **ctx)
{
	struct desk *d = *ctx;
	char words[64], other[200];

	(void)snprintf(words, sizeof(words), "Permission denied for uid %d",
	    geteuid() == 0 ? NOBODY : (int)geteuid());
	/* a directory that is closed to us */
	assert_int_equal(chmod(d->dir, 0555), 0);
	assert_int_equal(open_as_nobody(d), KSM_ESYS);
	says(d, words);
	says(d, d->path);
	assert_int_equal(chmod(d->dir, 0755), 0);
	/* a file that is */
	file_put(d->path, head, strlen(head));
	assert_int_equal(chmod(d->path, 0444), 0);
	assert_int_equal(open_as_nobody(d), KSM_ESYS);
	says(d, words);
	assert_int_equal(unlink(d->path), 0);

	/* what is no file */
	assert_int_equal(mkdir(d->path, 0700), 0);
	assert_int_equal(open_try(d), KSM_ESYS);
	says(d, "Is a directory");
	assert_int_equal(rmdir(d->path), 0);
	assert_int_equal(mkfifo(d->path, 0600), 0);
	assert_int_equal(open_try(d), KSM_EREFUSED);
	says(d, "it is no regular file");
	assert_int_equal(unlink(d->path), 0);
	/* a link may lead anywhere */
	(void)snprintf(other, sizeof(other), "%s/elsewhere", d->dir);
	assert_int_equal(symlink(other, d->path), 0);
	assert_int_equal(open_try(d), KSM_ESYS);
	says(d, "symbolic links");
	assert_int_equal(access(other, F_OK), -1);
	assert_int_equal(unlink(d->path), 0);
	/* a directory that is not there */
	(void)snprintf(d->path, sizeof(d->path), "%s/no/journal", d->dir);
	assert_int_equal(open_try(d), KSM_ESYS);
	says(d, "No such file or directory for uid");
	says(d, d->path);
}

/* ---- writing that fails -------------------------------------------------- */

static void
room_is(rlim_t bytes)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* Three more must fail, and nothing of it is there. */
static void
append_leaves_nothing(struct desk *d, const char *words)
{
	static char before[FILE_MAX], after[FILE_MAX];
	struct handout h[3] = { handout_no(7), handout_no(8), handout_no(9) };
	struct handout_line lines[3];
	uint8_t hash[DIGEST_LEN], now[DIGEST_LEN];
	int64_t head_was = journal_head(d->j, hash);
	size_t n = file_get(d->path, before);

	assert_int_equal(journal_append(d->j, h, 3, lines, &d->fail),
	    KSM_ESYS);
	room_is(RLIM_INFINITY);
	no_sync = false;
	says(d, words);
	says(d, d->path);
	for (size_t i = 0; i < 3; i++)
		assert_null(lines[i].text);
	assert_int_equal(journal_head(d->j, now), head_was);
	assert_memory_equal(now, hash, DIGEST_LEN);
	assert_int_equal(file_get(d->path, after), n);
	assert_memory_equal(before, after, n);
	assert_int_equal(journal_look(d->j, &d->fail), KSM_OK);
}

static void
what_cannot_be_written_leaves_nothing(void **ctx)
{
	static char text[FILE_MAX];
	struct desk *d = *ctx;
	size_t len;

	(void)signal(SIGXFSZ, SIG_IGN);
	desk_open(d);
	append(d, 0, 2);
	len = file_get(d->path, text);
	/* not a byte, a part of a line, a line and a part */
	for (size_t more = 0; more < 1200; more += 300) {
		room_is(len + more);
		append_leaves_nothing(d, "it cannot be written: File too "
					 "large for uid");
	}
	/* room again: it goes on where it was */
	append(d, 2, 1);
	desk_close(d);
	desk_open(d);
	assert_int_equal(d->nseen, 3);
	assert_int_equal(d->cut, 0);
}

static void
a_new_one_without_room_is_no_journal(void **ctx)
{
	static char text[FILE_MAX];
	struct desk *d = *ctx;

	(void)signal(SIGXFSZ, SIG_IGN);
	room_is(10);
	assert_int_equal(open_try(d), KSM_ESYS);
	room_is(RLIM_INFINITY);
	says(d, "it cannot be written: File too large");
	assert_int_equal(file_get(d->path, text), 0);
	desk_open(d);
}

static void
what_may_be_on_disk_is_not_known(void **ctx)
{
	struct desk *d = *ctx;
	struct handout h = handout_no(3);
	struct handout_line line;

	desk_open(d);
	append(d, 0, 2);
	/* it is written and not synced, and cannot be taken back */
	no_sync = true;
	assert_int_equal(journal_append(d->j, &h, 1, &line, &d->fail),
	    KSM_EUNKNOWN);
	no_sync = false;
	assert_null(line.text);
	says(d, "what it holds now is not known: hand-out journal ");
	says(d, "it cannot be written: Input/output error");
	assert_int_equal(journal_head(d->j, NULL), 2);
	/* nothing more before it was read again */
	assert_int_equal(journal_look(d->j, &d->fail), KSM_EREFUSED);
	says(d, "is not known after a failed write; restart ksmpoold");
	assert_int_equal(journal_append(d->j, &h, 1, &line, &d->fail),
	    KSM_ESYS);
	assert_null(line.text);
	says(d, "restart ksmpoold");
	desk_close(d);
	desk_open(d);
	assert_int_equal(journal_look(d->j, &d->fail), KSM_OK);
	append(d, (int)d->nseen, 1);
}

static void
what_cannot_be_cut_off_is_not_known(void **ctx)
{
	static char text[FILE_MAX];
	struct desk *d = *ctx;
	struct handout h = handout_no(3);
	struct handout_line line;

	(void)signal(SIGXFSZ, SIG_IGN);
	desk_open(d);
	append(d, 0, 2);
	no_truncate = true;
	room_is(file_get(d->path, text) + 300);
	assert_int_equal(journal_append(d->j, &h, 1, &line, &d->fail),
	    KSM_EUNKNOWN);
	room_is(RLIM_INFINITY);
	assert_null(line.text);
	desk_close(d);
	must_not_open(d, KSM_ESYS,
	    "its torn last line cannot be cut off: Input/output error");
	no_truncate = false;
	desk_open(d);
	assert_int_equal(d->cut, 300);
	assert_int_equal(d->nseen, 2);
}

static void
a_file_that_is_not_ours_any_more_is_not_written_to(void **ctx)
{
	static char text[FILE_MAX];
	struct desk *d = *ctx;
	struct handout h = handout_no(3);
	struct handout_line line;
	char away[200];
	size_t len;

	desk_open(d);
	append(d, 0, 2);
	len = file_get(d->path, text);
	(void)snprintf(away, sizeof(away), "%s/away", d->dir);

	assert_int_equal(rename(d->path, away), 0);
	assert_int_equal(journal_look(d->j, &d->fail), KSM_ENOENT);
	says(d, "the file was removed");
	assert_int_equal(journal_append(d->j, &h, 1, &line, &d->fail),
	    KSM_ESYS);
	assert_null(line.text);
	says(d, "the file was removed");
	assert_int_equal(access(d->path, F_OK), -1);

	file_put(d->path, text, len); /* byte for byte, and another */
	assert_int_equal(journal_look(d->j, &d->fail), KSM_EREFUSED);
	says(d, "another file has its name now");
	assert_int_equal(journal_append(d->j, &h, 1, &line, &d->fail),
	    KSM_ESYS);
	assert_int_equal(file_get(d->path, text), len);

	assert_int_equal(rename(away, d->path), 0);
	assert_int_equal(journal_look(d->j, &d->fail), KSM_OK);
	assert_int_equal(truncate(d->path, (off_t)len - 1), 0);
	assert_int_equal(journal_look(d->j, &d->fail), KSM_EREFUSED);
	says(d, "bytes, and we wrote");
	file_put(d->path, text, len); /* the same file, its text again */
	append(d, 3, 1);
	assert_true(file_get(d->path, text) > len);
	assert_int_equal(journal_look(d->j, &d->fail), KSM_OK);
}

/* ---- written again -------------------------------------------------------- */

static void
a_journal_is_written_again_line_by_line(void **ctx)
{
	static char whole[FILE_MAX], text[FILE_MAX];
	struct desk *d = *ctx;
	char *lines[4], broken[HANDOUT_LINE];
	size_t len;

	written(d, 4);
	len = file_get(d->path, whole);
	desk_open(d);
	for (size_t i = 0; i < 4; i++)
		lines[i] = strdup(d->lines[i].text);
	desk_close(d);
	assert_int_equal(unlink(d->path), 0);
	desk_open(d);
	(void)snprintf(broken, sizeof(broken), "%s", lines[0]);
	broken[strlen(broken) - 1] = ']';
	for (int i = 0; i < 4; i++) {
		/* nothing but the next one follows */
		for (int k = 0; k < 4; k++)
			if (k != i) {
				assert_int_equal(journal_append_text(d->j,
						     lines[k], &d->fail),
				    KSM_EREFUSED);
				says(d, "does not follow hand-out");
				says(d, d->path);
			}
		assert_int_equal(journal_append_text(d->j, broken, &d->fail),
		    KSM_EREFUSED);
		says(d, "it is no JSON");
		assert_int_equal(journal_append_text(d->j, lines[i],
				     &d->fail), KSM_OK);
		assert_int_equal(journal_head(d->j, NULL), i + 1);
	}
	assert_int_equal(journal_sync(d->j, &d->fail), KSM_OK);
	desk_close(d);
	assert_int_equal(file_get(d->path, text), len);
	assert_string_equal(text, whole);

	/* the number is not enough: what it follows must be the same */
	assert_int_equal(unlink(d->path), 0);
	desk_open(d);
	append(d, 5, 1);
	assert_int_equal(journal_append_text(d->j, lines[1], &d->fail),
	    KSM_EREFUSED);
	says(d, "hand-out 2 does not follow hand-out 1 of");
	for (size_t i = 0; i < 4; i++)
		free(lines[i]);
}

static void
what_was_not_synced_is_not_known(void **ctx)
{
	struct desk *d = *ctx;

	desk_open(d);
	append(d, 0, 1);
	no_sync = true;
	assert_int_equal(journal_sync(d->j, &d->fail), KSM_ESYS);
	no_sync = false;
	says(d, "it cannot be synced: Input/output error");
	assert_int_equal(journal_look(d->j, &d->fail), KSM_EREFUSED);
}

/* ---- set aside, and salvaged ------------------------------------------------ */

static void
what_is_set_aside_is_never_written_over(void **ctx)
{
	static char text[FILE_MAX];
	struct desk *d = *ctx;
	char aside[512], want[512], longest[600];

	assert_int_equal(journal_set_aside(d->path, aside, &d->fail), KSM_OK);
	assert_string_equal(aside, "");
	for (int i = 1; i <= 12; i++) {
		(void)snprintf(text, sizeof(text), "the %dth", i);
		file_put(d->path, text, strlen(text));
		assert_int_equal(journal_set_aside(d->path, aside, &d->fail),
		    KSM_OK);
		(void)snprintf(want, sizeof(want), "%s.set-aside-%d", d->path,
		    i);
		assert_string_equal(aside, want);
		assert_int_equal(access(d->path, F_OK), -1);
	}
	for (int i = 1; i <= 12; i++) {
		(void)snprintf(aside, sizeof(aside), "%s.set-aside-%d",
		    d->path, i);
		(void)snprintf(want, sizeof(want), "the %dth", i);
		(void)file_get(aside, text);
		assert_string_equal(text, want);
	}
	memset(longest, 'x', sizeof(longest));
	longest[0] = '/';
	longest[511] = '\0';
	assert_int_equal(journal_set_aside(longest, aside, &d->fail),
	    KSM_EREFUSED);
	(void)snprintf(longest, sizeof(longest), "%s/no/journal", d->dir);
	assert_int_equal(journal_set_aside(longest, aside, &d->fail), KSM_OK);
	assert_string_equal(aside, "");
}

static void
what_cannot_be_set_aside_stays(void **ctx)
{
	static char text[FILE_MAX];
	struct desk *d = *ctx;
	char aside[512];

	file_put(d->path, "x", 1);
	no_sync = true;
	assert_int_equal(journal_set_aside(d->path, aside, &d->fail),
	    KSM_ESYS);
	no_sync = false;
	says(d, "its directory cannot be synced");
	assert_int_equal(file_get(aside, text), 1); /* it is not lost */
}

static enum ksm_err
gather(void *ctx, const struct handout *h, struct ksm_fail *fail)
{
	struct desk *d = ctx;

	if (d->answer != KSM_OK)
		return ksm_failf(fail, d->answer, "the gatherer says no");
	assert_true(d->nseen < SEEN_MAX);
	d->lines[d->nseen].text = NULL;
	d->seen[d->nseen++] = *h;
	return KSM_OK;
}

static void
every_line_that_can_be_read_is_salvaged(void **ctx)
{
	static char whole[FILE_MAX];
	struct desk *d = *ctx;
	FILE *f;

	assert_int_equal(journal_salvage(d->path, gather, d, &d->fail),
	    KSM_ESYS);
	says(d, "it cannot be read: No such file");

	written(d, 4);
	(void)file_get(d->path, whole);
	f = fopen(d->path, "we");
	assert_non_null(f);
	/* no first line; out of order, rubbish, NULs, half a line, a long one,
	 * and the last without its end */
	(void)fprintf(f, "%.*srubbish\n",
	    (int)(line_at(whole, 4) - line_at(whole, 3)), line_at(whole, 3));
	(void)fwrite("\0\0\0\0\n\n", 1, 6, f);
	(void)fprintf(f, "%.*s", (int)(line_at(whole, 3) - line_at(whole, 2)),
	    line_at(whole, 2));
	(void)fprintf(f, "%.100s\n", line_at(whole, 4));
	for (int i = 0; i < 2 * HANDOUT_LINE; i++)
		(void)fputc('x', f);
	(void)fprintf(f, "\n%.*s",
	    (int)(line_at(whole, 6) - line_at(whole, 5) - 1),
	    line_at(whole, 5));
	assert_int_equal(fclose(f), 0);

	assert_int_equal(journal_salvage(d->path, gather, d, &d->fail),
	    KSM_OK);
	assert_int_equal(d->nseen, 3);
	assert_int_equal(d->seen[0].number, 2);
	assert_int_equal(d->seen[1].number, 1);
	assert_int_equal(d->seen[2].number, 4);
	assert_string_equal(d->seen[2].zone, "zone3.example");

	/* whoever gathers may end it */
	d->answer = KSM_ESTORE;
	assert_int_equal(journal_salvage(d->path, gather, d, &d->fail),
	    KSM_ESTORE);
	says(d, "the gatherer says no");
}

int
main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_line_reads_as_it_was_written),
		T(the_longest_line_has_room),
		T(what_is_no_line_is_refused_with_words),
		T(what_cannot_be_is_refused_with_words),
		T(a_new_one_names_its_installation),
		T(what_is_written_is_read_again),
		T(what_is_known_is_only_chained),
		T(who_reads_the_lines_may_end_it),
		T(a_torn_last_line_is_cut_off),
		T(a_torn_first_line_is_written_again),
		T(a_file_that_is_none_is_refused_and_left_alone),
		T(lines_that_are_not_what_was_written_are_refused),
		T(only_one_may_hold_it),
		T(what_the_system_refuses_is_named),
		T(what_cannot_be_written_leaves_nothing),
		T(a_new_one_without_room_is_no_journal),
		T(what_may_be_on_disk_is_not_known),
		T(what_cannot_be_cut_off_is_not_known),
		T(a_file_that_is_not_ours_any_more_is_not_written_to),
		T(a_journal_is_written_again_line_by_line),
		T(what_was_not_synced_is_not_known),
		T(what_is_set_aside_is_never_written_over),
		T(what_cannot_be_set_aside_stays),
		T(every_line_that_can_be_read_is_salvaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
