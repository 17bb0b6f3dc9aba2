#include "ksmpool/zoneindex.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ksmpool/dnsname.h"
#include "ksmpool/fd.h"
#include "ksmpool/hash.h"

/*
 * struct head, then the records, sorted by hash, then the text: one NUL, the
 * policies and the owners, each with its NUL, and the names of the zones, each
 * after a byte that says how long it is. A name ends with the root label, so
 * the last byte of the text is a NUL whatever it holds. Offsets count from the
 * text's start, and 0 stands for nothing. Numbers are this host's: it never
 * leaves it.
 */
static const char magic[8] = "ksmzones";
#define VERSION 2
#define SEALS	(F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

struct head {
	char magic[8];
	uint64_t version;
	uint64_t zones;
	uint64_t text; /* its bytes */
	uint64_t seed; /* of the hash */
};

struct record {
	uint32_t hash; /* two zones may have the same one: names decide */
	uint32_t name;
	uint32_t policy, owner; /* 0: none */
};

struct zoneindex {
	void *map;
	size_t size;
	const struct head *head;
	const struct record *records;
	const char *text;
};

static uint32_t
name_hash(uint64_t seed, const uint8_t *name, size_t len)
{
	return (uint32_t)hash_bytes(seed, name, len);
}

/* ---- making one ------------------------------------------------------ */

static int
record_order(const void *a, const void *b)
{
	const struct record *x = a, *y = b;

	return x->hash < y->hash ? -1 : x->hash > y->hash;
}

static char *
names_put(char *at, const struct zoneindex_names *names)
{
	if (names->bytes > 0)
		memcpy(at, names->text, names->bytes);
	return at + names->bytes;
}

static void
records_fill(char *map, const struct zoneindex_source *from, uint64_t seed)
{
	struct record *records =
	    (struct record *)(void *)(map + sizeof(struct head));
	char *text = (char *)(records + from->zones), *at = text + 1;

	at = names_put(at, &from->policies);
	at = names_put(at, &from->owners);
	for (size_t i = 0; i < from->zones; i++) {
		struct zoneindex_zone z;

		from->next(from->ctx, &z);
		assert(z.policy <= from->policies.bytes);
		assert(z.owner <= from->owners.bytes);
		records[i] = (struct record){
			.hash = name_hash(seed, z.name, z.len),
			.name = (uint32_t)(at - text),
			.policy = z.policy,
			.owner = z.owner == 0
			    ? 0
			    : z.owner + (uint32_t)from->policies.bytes,
		};
		*at++ = (char)z.len;
		memcpy(at, z.name, z.len);
		at += z.len;
	}
	qsort(records, from->zones, sizeof(*records), record_order);
}

/* Memory for one, to be written; *map is MAP_FAILED when there is none. */
static enum ksm_err
memory_make(size_t size, int *fd, char **map, struct ksm_fail *fail)
{
	*fd = memfd_create("zones", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	/* a page that is not there any more is an answer here, not a signal */
	if (*fd == -1 || ftruncate(*fd, (off_t)size) == -1 ||
	    (errno = posix_fallocate(*fd, 0, (off_t)size)) != 0 ||
	    (*map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, *fd,
		 0)) == MAP_FAILED)
		return ksm_failf(fail, KSM_ESYS,
		    "index of zones: %zu bytes of memory: %s", size,
		    strerror(errno));
	return KSM_OK;
}

/* Nobody changes it from here on: it is the caller's. */
static enum ksm_err
memory_seal(size_t size, int *memory, char **map, int *fd,
    struct ksm_fail *fail)
{
	(void)munmap(*map, size);
	*map = MAP_FAILED; /* nobody may have it open for writing now */
	if (fcntl(*memory, F_ADD_SEALS, SEALS) == -1)
		return ksm_failf(fail, KSM_ESYS,
		    "seal the index of zones: %s", strerror(errno));
	*fd = *memory;
	*memory = -1;
	return KSM_OK;
}

