#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ksmpool/err.h"
#include "ksmpool/worker.h"

/* Every cell that is not a violation, row by row. */
static const struct {
	enum worker_state state;
	enum worker_event event;
	enum worker_act act;
	enum worker_state next;
} cells[] = {
	{ WORKER_DOWN, WEV_START, ACT_NONE, WORKER_STARTING },

	{ WORKER_STARTING, WEV_HELLO, ACT_RECORD, WORKER_IDLE },
	{ WORKER_STARTING, WEV_FAILED, ACT_RECORD, WORKER_LEAVING },
	{ WORKER_STARTING, WEV_DEADLINE, ACT_KILL, WORKER_DYING },
	{ WORKER_STARTING, WEV_KILL, ACT_KILL, WORKER_DYING },
	{ WORKER_STARTING, WEV_LEAVE, ACT_CLOSE, WORKER_LEAVING },
	{ WORKER_STARTING, WEV_EXIT, ACT_REAP, WORKER_DOWN },

	{ WORKER_IDLE, WEV_JOB, ACT_NONE, WORKER_BUSY },
	{ WORKER_IDLE, WEV_KILL, ACT_KILL, WORKER_DYING },
	{ WORKER_IDLE, WEV_LEAVE, ACT_CLOSE, WORKER_LEAVING },
	{ WORKER_IDLE, WEV_EXIT, ACT_REAP, WORKER_DOWN },

	{ WORKER_BUSY, WEV_PAGE, ACT_RECORD, WORKER_BUSY },
	{ WORKER_BUSY, WEV_REPLY, ACT_RECORD, WORKER_IDLE },
	{ WORKER_BUSY, WEV_DEADLINE, ACT_REPORT, WORKER_OVERDUE },
	{ WORKER_BUSY, WEV_KILL, ACT_KILL, WORKER_DYING },
	{ WORKER_BUSY, WEV_EXIT, ACT_SETTLE, WORKER_DOWN },

	{ WORKER_OVERDUE, WEV_PAGE, ACT_RECORD, WORKER_OVERDUE },
	{ WORKER_OVERDUE, WEV_REPLY, ACT_RECORD, WORKER_IDLE },
	{ WORKER_OVERDUE, WEV_KILL, ACT_KILL, WORKER_DYING },
	{ WORKER_OVERDUE, WEV_EXIT, ACT_SETTLE, WORKER_DOWN },

	{ WORKER_LEAVING, WEV_HELLO, ACT_RECORD, WORKER_LEAVING },
	{ WORKER_LEAVING, WEV_FAILED, ACT_RECORD, WORKER_LEAVING },
	{ WORKER_LEAVING, WEV_PAGE, ACT_RECORD, WORKER_LEAVING },
	{ WORKER_LEAVING, WEV_REPLY, ACT_RECORD, WORKER_LEAVING },
	{ WORKER_LEAVING, WEV_DEADLINE, ACT_KILL, WORKER_DYING },
	{ WORKER_LEAVING, WEV_KILL, ACT_KILL, WORKER_DYING },
	{ WORKER_LEAVING, WEV_EXIT, ACT_REAP, WORKER_DOWN },
	{ WORKER_DYING, WEV_HELLO, ACT_RECORD, WORKER_DYING },
	{ WORKER_DYING, WEV_FAILED, ACT_RECORD, WORKER_DYING },
	{ WORKER_DYING, WEV_PAGE, ACT_RECORD, WORKER_DYING },

	{ WORKER_DYING, WEV_REPLY, ACT_RECORD, WORKER_DYING },
	{ WORKER_DYING, WEV_EXIT, ACT_SETTLE, WORKER_DOWN },
};

static void
every_cell_is_what_was_agreed(void **ctx)
{
	size_t found = 0;

	(void)ctx;
	for (int s = 0; s < WORKER__STATES; s++) {
		for (int e = 0; e < WEV__EVENTS; e++) {
			enum worker_state state = (enum worker_state)s;
			enum worker_event event = (enum worker_event)e;
			struct worker_rule want = { ACT_VIOLATION, state };
			struct worker_rule got = worker_step(state, event);

			for (size_t i = 0; i < nitems(cells); i++) {
				if (cells[i].state != state ||
				    cells[i].event != event)
					continue;
				want.act = cells[i].act;
				want.next = cells[i].next;
				found++;
			}
			if (got.act != want.act || got.next != want.next)
				fail_msg("%s, event %d: act %d to %s, "
				    "not %d to %s", worker_state_text(state),
				    e, (int)got.act,
				    worker_state_text(got.next), (int)want.act,
				    worker_state_text(want.next));
		}
	}
	assert_int_equal(found, nitems(cells));
}

