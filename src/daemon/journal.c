#include "journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ksmpool/duration.h"
#include "ksmpool/fd.h"
#include "ksmpool/msg_ctl.h"
#include "ksmpool/text.h"

#define JOURNAL_VERSION 1
#define BLOCK_SIZE	65536

struct block {
	char *text;
	size_t len, room;
};

struct journal {
	char *path;
	int fd;
	dev_t dev;
	ino_t ino;
	int64_t size, number;
	uint8_t hash[DIGEST_LEN]; /* of the last line, the first one included */
	bool broken; /* what is on disk is not known */
	struct block pending; /* of journal_append_text, not written yet */
};

/* ---- a line ---------------------------------------------------------- */

char *
handout_encode(const struct handout *h, const uint8_t prev[DIGEST_LEN])
{
	char id[KEY_ID_HEX], chain[2 * DIGEST_LEN + 1], when[TIME_TEXT];
	json_t *line;
	char *text;

	key_id_format(&h->id, id);
	hex_format(prev, DIGEST_LEN, chain);
	time_format(h->when, when);
	line = json_pack("{s:I, s:s, s:s, s:I, s:s, s:o, s:o, s:s, s:o, s:i,"
	    " s:i, s:o, s:b, s:o, s:o, s:I, s:I, s:b, s:b, s:I, s:I}",
	    "n", (json_int_t)h->number, "prev", chain, "time", when, "time_s",
	    (json_int_t)h->when, "key", id, "zone", ctl_text(h->zone),
	    "policy", ctl_text(h->pool.policy), "role",
	    key_role_text(h->pool.role), "repository",
	    ctl_text(h->pool.repository), "algorithm", h->pool.alg, "size",
	    h->pool.bits, "share", ctl_text(h->share), "drawn", h->drawn,
	    "request", ctl_text(h->request), "consumer",
	    ctl_text(h->consumer), "uid", (json_int_t)h->who.uid, "pid",
	    (json_int_t)h->who.pid, "uncovered", h->uncovered, "outside",
	    h->outside, "serial", (json_int_t)h->serial, "mark",
	    (json_int_t)h->mark);
	if (line == NULL)
		return NULL;
	text = json_dumps(line, JSON_COMPACT);
	json_decref(line);
	if (text != NULL && strlen(text) >= HANDOUT_LINE) {
		free(text); /* cannot be: every field is bounded below that */
		text = NULL;
	}
	return text;
}

enum ksm_err
handout_decode(const char *text, size_t len, struct handout *h,
    uint8_t prev[DIGEST_LEN], struct ksm_fail *fail)
{
	const char *chain, *id, *zone, *policy, *role, *repository, *share;
	const char *request, *consumer, *when;
	json_int_t n, when_s, alg, bits, uid, pid, serial, mark;
	json_error_t why;
	json_t *line = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
	int drawn, uncovered, outside;
	enum ksm_err err = KSM_OK;

	memset(h, 0, sizeof(*h));
	if (line == NULL)
		return ksm_failf(fail, KSM_EREFUSED, "it is no JSON (%s)",
		    why.text);
	if (json_unpack_ex(line, &why, JSON_STRICT,
		"{s:I, s:s, s:s, s:I, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:s,"
		" s:b, s:s, s:s, s:I, s:I, s:b, s:b, s:I, s:I}",
		"n", &n, "prev", &chain, "time", &when, "time_s", &when_s,
		"key", &id, "zone", &zone, "policy", &policy, "role", &role,
		"repository", &repository, "algorithm", &alg, "size", &bits,
		"share", &share, "drawn", &drawn, "request",
		&request, "consumer", &consumer, "uid", &uid, "pid", &pid,
		"uncovered", &uncovered, "outside", &outside, "serial",
		&serial, "mark", &mark) == -1) {
		err = ksm_failf(fail, KSM_EREFUSED,
		    "it is no line of a hand-out journal (%s)", why.text);
	} else if (!key_id_parse(id, &h->id) ||
	    !hex_parse(chain, prev, DIGEST_LEN) || n < 1 ||
	    alg < 1 || alg > 255 || bits < 1 || bits > INT_MAX ||
	    !key_role_find(role, &h->pool.role) ||
	    !text_fit(zone, h->zone, sizeof(h->zone)) ||
	    !text_fit(policy, h->pool.policy, sizeof(h->pool.policy)) ||
	    !text_fit(repository, h->pool.repository,
		sizeof(h->pool.repository)) ||
	    !text_fit(share, h->share, sizeof(h->share)) ||
	    !text_fit(request, h->request, sizeof(h->request)) ||
	    !text_fit(consumer, h->consumer, sizeof(h->consumer))) {
		err = ksm_failf(fail, KSM_EREFUSED,
		    "one of its values cannot be");
	} else {
		h->number = n;
		h->when = when_s;
		h->pool.alg = (int)alg;
		h->pool.bits = (int)bits;
		h->who = (struct store_actor){ uid, pid };
		h->drawn = drawn != 0;
		h->uncovered = uncovered != 0;
		h->outside = outside != 0;
		h->serial = serial;
		h->mark = mark;
	}
	json_decref(line);
	return err;
}

