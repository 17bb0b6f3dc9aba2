/*
 * control.h - the control socket: who may speak, and lines in and out.
 *
 * Runs in: ksmpoold, on its sd-event loop.
 * Owns:    the listening socket and its clients; borrows the daemon.
 * Allows:  root, the daemon's own user, members of <Socket><Group>
 *          (SO_PEERCRED, SO_PEERGROUPS); others get one error line.
 *
 * A client sends one request line. Answers go out as the socket takes them;
 * a slow or dead client costs nobody else anything: long answers are made
 * piece by piece, only while its buffer is short.
 */
#ifndef KSMPOOL_CONTROL_H
#define KSMPOOL_CONTROL_H

#include <systemd/sd-event.h>

#include "ksmpool/msg_ctl.h"

#include "engine.h"

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
	/* The engine may have something to do now. */
	void (*kick)(void *ctx);
};

struct control;

/*
 * Bind `path` (a stale socket is replaced; a live one is KSM_EBUSY), mode
 * 0660, group `group` or 0600 when NULL. `group` unknown: KSM_EREFUSED.
 */
enum ksm_err control_open(sd_event *event, const char *path, const char *group,
    const struct daemon_face *face, struct control **out,
    struct ksm_fail *fail);
void control_close(struct control *c);
/* After every engine_run: lets waiting commands look again. */
void control_poll(struct control *c);

#endif
