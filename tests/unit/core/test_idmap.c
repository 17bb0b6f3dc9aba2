#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "ksmpool/idmap.h"

static struct key_id
numbered(uint32_t n)
{
	struct key_id id = { { 0 } };

	memcpy(id.bytes + 4, &n, sizeof(n));
	return id;
}

static void
every_id_put_is_found_with_its_counts(void **ctx)
{
	struct idmap m;
	size_t cursor = 0, n = 0;
	struct key_id id;

	(void)ctx;
	idmap_init(&m, 42);
	for (uint32_t i = 0; i < 5000; i++) {
		id = numbered(i);
		idmap_put(&m, &id)->privates++;
		if (i % 2 == 0)
			idmap_put(&m, &id)->publics++;
	}
	assert_int_equal(m.count, 5000);
	for (uint32_t i = 0; i < 5000; i++) {
		id = numbered(i);
		assert_non_null(idmap_find(&m, &id));
		assert_int_equal(idmap_find(&m, &id)->privates, 1);
		assert_int_equal(idmap_find(&m, &id)->publics, i % 2 == 0);
	}
	while (idmap_next(&m, &cursor) != NULL)
		n++;
	assert_int_equal(n, 5000);
	idmap_clear(&m);
}

static void
an_id_never_put_is_not_found(void **ctx)
{
	struct key_id one = numbered(1), two = numbered(2);
	struct idmap m;

	(void)ctx;
	idmap_init(&m, 0);
	assert_null(idmap_find(&m, &one));
	assert_non_null(idmap_put(&m, &one));
	assert_null(idmap_find(&m, &two));
	idmap_clear(&m);
	assert_null(idmap_find(&m, &one));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_id_put_is_found_with_its_counts),
		cmocka_unit_test(an_id_never_put_is_not_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
