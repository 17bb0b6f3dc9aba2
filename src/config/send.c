#include <errno.h>
#include <poll.h>
#include <string.h>

#include "ksmpool/fd.h"
#include "ksmpool/msg_conf.h"

#include "config.h"

static enum ksm_err
packet_send(
    void *ctx, const char *text, size_t len, int fd, struct ksm_fail *fail)
{
	const int *sock = ctx;
	enum ksm_err err;

	/* the reader takes its time: it has others to serve */
	while (
	    (err = fd_packet_send(*sock, text, len, fd, fail)) == KSM_EBUSY) {
		struct pollfd p = { .fd = *sock, .events = POLLOUT };

		if (poll(&p, 1, -1) == -1 && errno != EINTR)
			return ksm_failf(
			    fail, KSM_ESYS, "poll: %s", strerror(errno));
	}
	return err;
}

enum ksm_err
config_send(const struct conf *c, int sock, struct ksm_fail *fail)
{
	return conf_encode(c, packet_send, &sock, fail);
}
