/*
 * ksmpool-hsm - one vendor module, one token, one session, one thing at a
 * time. It may die of anything: that is its job.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ksmpool/fd.h"
#include "ksmpool/log.h"

#include "operation.h"

#define FD_PROTOCOL 3
#define FD_PIN	    4
#define FD_LOCK	    5 /* only held: it tells others that we live */

#define EXIT_GONE  0 /* the other end closed */
#define EXIT_LEFT  1 /* said failed or unknown, or a session is lost */
#define EXIT_PROTO 3 /* asked what this purpose may not do, or nonsense */
#define EXIT_HUMAN 64

/*
 * C_Finalize of a module whose network is gone may never return. Nothing of
 * ours is in the token's hands then, so this wait may end.
 */
#define FINALIZE_S 30

static const char usage[] =
    "ksmpool-hsm is started by ksmpoold, one per session with a token, and\n"
    "is of no use by hand: it speaks over descriptor 3. See ksmpool-hsm(8).\n";

static void
hygiene(void)
{
	static const int ignored[] = { SIGPIPE, SIGINT, SIGTERM, SIGHUP };
	const struct rlimit none = { 0, 0 };

	/* the PIN and, for soft tokens, the keys are in our memory */
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	(void)setrlimit(RLIMIT_CORE, &none);
	/*
	 * A terminal's ^C reaches the whole group. A worker ends when its
	 * parent closes the socket, never in the middle of a call.
	 */
	for (size_t i = 0; i < nitems(ignored); i++)
		(void)signal(ignored[i], SIG_IGN);
	for (int fd = FD_PROTOCOL; fd <= FD_LOCK; fd++)
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	/* we have nothing else to do than to wait for the other end */
	(void)fcntl(
	    FD_PROTOCOL, F_SETFL, fcntl(FD_PROTOCOL, F_GETFL) & ~O_NONBLOCK);
}

static bool
is_packet_socket(int fd)
{
	socklen_t len = sizeof(int);
	int type = 0;

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 &&
	       type == SOCK_SEQPACKET;
}

/* KSM_ESYS: the peer is gone, and with it anyone to tell. */
static enum ksm_err
message_send(const struct hsm_msg *m)
{
	enum ksm_err err;
	struct ksm_fail fail;
	char *text = NULL;
	size_t len = 0;

	err = hsm_msg_encode(m, &text, &len, &fail);
	if (err != KSM_OK) {
		log_error(
		    "cannot say %s: %s", hsm_type_text(m->type), fail.text);
		return err;
	}
	err = fd_packet_send(FD_PROTOCOL, text, len, -1, &fail);
	free(text);
	return err;
}

static bool
page_send(void *ctx, const struct hsm_msg *page)
{
	(void)ctx;
	return message_send(page) == KSM_OK;
}

/* KSM_ENOENT: end of file. */
static enum ksm_err
message_recv(struct hsm_msg *m)
{
	static char buf[MSG_HSM_MAX + 1];
	enum ksm_err err;
	struct ksm_fail fail = { KSM_OK, "" };
	size_t len = 0;

	err = fd_packet_recv(FD_PROTOCOL, buf, sizeof(buf), &len, NULL, &fail);
	if (err == KSM_OK)
		err = hsm_msg_decode(buf, len, m, &fail);
	if (err != KSM_OK && err != KSM_ENOENT)
		log_error("protocol: %s", fail.text);
	return err;
}

static int
exit_of(enum ksm_err err)
{
	switch (err) {
	case KSM_ENOENT:
	case KSM_ESYS: /* reset: gone without a word */
		return EXIT_GONE;
	case KSM_EPROTO:
		return EXIT_PROTO;
	default:
		return EXIT_LEFT;
	}
}

/* What this process has looked at so far. */
struct seen {
	struct inventory *inventory;
	struct debris *debris;
};

/* What must have been looked at before. */
static const char *
looked_before(const struct seen *seen, enum hsm_type type)
{
	switch (type) {
	case HSM_PROVE:
	case HSM_DESTROY:
	case HSM_REMOVE:
		return seen->inventory == NULL ? "enumerate" : NULL;
	case HSM_SWEEP:
		return seen->debris == NULL ? "inspect" : NULL;
	default:
		return NULL;
	}
}

