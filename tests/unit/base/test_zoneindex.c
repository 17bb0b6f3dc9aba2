#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ksmpool/dnsname.h"
#include "ksmpool/fd.h"
#include "ksmpool/zoneindex.h"

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

/* As the file has them: see the picture in zoneindex.c. */
#define HEAD_VERSION  8
#define HEAD_ZONES    16
#define HEAD_TEXT     24
#define HEAD_SIZE     40
#define RECORD_SIZE   16
#define RECORD_NAME   4
#define RECORD_POLICY 8
#define RECORD_OWNER  12

struct zone {
	const char *name;
	uint32_t policy;
	uint32_t owner;
};

static const char policies[] = "default\0lab\0high";
static const uint32_t policy_at[] = { 1, 9, 13, 0 };
static const char *const policy_name[] = { "default", "lab", "high", NULL };
#define NONE 3 /* of the owner file alone */

static const char owners[] = "acme\0Jos\xc3\xa9";
#define ACME 1
#define JOSE 6

static const struct zone few[] = {
	{ "example.com", 0, ACME },
	{ "Example.NET.", 1, 0 },
	{ ".", 2, JOSE },
	{ "0/25.2.0.192.in-addr.arpa", 0, ACME },
	{ "a\\000b.example", 2, 0 },
	{ "to.come.example", NONE, ACME },
};

struct list {
	const struct zone *zones;
	size_t at;
	uint8_t wire[DNSNAME_WIRE];
};

static void
next(void *ctx, struct zoneindex_zone *out)
{
	struct list *l = ctx;
	const struct zone *z = &l->zones[l->at++];

	out->name = l->wire;
	assert_int_equal(dnsname_parse(z->name, l->wire, &out->len, NULL),
	    KSM_OK);
	out->policy = policy_at[z->policy];
	out->owner = z->owner;
}

static int
index_of(const struct zone *zones, size_t n)
{
	struct list l = { .zones = zones };
	struct zoneindex_source from = {
		.zones = n,
		.policies = { policies, sizeof(policies) },
		.owners = { owners, sizeof(owners) },
		.next = next,
		.ctx = &l,
	};
	struct ksm_fail fail = { .text = "" };
	struct zoneindex_zone z;
	int fd = -1;

	for (size_t i = 0; i < n; i++) {
		next(&l, &z);
		from.name_bytes += z.len;
	}
	l.at = 0;
	assert_int_equal(zoneindex_make(&from, &fd, &fail), KSM_OK);
	assert_true(fd >= 0);
	return fd;
}

static struct zoneindex *
opened(int fd)
{
	struct ksm_fail fail = { .text = "" };
	struct zoneindex *zi = NULL;

	if (zoneindex_open(fd, &zi, &fail) != KSM_OK)
		fail_msg("%s", fail.text);
	return zi;
}

static void
expect(const struct zoneindex *zi, const char *zone, size_t policy,
    const char *owner)
{
	struct ksm_fail fail = { .text = "" };
	struct zone_found found;

	if (zoneindex_find(zi, zone, &found, &fail) != KSM_OK)
		fail_msg("%s: %s", zone, fail.text);
	if (policy == NONE)
		assert_null(found.policy);
	else
		assert_string_equal(found.policy, policy_name[policy]);
	if (owner == NULL)
		assert_null(found.owner);
	else
		assert_string_equal(found.owner, owner);
}

static void
every_zone_is_found_however_it_is_written(void **ctx)
{
	int fd = index_of(few, nitems(few));
	struct zoneindex *zi = opened(fd);

	(void)ctx;
	fd_close(&fd); /* what is open does not need it */
	assert_int_equal(zoneindex_zones(zi), nitems(few));
	expect(zi, "example.com", 0, "acme");
	expect(zi, "EXAMPLE.com.", 0, "acme");
	expect(zi, "ex\\097mple.com", 0, "acme");
	expect(zi, "example.net", 1, NULL);
	expect(zi, ".", 2, "Jos\xc3\xa9");
	expect(zi, "0/25.2.0.192.in-addr.arpa", 0, "acme");
	expect(zi, "A\\000B.example.", 2, NULL);
	expect(zi, "to.come.example", NONE, "acme");
	zoneindex_close(zi);
}

