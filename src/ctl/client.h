/*
 * client.h - ksmctl's end of the control socket.
 *
 * Runs in: ksmctl.
 * Blocks:  on the daemon, at most as long as the caller allows in all; time
 *          the caller spends elsewhere (a slow terminal) is not counted.
 *
 * Whatever goes wrong is told as an error reply, as if the daemon had said
 * it, with the exit status that belongs to it.
 */
#ifndef KSMPOOL_CLIENT_H
#define KSMPOOL_CLIENT_H

#include <stdbool.h>

#include "ksmpool/msg_ctl.h"

struct client {
	int fd;
	ksm_msec left; /* may still be waited; -1: no limit */
	char *buf;     /* MSG_CTL_LINE bytes */
	size_t start, end;
};

void client_init(struct client *cl);
/* False: *r says why. `timeout` in ms, -1: none. */
bool client_open(
    struct client *cl, const char *path, ksm_msec timeout, struct ctl_reply *r);
bool
client_ask(struct client *cl, const struct ctl_request *q, struct ctl_reply *r);
/* The next reply; owned by the caller (ctl_reply_clear). */
void client_next(struct client *cl, struct ctl_reply *r);
void client_close(struct client *cl);

#endif