/* One request; *code is the exit status when it is the last. */
static bool
serve_one(struct session *s, struct seen *seen, const struct hsm_msg *ask,
    int *code)
{
	struct inventory **inv = &seen->inventory;
	enum op_end end = OP_LEAVE;
	struct hsm_msg reply;
	enum ksm_err err;

	if (!hsm_type_allowed(s->start.purpose, ask->type) ||
	    ask->type == HSM_START) {
		log_error("protocol: a %s is not asked for %s",
		    worker_purpose_text(s->start.purpose),
		    hsm_type_text(ask->type));
		*code = EXIT_PROTO;
		return false;
	}
	if (looked_before(seen, ask->type) != NULL) {
		log_error("protocol: %s before any %s",
		    hsm_type_text(ask->type), looked_before(seen, ask->type));
		*code = EXIT_PROTO;
		return false;
	}
	switch (ask->type) {
	case HSM_GENERATE:
		end = generate_run(s, &ask->u.generate, &reply);
		break;
	case HSM_ENUMERATE:
		end = enumerate_run(
		    s, inv, &ask->u.enumerate, page_send, NULL, &reply);
		break;
	case HSM_PROVE:
		end = prove_run(s, *inv, &ask->u.prove, &reply);
		break;
	case HSM_DESTROY:
		end = destroy_run(s, *inv, &ask->u.destroy, &reply);
		break;
	case HSM_REMOVE:
		end = remove_run(s, *inv, &ask->u.remove, &reply);
		break;
	case HSM_INSPECT:
		end = inspect_run(s, &seen->debris, &ask->u.inspect, page_send,
		    NULL, &reply);
		break;
	case HSM_SWEEP:
		end = sweep_run(s, seen->debris, &ask->u.sweep, &reply);
		break;
	default:
		*code = EXIT_PROTO;
		return false;
	}
	err = message_send(&reply);
	if (err != KSM_OK) {
		*code = exit_of(err);
		return false;
	}
	*code = EXIT_LEFT;
	return end == OP_STAY;
}

static int
serve(void)
{
	static struct session s; /* zeroes: nothing to close */
	struct seen seen = { .inventory = NULL };
	struct hsm_msg m, reply;
	struct hsm_hello hello;
	struct hsm_failed failed;
	enum ksm_err err;
	int code;

	err = message_recv(&m);
	if (err != KSM_OK)
		return exit_of(err);
	if (m.type != HSM_START) {
		log_error("protocol: the first message is %s, not start",
		    hsm_type_text(m.type));
		hsm_msg_clear(&m);
		return EXIT_PROTO;
	}
	err = session_open(&s, &m.u.start, FD_PIN, &hello, &failed);
	if (err == KSM_OK) {
		reply.type = HSM_HELLO;
		reply.u.hello = hello;
	} else {
		reply.type = HSM_FAILED;
		reply.u.failed = failed;
	}
	code = EXIT_LEFT;
	if (message_send(&reply) != KSM_OK || err != KSM_OK)
		goto out;
	for (;;) {
		err = message_recv(&m);
		if (err != KSM_OK) {
			code = exit_of(err);
			break;
		}
		if (!serve_one(&s, &seen, &m, &code)) {
			hsm_msg_clear(&m);
			break;
		}
		hsm_msg_clear(&m);
	}
out:
	(void)signal(SIGALRM, SIG_DFL);
	(void)alarm(FINALIZE_S);
	session_close(&s);
	inventory_free(seen.inventory);
	debris_free(seen.debris);
	return code;
}

int
main(int argc, char **argv)
{
	int code;

	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		(void)printf("ksmpool-hsm %s\n", KSM_VERSION);
		return 0;
	}
	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		(void)fputs(usage, stdout);
		return 0;
	}
	if (!is_packet_socket(FD_PROTOCOL)) {
		(void)fputs(usage, stderr);
		return EXIT_HUMAN;
	}
	hygiene();
	log_open("ksmpool-hsm");
	code = serve();
	(void)fflush(NULL);
	/* not exit: vendors crash in their destructors */
	_exit(code);
}
