/*
 * supervisor.h - processes of ksmpool-hsm: started, spoken to, buried.
 *
 * Runs in: ksmpoold, on its sd-event loop.
 * Owns:    the worker processes, their sockets, log pipes and timers. It
 *          decides nothing: core/worker.c says what an event means, the
 *          engine what comes next.
 * Blocks:  for a worker that could not be watched from its start on and is
 *          killed, until it is gone; else never.
 *
 * Descriptors of a worker: 0 /dev/null, 1 and 2 log pipe, 3 protocol
 * (SEQPACKET), 4 PIN source, 5 lock of its repository, held for life, also
 * when ksmpoold is gone: flock(2), shared. Who gets it exclusively knows
 * that no earlier worker is left.
 */
#ifndef KSMPOOL_SUPERVISOR_H
#define KSMPOOL_SUPERVISOR_H

#include <systemd/sd-event.h>

#include "engine.h"

struct supervisor;

/* `lock_dir` is made if need be, mode 0700; `kick` after every event. */
enum ksm_err supervisor_new(sd_event *event, const char *lock_dir,
    void (*kick)(void *ctx), void *ctx, struct supervisor **out,
    struct ksm_fail *fail);
void supervisor_io(struct supervisor *sv, struct engine_io *io);
/* The engine to call; it is made after the supervisor. */
void supervisor_engine(struct supervisor *sv, struct engine *e);
/* Close every socket; workers finish their call and leave by themselves. */
void supervisor_release(struct supervisor *sv);
/* Processes not reaped yet. */
size_t supervisor_workers(const struct supervisor *sv);
void supervisor_free(struct supervisor *sv);

/* Path of a helper program: $KSMPOOL_LIBEXEC, our own folder, `installed`. */
enum ksm_err helper_find(const char *name, const char *installed,
    char out[4096], struct ksm_fail *fail);

#endif