static void
what_is_not_in_it_is_said_to_be_so(void **ctx)
{
	int fd = index_of(few, nitems(few));
	struct ksm_fail fail = { .text = "" };
	struct zoneindex *zi = opened(fd);
	struct zone_found found;

	(void)ctx;
	assert_int_equal(zoneindex_find(zi, "example.org", &found, &fail),
	    KSM_ENOENT);
	assert_non_null(strstr(fail.text, "example.org"));
	assert_int_equal(zoneindex_find(zi, "a.example", &found, &fail),
	    KSM_ENOENT);
	assert_int_equal(zoneindex_find(zi, "a..example", &found, &fail),
	    KSM_EREFUSED);
	assert_non_null(strstr(fail.text, "empty label"));
	zoneindex_close(zi);
	fd_close(&fd);
}

static void
an_index_of_no_zones_is_one(void **ctx)
{
	int fd = index_of(few, 0);
	struct zoneindex *zi = opened(fd);
	struct zone_found found;

	(void)ctx;
	assert_int_equal(zoneindex_zones(zi), 0);
	assert_int_equal(zoneindex_find(zi, "example.com", &found, NULL),
	    KSM_ENOENT);
	zoneindex_close(zi);
	fd_close(&fd);
}

static void
nobody_can_change_it(void **ctx)
{
	int fd = index_of(few, nitems(few));

	(void)ctx;
	assert_int_equal(fcntl(fd, F_GET_SEALS), SEALS);
	assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
	assert_int_equal(pwrite(fd, "x", 1, 0), -1);
	assert_int_equal(ftruncate(fd, 0), -1);
	fd_close(&fd);
}

/* What was kept of one is one again, and as closed. */
static void
a_copy_is_an_index_again(void **ctx)
{
	int fd = index_of(few, nitems(few)), again = -1;
	struct ksm_fail fail = { .text = "" };
	struct zoneindex *zi = opened(fd);
	const void *bytes;
	size_t len;

	(void)ctx;
	bytes = zoneindex_bytes(zi, &len);
	assert_int_equal(zoneindex_again(bytes, len, &again, &fail), KSM_OK);
	zoneindex_close(zi);
	fd_close(&fd);
	assert_int_equal(fcntl(again, F_GET_SEALS), SEALS);
	zi = opened(again);
	expect(zi, "example.com", 0, "acme");
	expect(zi, "to.come.example", NONE, "acme");
	zoneindex_close(zi);
	fd_close(&again);
}

/* A hundred thousand, among them some with the same hash. */
static void
zones_with_the_same_hash_are_told_apart(void **ctx)
{
	enum { MANY = 200000 };
	struct zone *zones = calloc(MANY, sizeof(*zones));
	struct ksm_fail fail = { .text = "" };
	struct zoneindex *zi;
	struct zone_found found;
	char name[64];
	int fd;

	(void)ctx;
	assert_non_null(zones);
	for (int i = 0; i < MANY; i++) {
		(void)snprintf(name, sizeof(name), "zone-%d.example", i);
		zones[i].name = strdup(name);
		zones[i].policy = (uint32_t)i % 3;
		zones[i].owner = i % 2 == 0 ? ACME : 0;
	}
	fd = index_of(zones, MANY);
	zi = opened(fd);
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(zoneindex_find(zi, zones[i].name, &found,
		    &fail), KSM_OK);
		assert_string_equal(found.policy, policy_name[i % 3]);
		assert_int_equal(found.owner != NULL, i % 2 == 0);
		(void)snprintf(name, sizeof(name), "zone-%d.test", i);
		assert_int_equal(zoneindex_find(zi, name, &found, &fail),
		    KSM_ENOENT);
		free((char *)(uintptr_t)zones[i].name);
	}
	zoneindex_close(zi);
	fd_close(&fd);
	free(zones);
}