/* Digits of a number that begins there; NULL: it does not. */
static const char *
digits_read(const char *at, const char *end, int64_t *out)
{
	int64_t n = 0;
	const char *p = at;

	for (; p < end && *p >= '0' && *p <= '9' && p - at < 18; p++)
		n = n * 10 + (*p - '0');
	*out = n;
	return p == at ? NULL : p;
}

/*
 * What holds the chain together, of a line just as handout_encode writes it:
 * to read all of each takes most of a start. False: look at it as a whole.
 */
static bool
frame_read(const char *text, size_t len, struct handout *h,
    uint8_t prev[DIGEST_LEN])
{
	static const char n[] = "{\"n\":", chain[] = ",\"prev\":\"";
	static const char mark[] = ",\"mark\":";
	const char *end = text + len, *p = text, *last = NULL;
	char hex[2 * DIGEST_LEN + 1];

	if (len < sizeof(n) + sizeof(chain) + sizeof(hex) + sizeof(mark) ||
	    memcmp(p, n, sizeof(n) - 1) != 0 ||
	    (p = digits_read(p + sizeof(n) - 1, end, &h->number)) == NULL ||
	    end - p < (ptrdiff_t)(sizeof(chain) + sizeof(hex)) ||
	    memcmp(p, chain, sizeof(chain) - 1) != 0)
		return false;
	p += sizeof(chain) - 1;
	memcpy(hex, p, sizeof(hex) - 1);
	hex[sizeof(hex) - 1] = '\0';
	for (const char *q = end - 1; q > p && *q != '"'; q--)
		last = q; /* behind the last quote: ":N}" */
	return p[sizeof(hex) - 1] == '"' && hex_parse(hex, prev, DIGEST_LEN) &&
	    last != NULL && last - text >= (ptrdiff_t)sizeof(mark) &&
	    memcmp(last - (sizeof(mark) - 2), mark, sizeof(mark) - 1) == 0 &&
	    (p = digits_read(last + 1, end, &h->mark)) != NULL &&
	    end - p == 1 && *p == '}';
}

/* ---- the file -------------------------------------------------------- */

static enum ksm_err
sys_failed(const struct journal *j, const char *what, struct ksm_fail *fail)
{
	return ksm_failf(fail, KSM_ESYS, "hand-out journal %s: %s: %s for uid "
	    "%d", j->path, what, strerror(errno), (int)geteuid());
}

static void
head_line(const uint8_t tag[KEY_TAG_LEN], char out[128])
{
	char hex[2 * KEY_TAG_LEN + 1];

	hex_format(tag, KEY_TAG_LEN, hex);
	(void)snprintf(out, 128,
	    "{\"journal\":\"ksmpool hand-outs\",\"v\":%d,"
	    "\"installation\":\"%s\"}",
	    JOURNAL_VERSION, hex);
}

enum ksm_err
journal_first_hash(const uint8_t tag[KEY_TAG_LEN], uint8_t hash[DIGEST_LEN],
    struct ksm_fail *fail)
{
	char head[128];

	head_line(tag, head);
	return digest_sha256(head, strlen(head), hash, fail);
}