enum ksm_err
zoneindex_make(const struct zoneindex_source *from, int *fd,
    struct ksm_fail *fail)
{
	struct head head = {
		.version = VERSION,
		.zones = from->zones,
		.text = 1 + from->policies.bytes + from->owners.bytes +
		    from->name_bytes + from->zones,
	};
	size_t size = sizeof(head) + from->zones * sizeof(struct record) +
	    head.text;
	enum ksm_err err;
	char *map = MAP_FAILED;
	int memory = -1;

	if (head.text > UINT32_MAX)
		return ksm_failf(fail, KSM_EREFUSED,
		    "index of zones: %zu zones with %llu bytes of names, at "
		    "most %lu", from->zones, (unsigned long long)head.text,
		    (unsigned long)UINT32_MAX);
	memcpy(head.magic, magic, sizeof(magic));
	/* without chance the order is another, and nothing else */
	(void)!getrandom(&head.seed, sizeof(head.seed), GRND_NONBLOCK);

	err = memory_make(size, &memory, &map, fail);
	if (err != KSM_OK)
		goto out;
	memcpy(map, &head, sizeof(head));
	records_fill(map, from, head.seed);
	err = memory_seal(size, &memory, &map, fd, fail);
out:
	if (map != MAP_FAILED)
		(void)munmap(map, size);
	fd_close(&memory);
	return err;
}

enum ksm_err
zoneindex_again(const void *bytes, size_t len, int *fd, struct ksm_fail *fail)
{
	enum ksm_err err;
	char *map = MAP_FAILED;
	int memory = -1;

	err = memory_make(len, &memory, &map, fail);
	if (err != KSM_OK)
		goto out;
	memcpy(map, bytes, len);
	err = memory_seal(len, &memory, &map, fd, fail);
out:
	if (map != MAP_FAILED)
		(void)munmap(map, len);
	fd_close(&memory);
	return err;
}

/* ---- searching one --------------------------------------------------- */

static enum ksm_err
damaged(struct ksm_fail *fail, const char *what)
{
	return ksm_failf(fail, KSM_EPROTO, "index of zones: %s", what);
}

/* Everything that can be said without looking at each record. */
static enum ksm_err
head_check(const struct zoneindex *zi, struct ksm_fail *fail)
{
	const struct head *h = zi->head;
	uint64_t rest = zi->size - sizeof(*h);

	if (memcmp(h->magic, magic, sizeof(magic)) != 0)
		return damaged(fail, "it is none");
	if (h->version != VERSION)
		return ksm_failf(fail, KSM_EPROTO,
		    "index of zones: version %llu, this is version %d",
		    (unsigned long long)h->version, VERSION);
	if (h->zones > rest / sizeof(struct record) ||
	    h->text != rest - h->zones * sizeof(struct record))
		return ksm_failf(fail, KSM_EPROTO,
		    "index of zones: %zu bytes do not hold %llu zones and "
		    "%llu bytes of names", zi->size,
		    (unsigned long long)h->zones, (unsigned long long)h->text);
	if (h->text == 0 || h->text > UINT32_MAX ||
	    zi->text[h->text - 1] != '\0')
		return damaged(fail, "its names have no end");
	return KSM_OK;
}

