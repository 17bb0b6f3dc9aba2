/*
 * reader.h - the configuration, read by ksmpool-config.
 *
 * Runs in: ksmpoold, on its sd-event loop.
 * Owns:    one process of ksmpool-config at a time, its socket and its end.
 * Blocks:  in reader_free, until the killed helper is gone; else never: a
 *          million zones are read while the loop goes on.
 */
#ifndef KSMPOOL_READER_H
#define KSMPOOL_READER_H

#include <systemd/sd-event.h>

#include "ksmpool/policy.h"

struct reader;

/*
 * Start ksmpool-config on `file`; with `own` it opens no file that this one
 * names, and only paths, user and log level are read. `done` is called once
 * from the loop, with what was read (the callee may take it and leave an empty
 * conf) and KSM_OK, also when the files hold faults: those are in
 * conf->findings. Other codes: the helper could not be run, died, or broke the
 * protocol. The reader is freed afterwards.
 */
typedef void (*reader_done_fn)(void *ctx, enum ksm_err err, struct conf *conf,
    const struct ksm_fail *fail);
enum ksm_err reader_start(sd_event *event, const char *file, bool own,
    reader_done_fn done, void *ctx, struct reader **out,
    struct ksm_fail *fail);
/* Give up: the helper is killed (it holds nothing), `done` is not called. */
void reader_free(struct reader *r);

#endif