static enum ksm_err
directory_sync(const struct journal *j, struct ksm_fail *fail)
{
	char *copy = strdup(j->path), *slash;
	enum ksm_err err = KSM_OK;
	int fd;

	if (copy == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "hand-out journal: no "
		    "memory");
	slash = strrchr(copy, '/');
	if (slash != NULL)
		slash[slash == copy ? 1 : 0] = '\0';
	fd = open(slash == NULL ? "." : copy,
	    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) != 0)
		err = sys_failed(j, "its directory cannot be synced", fail);
	fd_close(&fd);
	free(copy);
	return err;
}

/* Back to what it was, on disk too. */
static bool
take_back(struct journal *j)
{
	return ftruncate(j->fd, j->size) == 0 && fsync(j->fd) == 0;
}

/* `len` bytes that end whole lines, synced. */
static enum ksm_err
block_write(struct journal *j, const char *text, size_t len, bool sync,
    struct ksm_fail *fail)
{
	struct ksm_fail why = { .text = "" };

	if (fd_write_all(j->fd, text, len, &why) == KSM_OK &&
	    (!sync || fdatasync(j->fd) == 0)) {
		j->size += (int64_t)len;
		return KSM_OK;
	}
	(void)sys_failed(j, "it cannot be written", fail);
	if (take_back(j))
		return KSM_ESYS;
	j->broken = true;
	(void)ksm_fail_before(fail, "what it holds now is not known");
	return KSM_EUNKNOWN;
}

static enum ksm_err
not_ours(const char *head, struct ksm_fail *fail)
{
	return ksm_failf(fail, KSM_EREFUSED, "it is not the hand-out journal "
	    "of this installation: its first line should be %s", head);
}

/*
 * Is it a first line that was only begun? A file system that lost its power
 * may have zeroes for what was not written yet. Anything else without an end is
 * a file of somebody else's, and not ours to cut.
 */
static bool
head_begun(const char *text, size_t len, const char *head)
{
	while (len > 0 && text[len - 1] == '\0')
		len--;
	return len <= strlen(head) && memcmp(text, head, len) == 0;
}

/* What a reader of lines wants, and what it said. */
struct reading {
	const char *head; /* the first line, as it should be */
	int64_t known;	  /* up to here only the chain is looked at */
	journal_fn fn;
	void *ctx;
	struct handout h;
};

/* *h: all of it, or of a line that is known number and mark. */
static enum ksm_err
line_read(struct journal *j, struct reading *r, const char *text, size_t len,
    struct ksm_fail *fail)
{
	uint8_t prev[DIGEST_LEN];
	enum ksm_err err = KSM_OK;

	if (j->number >= r->known || !frame_read(text, len, &r->h, prev))
		err = handout_decode(text, len, &r->h, prev, fail);
	if (err != KSM_OK)
		return err;
	if (r->h.number != j->number + 1)
		return ksm_failf(fail, KSM_EREFUSED,
		    "hand-out %lld stands where %lld should be",
		    (long long)r->h.number, (long long)j->number + 1);
	if (memcmp(prev, j->hash, DIGEST_LEN) != 0)
		return ksm_failf(fail, KSM_EREFUSED,
		    "the line before it is not the one that was written: the "
		    "file was changed");
	return KSM_OK;
}

static enum ksm_err
line_take(struct journal *j, struct reading *r, const char *text, size_t len,
    int64_t line_no, struct ksm_fail *fail)
{
	struct handout_line line = { .text = (char *)text };
	enum ksm_err err = KSM_OK;

	if (line_no > 1)
		err = line_read(j, r, text, len, fail);
	else if (strlen(r->head) != len || memcmp(r->head, text, len) != 0)
		err = not_ours(r->head, fail);
	if (err == KSM_OK)
		err = digest_sha256(text, len, line.hash, fail);
	if (err == KSM_OK) {
		memcpy(j->hash, line.hash, DIGEST_LEN);
		if (line_no > 1) {
			j->number = r->h.number;
			err = r->fn(r->ctx, &r->h, &line, fail);
		}
		if (err != KSM_EREFUSED)
			return err;
	}
	(void)ksm_fail_before(fail, "hand-out journal %s:%lld", j->path,
	    (long long)line_no);
	return err;
}

/* Every whole line; *end: bytes up to the end of the last one. */
static enum ksm_err
lines_read(struct journal *j, struct reading *r, int64_t *end,
    struct ksm_fail *fail)
{
	FILE *in = NULL;
	char *line = NULL;
	size_t room = 0;
	enum ksm_err err = KSM_OK;
	int64_t line_no = 0;
	ssize_t len;
	int fd = fcntl(j->fd, F_DUPFD_CLOEXEC, 0);