static void
a_process_is_reaped_from_every_state_that_has_one(void **ctx)
{
	(void)ctx;
	for (int s = 0; s < WORKER__STATES; s++) {
		struct worker_rule r;

		r = worker_step((enum worker_state)s, WEV_EXIT);
		assert_int_equal(r.next, WORKER_DOWN);
		assert_int_equal(r.act == ACT_VIOLATION, s == WORKER_DOWN);
	}
}

static void
a_request_that_was_open_is_settled_however_it_ends(void **ctx)
{
	static const enum worker_event before[][3] = {
		{ WEV_EXIT, WEV__EVENTS, WEV__EVENTS },
		{ WEV_DEADLINE, WEV_EXIT, WEV__EVENTS },
		{ WEV_KILL, WEV_EXIT, WEV__EVENTS },
		{ WEV_DEADLINE, WEV_KILL, WEV_EXIT },
		{ WEV_PAGE, WEV_KILL, WEV_EXIT },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(before); i++) {
		struct worker_rule r = { ACT_NONE, WORKER_BUSY };

		for (size_t j = 0; j < 3 && before[i][j] != WEV__EVENTS; j++)
			r = worker_step(r.next, before[i][j]);
		assert_int_equal(r.act, ACT_SETTLE);
		assert_int_equal(r.next, WORKER_DOWN);
	}
}

static void
every_state_with_a_process_can_be_ended(void **ctx)
{
	(void)ctx;
	for (int s = WORKER_DOWN + 1; s < WORKER__STATES; s++) {
		if (s != WORKER_DYING)
			assert_int_equal(worker_step((enum worker_state)s,
			    WEV_KILL).next, WORKER_DYING);
	}
}

static void
no_worker_is_started_on_top_of_another(void **ctx)
{
	(void)ctx;
	for (int s = 0; s < WORKER__STATES; s++) {
		if (s != WORKER_DOWN)
			assert_int_equal(worker_step((enum worker_state)s,
			    WEV_START).act, ACT_VIOLATION);
	}
}

static void
only_an_idle_worker_gets_a_job(void **ctx)
{
	(void)ctx;
	for (int s = 0; s < WORKER__STATES; s++)
		assert_int_equal(worker_step((enum worker_state)s,
		    WEV_JOB).act == ACT_VIOLATION, s != WORKER_IDLE);
}

static void
what_is_outside_the_table_is_a_violation(void **ctx)
{
	struct worker_rule r;

	(void)ctx;
	r = worker_step(WORKER__STATES, WEV_START);
	assert_int_equal(r.act, ACT_VIOLATION);
	assert_int_equal(r.next, WORKER__STATES);
	r = worker_step(WORKER_IDLE, WEV__EVENTS);
	assert_int_equal(r.act, ACT_VIOLATION);
	assert_int_equal(r.next, WORKER_IDLE);
}

static void
everything_has_a_name(void **ctx)
{
	(void)ctx;
	assert_string_equal(worker_state_text(WORKER_DOWN), "down");
	assert_string_equal(worker_state_text(WORKER_DYING), "dying");
	assert_string_equal(worker_state_text(WORKER__STATES), "?");
	assert_string_equal(worker_purpose_text(PURPOSE_GENERATOR),
	    "generator");
	assert_string_equal(worker_purpose_text(PURPOSE_VERIFIER), "verifier");
	assert_string_equal(worker_purpose_text(PURPOSE_SETTLER), "settler");
	assert_string_equal(worker_purpose_text(PURPOSE__COUNT), "?");
	for (int s = 0; s < WORKER__STATES; s++)
		assert_non_null(worker_state_text((enum worker_state)s));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_cell_is_what_was_agreed),
		cmocka_unit_test(
		    a_process_is_reaped_from_every_state_that_has_one),
		cmocka_unit_test(
		    a_request_that_was_open_is_settled_however_it_ends),
		cmocka_unit_test(every_state_with_a_process_can_be_ended),
		cmocka_unit_test(no_worker_is_started_on_top_of_another),
		cmocka_unit_test(only_an_idle_worker_gets_a_job),
		cmocka_unit_test(what_is_outside_the_table_is_a_violation),
		cmocka_unit_test(everything_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
