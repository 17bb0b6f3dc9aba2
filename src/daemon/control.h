/*
 * control.h - the control socket: who may speak, and lines in and out.
 *
 * Runs in: ksmpoold, on its sd-event loop.
 * Owns:    the listening socket and its clients; borrows the daemon.
 * Allows:  root, the daemon's own user and members of <Socket><Group> to do
 *          anything; members of <Socket><ReadersGroup> to look; by
 *          SO_PEERCRED and SO_PEERGROUPS. Others get one error line.
 *
 * A client sends one request line. Answers go out as the socket takes them;
 * a slow or dead client costs nobody else anything: long answers are made
 * piece by piece, only while its buffer is short.
 */
#ifndef KSMPOOL_CONTROL_H
#define KSMPOOL_CONTROL_H

#include <systemd/sd-event.h>

#include "ksmpool/log.h"
#include "ksmpool/msg_ctl.h"

#include "engine.h"
#include "hook_taken.h"

/* What main lends to commands. */
struct daemon_face {
	void *ctx;
	struct engine *engine;
	struct store *store;
	const char *version;
	ksm_time started;
	/*
	 * Start reading the configuration again. `done` is called once, with
	 * the findings of the new one (borrowed), and KSM_OK when it is in
	 * force. KSM_EBUSY from reload itself: one is already running; then
	 * the newcomer joins it. allow_empty: an empty zone list is meant.
	 */
	void (*reload)(void *ctx, bool allow_empty,
	    void (*done)(void *arg, enum ksm_err err, const struct conf *read,
		const struct ksm_fail *fail),
	    void *arg);
	/* The caller's `done` must not be called any more. */
	void (*reload_forget)(void *ctx, void *arg);
	void (*stop)(void *ctx);
	/* The level in force; set: until the next reload or start. */
	enum log_level (*log_level)(void *ctx);
	void (*log_level_set)(void *ctx, enum log_level level);
	/*
	 * A job on the database in a process of its own (ksmpoold
	 * --check-database, --copy-database), which reads a snapshot and holds
	 * nobody up. `done` is called once; `findings` (borrowed) has one line
	 * of text for each fault; KSM_EBUSY from done: one is running already.
	 * to NULL: check. A copy ends a check that runs, and is in the history
	 * when it has ended, by `who`; forgotten jobs go on to their end.
	 */
	void (*database)(void *ctx, const char *to, struct store_actor who,
	    void (*done)(void *arg, enum ksm_err err, char *const *findings,
		size_t n, const struct ksm_fail *fail),
	    void *arg);
	void (*database_forget)(void *ctx, void *arg);
	/* Of what is taken; NULL: they are not run. */
	struct hook_taker *hook;
	/* The engine may have something to do now. */
	void (*kick)(void *ctx);
};

struct control;

/*
 * Bind `path` (a stale socket is replaced; a live one is KSM_EBUSY), mode
 * 0660, group `group` or 0600 when NULL; 0666 when there is a readers' group,
 * since one file has one group: the peer's credentials decide in any case.
 * `passed` >= 0: a listening socket from systemd, taken over as it is and not
 * unlinked at the end. A group that is unknown: KSM_EREFUSED.
 */
struct control_want {
	const char *path, *group, *readers;
	int passed; /* -1: none */
};
enum ksm_err control_open(sd_event *event, const struct control_want *want,
    const struct daemon_face *face, struct control **out,
    struct ksm_fail *fail);
void control_close(struct control *c);
/* After every engine_run: lets waiting commands look again. */
void control_poll(struct control *c);

#endif