	*end = 0;
	if (fd < 0 || lseek(fd, 0, SEEK_SET) != 0 ||
	    (in = fdopen(fd, "r")) == NULL) {
		err = sys_failed(j, "it cannot be read", fail);
		fd_close(&fd);
		return err;
	}
	while (err == KSM_OK && (len = getline(&line, &room, in)) > 0) {
		if (line[len - 1] != '\n') { /* torn */
			if (line_no == 0 &&
			    !head_begun(line, (size_t)len, r->head)) {
				err = not_ours(r->head, fail);
				(void)ksm_fail_before(fail,
				    "hand-out journal %s:1", j->path);
			}
			break;
		}
		line_no++;
		line[len - 1] = '\0';
		if (len > HANDOUT_LINE)
			err = ksm_failf(fail, KSM_EREFUSED,
			    "hand-out journal %s:%lld: a line of %zd bytes is "
			    "none of ours", j->path, (long long)line_no, len);
		else
			err = line_take(j, r, line, (size_t)len - 1, line_no,
			    fail);
		*end += len;
	}
	if (err == KSM_OK && ferror(in))
		err = sys_failed(j, "it cannot be read", fail);
	free(line);
	(void)fclose(in);
	return err;
}

static enum ksm_err
file_open(struct journal *j, struct ksm_fail *fail)
{
	struct stat st;

	j->fd = open(j->path,
	    O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
	    0640);
	if (j->fd < 0 || fstat(j->fd, &st) != 0)
		return sys_failed(j, "it cannot be opened", fail);
	if (!S_ISREG(st.st_mode))
		return ksm_failf(fail, KSM_EREFUSED,
		    "hand-out journal %s: it is no regular file", j->path);
	if (flock(j->fd, LOCK_EX | LOCK_NB) != 0)
		return errno == EWOULDBLOCK
		    ? ksm_failf(fail, KSM_EBUSY, "hand-out journal %s: another "
			  "process holds it", j->path)
		    : sys_failed(j, "it cannot be locked", fail);
	j->dev = st.st_dev;
	j->ino = st.st_ino;
	j->size = st.st_size;
	return KSM_OK;
}

enum ksm_err
journal_open(const char *path, const uint8_t tag[KEY_TAG_LEN], int64_t known,
    journal_fn fn, void *ctx, struct journal **out, int64_t *cut,
    struct ksm_fail *fail)
{
	struct journal *j = calloc(1, sizeof(*j));
	struct reading *r = calloc(1, sizeof(*r));
	char head[128];
	enum ksm_err err;
	int64_t end = 0;

	*cut = 0;
	if (j != NULL)
		j->fd = -1;
	if (j == NULL || r == NULL || (j->path = strdup(path)) == NULL) {
		err = ksm_failf(fail, KSM_ENOMEM, "hand-out journal: no "
		    "memory");
		goto fail;
	}
	head_line(tag, head);
	r->head = head;
	r->known = known;
	r->fn = fn;
	r->ctx = ctx;
	if ((err = file_open(j, fail)) != KSM_OK ||
	    (err = lines_read(j, r, &end, fail)) != KSM_OK)
		goto fail;
	if (end < j->size) {
		*cut = j->size - end;
		j->size = end;
		if (!take_back(j)) {
			err = sys_failed(j, "its torn last line cannot be cut "
					    "off", fail);
			goto fail;
		}
	}
	if (end == 0) {
		size_t len = strlen(head);

		if ((err = digest_sha256(head, len, j->hash, fail)) != KSM_OK)
			goto fail;
		head[len] = '\n';
		if ((err = block_write(j, head, len + 1, true, fail)) !=
			KSM_OK ||
		    (err = directory_sync(j, fail)) != KSM_OK)
			goto fail;
	}
	*out = j;
	free(r);
	return KSM_OK;
fail:
	journal_close(j);
	free(r);
	return err;
}

void
journal_close(struct journal *j)
{
	if (j == NULL)
		return;
	fd_close(&j->fd);
	free(j->pending.text);
	free(j->path);
	free(j);
}

