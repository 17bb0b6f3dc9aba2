/*
 * worker.h - the life of one worker as a table.
 *
 * Runs in: ksmpoold (core: pure; the supervisor acts).
 */
#ifndef KSMPOOL_WORKER_H
#define KSMPOOL_WORKER_H

enum worker_state {
	WORKER_DOWN,
	WORKER_STARTING,
	WORKER_IDLE,
	WORKER_BUSY,
	WORKER_OVERDUE,
	WORKER_LEAVING, /* told to go; its socket is closed */
	WORKER_DYING,	/* SIGKILL was sent */
	WORKER__STATES
};

enum worker_event {
	WEV_START,
	WEV_HELLO,
	WEV_FAILED,   /* it said why it cannot start and will exit */
	WEV_JOB,      /* a request was sent */
	WEV_PAGE,     /* part of a long answer */
	WEV_REPLY,    /* the answer */
	WEV_DEADLINE, /* the request's time is over */
	WEV_KILL,     /* <OnOverdue> says so, or it broke the protocol */
	WEV_LEAVE,    /* not needed any more */
	WEV_EXIT,
	WEV__EVENTS
};

enum worker_act {
	ACT_VIOLATION = 0, /* every cell not listed */
	ACT_NONE,
	ACT_RECORD, /* hand the message to the engine */
	ACT_REPORT, /* overdue: say so */
	ACT_KILL,
	ACT_CLOSE,  /* close the socket, it will leave by itself */
	ACT_SETTLE, /* it died with a request open: outcome unknown */
	ACT_REAP,   /* it left with nothing open */
};

struct worker_rule {
	enum worker_act act;
	enum worker_state next;
};

struct worker_rule worker_step(enum worker_state state,
    enum worker_event event);
const char *worker_state_text(enum worker_state state);

/* Purposes of ksmpool-hsm; each fixes what may be asked of it. */
enum worker_purpose {
	PURPOSE_GENERATOR,
	PURPOSE_VERIFIER,
	PURPOSE_SETTLER,
	PURPOSE_INSPECTOR, /* describes every object, changes nothing */
	PURPOSE_DESTROYER, /* on an operator's command, what it proved */
	PURPOSE__COUNT
};
const char *worker_purpose_text(enum worker_purpose p); /* "generator" */

#endif