enum ksm_err
zoneindex_open(int fd, struct zoneindex **out, struct ksm_fail *fail)
{
	struct zoneindex *zi = NULL;
	enum ksm_err err = KSM_OK;
	struct stat st;
	int seals;

	seals = fcntl(fd, F_GET_SEALS);
	if (seals == -1 || (seals & SEALS) != SEALS) {
		/* whoever made it could change it under our eyes */
		err = damaged(fail, "it is not sealed");
		goto out;
	}
	if (fstat(fd, &st) == -1) {
		err = ksm_failf(fail, KSM_ESYS, "index of zones: %s",
		    strerror(errno));
		goto out;
	}
	if ((uint64_t)st.st_size < sizeof(struct head)) {
		err = ksm_failf(fail, KSM_EPROTO,
		    "index of zones: %lld bytes, at least %zu",
		    (long long)st.st_size, sizeof(struct head));
		goto out;
	}
	zi = calloc(1, sizeof(*zi));
	if (zi == NULL) {
		err = ksm_failf(fail, KSM_ENOMEM, "index of zones: no memory");
		goto out;
	}
	zi->size = (size_t)st.st_size;
	/* a shared mapping of what is sealed is refused by older kernels */
	zi->map = mmap(NULL, zi->size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (zi->map == MAP_FAILED) {
		err = ksm_failf(fail, KSM_ESYS,
		    "index of zones: %zu bytes: %s", zi->size,
		    strerror(errno));
		goto out;
	}
	(void)madvise(zi->map, zi->size, MADV_RANDOM);
	zi->head = zi->map;
	zi->records = (const struct record *)(zi->head + 1);
	if (zi->head->zones <= zi->size / sizeof(struct record))
		zi->text = (const char *)(zi->records + zi->head->zones);
	err = head_check(zi, fail);
	if (err != KSM_OK)
		goto out;
	*out = zi;
	zi = NULL;
out:
	zoneindex_close(zi);
	return err;
}

void
zoneindex_close(struct zoneindex *zi)
{
	if (zi == NULL)
		return;
	if (zi->map != MAP_FAILED)
		(void)munmap(zi->map, zi->size);
	free(zi);
}

size_t
zoneindex_zones(const struct zoneindex *zi)
{
	return (size_t)zi->head->zones;
}

const void *
zoneindex_bytes(const struct zoneindex *zi, size_t *len)
{
	*len = zi->size;
	return zi->map;
}

/*
 * The first record whose hash is not below `hash`. Each hash that is met has
 * to lie between its neighbours that were met before.
 */
static enum ksm_err
records_search(const struct zoneindex *zi, uint32_t hash, size_t *at,
    struct ksm_fail *fail)
{
	size_t low = 0, high = (size_t)zi->head->zones;
	uint32_t least = 0, most = UINT32_MAX;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		uint32_t here = zi->records[middle].hash;

		if (here < least || here > most)
			return damaged(fail, "its zones are not in order");
		if (here < hash) {
			low = middle + 1;
			least = here;
		} else {
			high = middle;
			most = here;
		}
	}
	*at = low;
	return KSM_OK;
}

static enum ksm_err
record_compare(const struct zoneindex *zi, const struct record *r,
    const uint8_t *name, size_t len, bool *same, struct ksm_fail *fail)
{
	size_t text = (size_t)zi->head->text, have;

	if (r->name == 0 || r->name >= text)
		return damaged(fail, "the name of a zone is not in it");
	have = (uint8_t)zi->text[r->name];
	if (have == 0 || have > text - r->name - 1)
		return damaged(fail, "the name of a zone goes beyond it");
	*same = have == len &&
	    memcmp(zi->text + r->name + 1, name, len) == 0;
	return KSM_OK;
}

static enum ksm_err
record_take(const struct zoneindex *zi, const struct record *r,
    struct zone_found *out, struct ksm_fail *fail)
{
	/* text ends with a NUL: whatever begins in it ends in it */
	if (r->policy >= zi->head->text)
		return damaged(fail, "the policy of a zone is not in it");
	if (r->owner >= zi->head->text)
		return damaged(fail, "the owner of a zone is not in it");
	*out = (struct zone_found){
		.policy = r->policy != 0 ? zi->text + r->policy : NULL,
		.owner = r->owner != 0 ? zi->text + r->owner : NULL,
	};
	return KSM_OK;
}

enum ksm_err
zoneindex_find(const struct zoneindex *zi, const char *zone,
    struct zone_found *out, struct ksm_fail *fail)
{
	uint8_t name[DNSNAME_WIRE];
	enum ksm_err err;
	uint32_t hash;
	size_t len, at = 0;
	bool same;

	err = dnsname_parse(zone, name, &len, fail);
	if (err != KSM_OK)
		return err;
	hash = name_hash(zi->head->seed, name, len);
	err = records_search(zi, hash, &at, fail);
	for (; err == KSM_OK && at < zi->head->zones; at++) {
		const struct record *r = &zi->records[at];

		if (r->hash != hash)
			break;
		err = record_compare(zi, r, name, len, &same, fail);
		if (err == KSM_OK && same)
			return record_take(zi, r, out, fail);
	}
	if (err != KSM_OK)
		return err;
	return ksm_failf(fail, KSM_ENOENT,
	    "zone \"%s\" is not in the zone list", zone);
}