int64_t
journal_head(const struct journal *j, uint8_t hash[DIGEST_LEN])
{
	if (hash != NULL)
		memcpy(hash, j->hash, DIGEST_LEN);
	return j->number;
}

enum ksm_err
journal_look(const struct journal *j, struct ksm_fail *fail)
{
	struct stat st;

	if (j->broken)
		return ksm_failf(fail, KSM_EREFUSED,
		    "hand-out journal %s: what it holds is not known after a "
		    "failed write; restart ksmpoold, which reads it again",
		    j->path);
	if (stat(j->path, &st) != 0)
		return errno == ENOENT
		    ? ksm_failf(fail, KSM_ENOENT,
			  "hand-out journal %s: the file was removed", j->path)
		    : sys_failed(j, "it cannot be looked at", fail);
	if (st.st_dev != j->dev || st.st_ino != j->ino)
		return ksm_failf(fail, KSM_EREFUSED,
		    "hand-out journal %s: another file has its name now",
		    j->path);
	if (st.st_size != j->size)
		return ksm_failf(fail, KSM_EREFUSED,
		    "hand-out journal %s: it has %lld bytes, and we wrote %lld",
		    j->path, (long long)st.st_size, (long long)j->size);
	return KSM_OK;
}

/* ---- writing --------------------------------------------------------- */

static bool
block_add(struct block *b, const char *line)
{
	size_t len = strlen(line);

	if (b->len + len + 1 > b->room) {
		size_t want = (b->len + len + 1) * 2;
		char *p = realloc(b->text, want);

		if (p == NULL)
			return false;
		b->text = p;
		b->room = want;
	}
	memcpy(b->text + b->len, line, len);
	b->text[b->len + len] = '\n';
	b->len += len + 1;
	return true;
}

/*
 * What journal_append_text has not written yet. Number and hash are those of
 * its last line: when it fails they are not those of the file.
 */
static enum ksm_err
pending_write(struct journal *j, struct ksm_fail *fail)
{
	enum ksm_err err = KSM_OK;

	if (j->pending.len > 0)
		err = block_write(j, j->pending.text, j->pending.len, false,
		    fail);
	j->pending.len = 0;
	j->broken = j->broken || err != KSM_OK;
	return err;
}

enum ksm_err
journal_append(struct journal *j, struct handout *h, size_t n,
    struct handout_line *lines, struct ksm_fail *fail)
{
	struct block b = { .text = NULL };
	const uint8_t *prev = j->hash;
	enum ksm_err err;

	for (size_t i = 0; i < n; i++)
		lines[i].text = NULL;
	err = pending_write(j, fail);
	if (err == KSM_OK)
		err = journal_look(j, fail);
	if (err != KSM_OK)
		return KSM_ESYS;
	for (size_t i = 0; i < n; i++) {
		h[i].number = j->number + 1 + (int64_t)i;
		lines[i].text = handout_encode(&h[i], prev);
		if (lines[i].text == NULL || !block_add(&b, lines[i].text)) {
			(void)ksm_failf(fail, KSM_ENOMEM,
			    "hand-out journal: no memory");
			err = KSM_ESYS;
			goto out;
		}
		err = digest_sha256(lines[i].text, strlen(lines[i].text),
		    lines[i].hash, fail);
		if (err != KSM_OK)
			goto out;
		prev = lines[i].hash;
	}
	err = block_write(j, b.text, b.len, true, fail);
	if (err == KSM_OK && n > 0) {
		j->number += (int64_t)n;
		memcpy(j->hash, lines[n - 1].hash, DIGEST_LEN);
	}
out:
	free(b.text);
	if (err != KSM_OK)
		for (size_t i = 0; i < n; i++) {
			free(lines[i].text);
			lines[i].text = NULL;
		}
	return err;
}

