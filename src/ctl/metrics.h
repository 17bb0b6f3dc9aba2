/*
 * metrics.h - the daemon's numbers, for monitors.
 *
 * Runs in: ksmctl.
 */
#ifndef KSMPOOL_METRICS_H
#define KSMPOOL_METRICS_H

#include <stdio.h>

#include "ksmpool/msg_ctl.h"

struct ctl_call;

/*
 * The daemon's metrics as one document (owned), or NULL and *r says why.
 * `timeout` in ms, -1: none.
 */
json_t *metrics_ask(const char *socket, ksm_msec timeout, struct ctl_reply *r);

/* Prometheus text, format 0.0.4. `doc` NULL: the daemon does not answer. */
void metrics_print(FILE *out, const json_t *doc);

/*
 * Put `text` where `path` is, whole or not at all: other programs read it at
 * any moment. KSM_EREFUSED: not a name the node exporter would read.
 */
enum ksm_err metrics_write(const char *path, const char *text, size_t len,
    struct ksm_fail *fail);

/* ksmctl metrics, ksmctl monitor: return the exit status. */
int metrics_run(const struct ctl_call *call);
int monitor_run(const struct ctl_call *call);

#endif
