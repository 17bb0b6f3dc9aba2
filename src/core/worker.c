#include "ksmpool/worker.h"

/*
 *         START           HELLO          JOB          DEADLINE
 *   DOWN ------> STARTING -----> IDLE ---------> BUSY -------> OVERDUE
 *                  |  |          | |  ^           | |             | |
 *                  |  |          | |  +---REPLY---+-|----REPLY----+ |
 *           FAILED |  |    LEAVE | | KILL           | KILL          | KILL
 *            LEAVE |  |          | |                |               |
 *                  v  |          | |                |               |
 *            LEAVING <-----------+ |                |               |
 *                  |  |            |                |               |
 *         DEADLINE |  | DEADLINE   |                |               |
 *             KILL |  | KILL       |                |               |
 *                  v  v            v                v               |
 *                 DYING <-------------------------------------------+
 *
 *   EXIT leads from every state but DOWN back to DOWN: what was open is
 *   settled (BUSY, OVERDUE, DYING); nothing was open in the others. PAGE
 *   stays in BUSY and OVERDUE, and whatever was in flight in LEAVING and
 *   DYING.
 *
 * DOWN:     no process.
 * STARTING: exec'd, loading the module, logging in; it holds no key of ours,
 *           so a start that hangs may be killed without asking anybody.
 * IDLE:     logged in, no request open.
 * BUSY:     exactly one request is open; if it is a generation, exactly one
 *           key of this worker is marked asked in the store.
 * OVERDUE:  reported; the call goes on; KILL comes only if <OnOverdue> says
 *           so, because a killed call may leave anything in the token.
 * LEAVING:  its socket is closed for sending, or it said it will exit. Words
 *           that were in flight are still heard. Nothing is open, so one
 *           that does not leave in time is killed.
 * DYING:    SIGKILL was sent; the key it was making may still come into
 *           being, and its answer may still lie in the socket.
 *
 * An event that has no cell is somebody's fault: the worker broke the
 * protocol, or the caller lost count. The state does not move.
 */
static const struct worker_rule rules[WORKER__STATES][WEV__EVENTS] = {
	[WORKER_DOWN] = {
		[WEV_START]    = { ACT_NONE,   WORKER_STARTING },
	},
	[WORKER_STARTING] = {
		[WEV_HELLO]    = { ACT_RECORD, WORKER_IDLE },
		[WEV_FAILED]   = { ACT_RECORD, WORKER_LEAVING },
		[WEV_DEADLINE] = { ACT_KILL,   WORKER_DYING },
		[WEV_KILL]     = { ACT_KILL,   WORKER_DYING },
		[WEV_LEAVE]    = { ACT_CLOSE,  WORKER_LEAVING },
		[WEV_EXIT]     = { ACT_REAP,   WORKER_DOWN },
	},
	[WORKER_IDLE] = {
		[WEV_JOB]      = { ACT_NONE,   WORKER_BUSY },
		[WEV_KILL]     = { ACT_KILL,   WORKER_DYING },
		[WEV_LEAVE]    = { ACT_CLOSE,  WORKER_LEAVING },
		[WEV_EXIT]     = { ACT_REAP,   WORKER_DOWN },
	},
	[WORKER_BUSY] = {
		[WEV_PAGE]     = { ACT_RECORD, WORKER_BUSY },
		[WEV_REPLY]    = { ACT_RECORD, WORKER_IDLE },
		[WEV_DEADLINE] = { ACT_REPORT, WORKER_OVERDUE },
		[WEV_KILL]     = { ACT_KILL,   WORKER_DYING },
		[WEV_EXIT]     = { ACT_SETTLE, WORKER_DOWN },
	},
	[WORKER_OVERDUE] = {
		[WEV_PAGE]     = { ACT_RECORD, WORKER_OVERDUE },
		[WEV_REPLY]    = { ACT_RECORD, WORKER_IDLE },
		[WEV_KILL]     = { ACT_KILL,   WORKER_DYING },
		[WEV_EXIT]     = { ACT_SETTLE, WORKER_DOWN },
	},
	[WORKER_LEAVING] = {
		[WEV_HELLO]    = { ACT_RECORD, WORKER_LEAVING },
		[WEV_FAILED]   = { ACT_RECORD, WORKER_LEAVING },
		[WEV_PAGE]     = { ACT_RECORD, WORKER_LEAVING },
		[WEV_REPLY]    = { ACT_RECORD, WORKER_LEAVING },
		[WEV_DEADLINE] = { ACT_KILL,   WORKER_DYING },
		[WEV_KILL]     = { ACT_KILL,   WORKER_DYING },
		[WEV_EXIT]     = { ACT_REAP,   WORKER_DOWN },
	},
	[WORKER_DYING] = {
		[WEV_HELLO]    = { ACT_RECORD, WORKER_DYING },
		[WEV_FAILED]   = { ACT_RECORD, WORKER_DYING },
		[WEV_PAGE]     = { ACT_RECORD, WORKER_DYING },
		[WEV_REPLY]    = { ACT_RECORD, WORKER_DYING },
		[WEV_EXIT]     = { ACT_SETTLE, WORKER_DOWN },
	},
};

static const char *const state_text[WORKER__STATES] = {
	[WORKER_DOWN]     = "down",
	[WORKER_STARTING] = "starting",
	[WORKER_IDLE]     = "idle",
	[WORKER_BUSY]     = "busy",
	[WORKER_OVERDUE]  = "overdue",
	[WORKER_LEAVING]  = "leaving",
	[WORKER_DYING]    = "dying",
};

static const char *const purpose_text[PURPOSE__COUNT] = {
	[PURPOSE_GENERATOR] = "generator",
	[PURPOSE_VERIFIER]  = "verifier",
	[PURPOSE_SETTLER]   = "settler",
	[PURPOSE_INSPECTOR] = "inspector",
	[PURPOSE_DESTROYER] = "destroyer",
};

struct worker_rule
worker_step(enum worker_state state, enum worker_event event)
{
	struct worker_rule rule = { ACT_VIOLATION, state };

	if ((unsigned)state < WORKER__STATES &&
	    (unsigned)event < WEV__EVENTS &&
	    rules[state][event].act != ACT_VIOLATION)
		rule = rules[state][event];
	return rule;
}

const char *
worker_state_text(enum worker_state state)
{
	if ((unsigned)state >= WORKER__STATES)
		return "?";
	return state_text[state];
}

const char *
worker_purpose_text(enum worker_purpose p)
{
	if ((unsigned)p >= PURPOSE__COUNT)
		return "?";
	return purpose_text[p];
}