enum ksm_err
journal_append_text(struct journal *j, const char *text, struct ksm_fail *fail)
{
	struct handout *h = calloc(1, sizeof(*h));
	uint8_t prev[DIGEST_LEN], hash[DIGEST_LEN];
	size_t len = strlen(text);
	enum ksm_err err = KSM_OK;

	if (h == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "hand-out journal: no "
		    "memory");
	if (!frame_read(text, len, h, prev))
		err = handout_decode(text, len, h, prev, fail);
	if (err == KSM_OK && (h->number != j->number + 1 ||
		memcmp(prev, j->hash, DIGEST_LEN) != 0))
		err = ksm_failf(fail, KSM_EREFUSED,
		    "hand-out %lld does not follow hand-out %lld of %s",
		    (long long)h->number, (long long)j->number, j->path);
	if (err == KSM_OK)
		err = digest_sha256(text, len, hash, fail);
	if (err == KSM_OK && j->pending.len + len >= BLOCK_SIZE)
		err = pending_write(j, fail);
	if (err == KSM_OK && !block_add(&j->pending, text))
		err = ksm_failf(fail, KSM_ENOMEM, "hand-out journal: no "
		    "memory");
	if (err == KSM_OK) {
		j->number = h->number;
		memcpy(j->hash, hash, DIGEST_LEN);
	}
	free(h);
	return err;
}

enum ksm_err
journal_sync(struct journal *j, struct ksm_fail *fail)
{
	enum ksm_err err = pending_write(j, fail);

	if (err != KSM_OK)
		return err;
	if (fsync(j->fd) == 0)
		return KSM_OK;
	j->broken = true;
	return sys_failed(j, "it cannot be synced", fail);
}

/* ---- a file that is not what it should be -------------------------------- */

#define ASIDE	   ".set-aside-"
#define ASIDE_MOST 9999

static enum ksm_err
too_long(const char *path, struct ksm_fail *fail)
{
	return ksm_failf(fail, KSM_EREFUSED,
	    "hand-out journal %s: its path is too long", path);
}

enum ksm_err
journal_set_aside(const char *path, char aside[512], struct ksm_fail *fail)
{
	struct journal j = { .path = (char *)path, .fd = -1 };

	for (int i = 1; i <= ASIDE_MOST; i++) {
		if (snprintf(aside, 512, "%s" ASIDE "%d", path, i) >= 512)
			return too_long(path, fail);
		if (fd_rename_new(AT_FDCWD, path, aside) == 0)
			return directory_sync(&j, fail);
		if (errno == ENOENT) {
			aside[0] = '\0';
			return KSM_OK;
		}
		if (errno != EEXIST)
			break;
	}
	return sys_failed(&j, "it cannot be set aside", fail);
}

enum ksm_err
journal_salvage(const char *path, salvage_fn fn, void *ctx,
    struct ksm_fail *fail)
{
	struct journal j = { .path = (char *)path, .fd = -1 };
	struct handout *h = calloc(1, sizeof(*h));
	uint8_t prev[DIGEST_LEN];
	enum ksm_err err = KSM_OK;
	struct ksm_fail ignored;
	struct stat st;
	char *line = NULL;
	size_t room = 0;
	ssize_t len;
	FILE *in = NULL;

	if (h == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "hand-out journal: no "
		    "memory");
	j.fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (j.fd < 0 || fstat(j.fd, &st) != 0) {
		err = sys_failed(&j, "it cannot be read", fail);
		goto out;
	}
	if (!S_ISREG(st.st_mode)) {
		err = ksm_failf(fail, KSM_EREFUSED,
		    "hand-out journal %s: it is no regular file", path);
		goto out;
	}
	if ((in = fdopen(j.fd, "r")) == NULL) {
		err = sys_failed(&j, "it cannot be read", fail);
		goto out;
	}
	j.fd = -1;
	while (err == KSM_OK && (len = getline(&line, &room, in)) > 0)
		if (handout_decode(line, (size_t)len, h, prev, &ignored) ==
		    KSM_OK)
			err = fn(ctx, h, fail);
	if (err == KSM_OK && ferror(in))
		err = sys_failed(&j, "it cannot be read", fail);
out:
	if (in != NULL)
		(void)fclose(in);
	fd_close(&j.fd);
	free(line);
	free(h);
	return err;
}