/* ---- damaged --------------------------------------------------------- */

/* A sealed copy of an index with other bytes in it; `size`: cut or grown. */
static int
damaged_copy(int fd, size_t at, const void *bytes, size_t len, off_t size)
{
	struct stat st;
	char *all;
	int copy;

	assert_int_equal(fstat(fd, &st), 0);
	all = calloc(1, (size_t)st.st_size + 1);
	assert_non_null(all);
	assert_int_equal(pread(fd, all, (size_t)st.st_size, 0), st.st_size);
	assert_true(at + len <= (size_t)st.st_size);
	if (len > 0)
		memcpy(all + at, bytes, len);
	copy = memfd_create("damaged", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_true(copy >= 0);
	assert_int_equal(fd_write_all(copy, all, (size_t)st.st_size, NULL),
	    KSM_OK);
	assert_int_equal(ftruncate(copy, size >= 0 ? size : st.st_size), 0);
	assert_int_equal(fcntl(copy, F_ADD_SEALS, SEALS), 0);
	free(all);
	return copy;
}

static void
refused(int fd, size_t at, const void *bytes, size_t len, off_t size,
    const char *words)
{
	int copy = damaged_copy(fd, at, bytes, len, size);
	struct ksm_fail fail = { .text = "" };
	struct zoneindex *zi = NULL;

	assert_int_equal(zoneindex_open(copy, &zi, &fail), KSM_EPROTO);
	assert_null(zi);
	if (strstr(fail.text, words) == NULL)
		fail_msg("'%s' does not say '%s'", fail.text, words);
	fd_close(&copy);
}

static void
what_is_no_index_is_not_opened(void **ctx)
{
	static const uint64_t one = 1, huge = UINT64_MAX, many = 7, none = 0;
	int fd = index_of(few, nitems(few)), plain;
	struct ksm_fail fail = { .text = "" };
	struct zoneindex *zi = NULL;
	struct stat st;

	(void)ctx;
	assert_int_equal(fstat(fd, &st), 0);
	refused(fd, 0, "x", 1, -1, "it is none");
	refused(fd, HEAD_VERSION, &one, sizeof(one), -1, "version 1");
	refused(fd, HEAD_ZONES, &huge, sizeof(huge), -1, "do not hold");
	refused(fd, HEAD_ZONES, &many, sizeof(many), -1, "do not hold");
	refused(fd, HEAD_ZONES, &none, sizeof(none), -1, "do not hold");
	refused(fd, HEAD_TEXT, &huge, sizeof(huge), -1, "do not hold");
	refused(fd, (size_t)st.st_size - 1, "x", 1, -1, "no end");
	refused(fd, 0, NULL, 0, 0, "0 bytes");
	refused(fd, 0, NULL, 0, HEAD_SIZE - 1, "39 bytes");
	refused(fd, 0, NULL, 0, HEAD_SIZE, "do not hold");
	refused(fd, 0, NULL, 0, st.st_size - 1, "do not hold");
	refused(fd, 0, NULL, 0, st.st_size + 1, "do not hold");

	plain = memfd_create("plain", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(zoneindex_open(plain, &zi, &fail), KSM_EPROTO);
	assert_non_null(strstr(fail.text, "not sealed"));
	fd_close(&plain);
	assert_int_equal(zoneindex_open(-1, &zi, &fail), KSM_EPROTO);
	fd_close(&fd);
}

/* One zone, and a field of its record as it must not be. */
static void
found_damaged(size_t field, uint32_t value, const char *words)
{
	int fd = index_of(few, 1);
	int copy = damaged_copy(fd, HEAD_SIZE + field, &value, sizeof(value),
	    -1);
	struct ksm_fail fail = { .text = "" };
	struct zoneindex *zi = opened(copy);
	struct zone_found found;

	assert_int_equal(zoneindex_find(zi, few[0].name, &found, &fail),
	    KSM_EPROTO);
	if (strstr(fail.text, words) == NULL)
		fail_msg("'%s' does not say '%s'", fail.text, words);
	zoneindex_close(zi);
	fd_close(&copy);
	fd_close(&fd);
}

static void
a_damaged_zone_is_not_believed(void **ctx)
{
	(void)ctx;
	found_damaged(RECORD_POLICY, 4096, "the policy");
	found_damaged(RECORD_POLICY, UINT32_MAX, "the policy");
	found_damaged(RECORD_OWNER, 4096, "the owner");
	found_damaged(RECORD_OWNER, UINT32_MAX, "the owner");
	found_damaged(RECORD_NAME, 0, "is not in it");
	found_damaged(RECORD_NAME, 4096, "is not in it");
	found_damaged(RECORD_NAME, UINT32_MAX, "is not in it");
	/* where a letter of the owner says how long it is */
	found_damaged(RECORD_NAME, sizeof(policies) + ACME, "beyond it");
}

static void
zones_out_of_order_are_noticed(void **ctx)
{
	int fd = index_of(few, nitems(few)), copy;
	static const uint32_t top = UINT32_MAX;
	struct ksm_fail fail = { .text = "" };
	struct zone_found found;
	struct zoneindex *zi;
	bool seen = false;
	char zone[64];

	(void)ctx;
	/* the middle one is met first, and at least one after it */
	copy = damaged_copy(fd, HEAD_SIZE + 1 * RECORD_SIZE, &top, sizeof(top),
	    -1);
	zi = opened(copy);
	for (int i = 0; i < 1000 && !seen; i++) {
		(void)snprintf(zone, sizeof(zone), "z%d.example", i);
		seen = zoneindex_find(zi, zone, &found, &fail) == KSM_EPROTO;
	}
	assert_true(seen);
	assert_non_null(strstr(fail.text, "not in order"));
	zoneindex_close(zi);
	fd_close(&copy);
	fd_close(&fd);
}

static void
found_read(const struct zone_found *found)
{
	if (found->policy != NULL)
		(void)strlen(found->policy);
	if (found->owner != NULL)
		(void)strlen(found->owner);
}

/* Whatever one byte is, nothing is read that is not there. */
static void
any_byte_may_be_wrong(void **ctx)
{
	int fd = index_of(few, nitems(few));
	struct ksm_fail fail = { .text = "" };
	struct zone_found found;
	struct zoneindex *zi;
	struct stat st;

	(void)ctx;
	assert_int_equal(fstat(fd, &st), 0);
	for (size_t at = 0; at < (size_t)st.st_size; at++) {
		for (int bit = 0; bit < 8; bit++) {
			uint8_t byte;
			int copy;

			assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
			byte ^= (uint8_t)(1 << bit);
			copy = damaged_copy(fd, at, &byte, 1, -1);
			zi = NULL;
			if (zoneindex_open(copy, &zi, &fail) == KSM_OK)
				for (size_t i = 0; i < nitems(few); i++)
					if (zoneindex_find(zi, few[i].name,
						&found, &fail) == KSM_OK)
						found_read(&found);
			zoneindex_close(zi);
			fd_close(&copy);
		}
	}
	fd_close(&fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_zone_is_found_however_it_is_written),
		cmocka_unit_test(what_is_not_in_it_is_said_to_be_so),
		cmocka_unit_test(an_index_of_no_zones_is_one),
		cmocka_unit_test(nobody_can_change_it),
		cmocka_unit_test(a_copy_is_an_index_again),
		cmocka_unit_test(zones_with_the_same_hash_are_told_apart),
		cmocka_unit_test(what_is_no_index_is_not_opened),
		cmocka_unit_test(a_damaged_zone_is_not_believed),
		cmocka_unit_test(zones_out_of_order_are_noticed),
		cmocka_unit_test(any_byte_may_be_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
