/*
 * dbjob.h - a look at the whole database, or a copy of it, beside the loop.
 *
 * Runs in: ksmpoold, on its sd-event loop.
 * Owns:    the process (ksmpoold --check-database or --copy-database), its
 *          pipes and its timer.
 *
 * The program is /proc/self/exe and not the installed path: after an upgrade
 * of the package the daemon that still runs must be helped by its own version,
 * which knows its schema. KSMPOOL_LIBEXEC comes first, as with the other
 * helpers.
 */
#ifndef KSMPOOL_DBJOB_H
#define KSMPOOL_DBJOB_H

#include <systemd/sd-event.h>

#include "ksmpool/err.h"

#define DBJOB_SECONDS  600
#define DBJOB_FINDINGS 200 /* further ones are counted in the last line */

struct dbjob;

/*
 * Called once, from the loop. KSM_OK: `findings` (borrowed) has a line for
 * each fault, none when all is well or for a copy. KSM_ESTORE: it said why it
 * could not; KSM_ESYS: it died or took longer than DBJOB_SECONDS.
 */
typedef void (*dbjob_done_fn)(void *arg, enum ksm_err err,
    char *const *findings, size_t n, const struct ksm_fail *fail);

/*
 * `to` NULL: check. The job is freed after `done`; until then *out may be
 * forgotten.
 */
enum ksm_err dbjob_start(sd_event *event, const char *database, const char *to,
    dbjob_done_fn done, void *arg, struct dbjob **out, struct ksm_fail *fail);
/*
 * `done` will not be called; the process is killed, and the loop reaps it and
 * removes what a copy left. Returns at once. Where the loop ends first, the
 * last sd_event_unref does both and may wait. NULL is fine.
 */
void dbjob_forget(struct dbjob *job);

#endif