/* Whoever has it open writes on in it, whatever name it gets. */
static enum ksm_err
unheld(const char *path, struct ksm_fail *fail)
{
	struct journal j = { .path = (char *)path, .fd = -1 };
	enum ksm_err err = KSM_OK;

	j.fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (j.fd < 0)
		return sys_failed(&j, "it cannot be read", fail);
	if (flock(j.fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
		err = ksm_failf(fail, KSM_EBUSY,
		    "hand-out journal %s: another process holds it", path);
	fd_close(&j.fd);
	return err;
}

enum ksm_err
journal_salvage_old(const char *path, bool ours, salvage_fn fn, void *ctx,
    struct ksm_fail *fail)
{
	struct stat st;
	enum ksm_err err = KSM_OK;

	if (lstat(path, &st) != 0 && errno == ENOENT)
		return KSM_OK;
	if (!ours)
		err = unheld(path, fail);
	return err == KSM_OK ? journal_salvage(path, fn, ctx, fail) : err;
}

enum ksm_err
journal_salvage_asides(const char *path, salvage_fn fn, void *ctx,
    struct ksm_fail *fail)
{
	struct journal j = { .path = (char *)path, .fd = -1 };
	enum ksm_err err = KSM_OK;
	struct dirent **found = NULL;
	char *where = NULL, *prefix = NULL, *aside = NULL, *slash;
	int n = 0;

	if ((where = strdup(path)) == NULL)
		goto no_memory;
	slash = strrchr(where, '/');
	if (asprintf(&prefix, "%s" ASIDE, slash == NULL ? where : slash + 1) < 0)
		goto no_memory;
	if (slash != NULL)
		slash[slash == where ? 1 : 0] = '\0';
	n = scandir(slash == NULL ? "." : where, &found, NULL, versionsort);
	if (n < 0 && errno != ENOENT)
		err = sys_failed(&j, "its directory cannot be read", fail);
	for (int i = 0; err == KSM_OK && i < n; i++) {
		if (strncmp(found[i]->d_name, prefix, strlen(prefix)) != 0)
			continue;
		free(aside);
		if (asprintf(&aside, "%s/%s", slash == NULL ? "." : where,
			found[i]->d_name) < 0) {
			aside = NULL;
			goto no_memory;
		}
		err = journal_salvage(aside, fn, ctx, fail);
	}
	goto out;
no_memory:
	err = ksm_failf(fail, KSM_ENOMEM, "hand-out journal: no memory");
out:
	for (int i = 0; i < n; i++)
		free(found[i]);
	free(found);
	free(aside);
	free(prefix);
	free(where);
	return err;
}

static bool
new_name(const char *path, char out[512])
{
	return snprintf(out, 512, "%s.new", path) < 512;
}

static enum ksm_err
no_line(void *ctx, const struct handout *h, const struct handout_line *line,
    struct ksm_fail *fail)
{
	(void)ctx;
	(void)line;
	return ksm_failf(fail, KSM_EREFUSED, "hand-out %lld in a new file",
	    (long long)h->number);
}

enum ksm_err
journal_new_remove(const char *path, struct ksm_fail *fail)
{
	char temp[512];
	struct journal j = { .path = temp, .fd = -1 };

	if (!new_name(path, temp))
		return too_long(path, fail);
	if (unlink(temp) != 0 && errno != ENOENT)
		return sys_failed(&j, "an old one cannot be removed", fail);
	return KSM_OK;
}

enum ksm_err
journal_create(const char *path, const uint8_t tag[KEY_TAG_LEN],
    struct journal **out, struct ksm_fail *fail)
{
	char temp[512];
	enum ksm_err err;
	int64_t cut;

	/* One that was begun by somebody who was killed then. */
	err = journal_new_remove(path, fail);
	if (err != KSM_OK || !new_name(path, temp))
		return err;
	return journal_open(temp, tag, 0, no_line, NULL, out, &cut, fail);
}

enum ksm_err
journal_place(struct journal *j, const char *path, char aside[512],
    struct ksm_fail *fail)
{
	char *copy = strdup(path);
	enum ksm_err err;

	aside[0] = '\0';
	if (copy == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "hand-out journal: no "
		    "memory");
	err = journal_set_aside(path, aside, fail);
	if (err == KSM_OK && fd_rename_new(AT_FDCWD, j->path, path) != 0)
		err = sys_failed(j, "it cannot get its name", fail);
	if (err != KSM_OK) {
		free(copy);
		return err;
	}
	free(j->path);
	j->path = copy;
	err = directory_sync(j, fail);
	/* Which file has the name after a crash is not known. */
	j->broken = err != KSM_OK;
	return err;
}
