/*
 * ksmpoold - makes DNSSEC keys ahead of need. Options only; see daemon.c.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "ksmpool/log.h"

#include "daemon.h"

static void
usage(FILE *to)
{
	(void)fprintf(to,
	    "usage: ksmpoold [--config FILE] [--once [--quiet]]\n"
	    "       ksmpoold --help | --version\n"
	    "\n"
	    "  -c, --config FILE  configuration (%s/ksmpool.xml)\n"
	    "  -1, --once         fill every pool and leave, for hosts without\n"
	    "                     a resident daemon\n"
	    "  -q, --quiet        log warnings and errors only\n"
	    "\n"
	    "Runs in the foreground and logs on standard error. ksmpoold(8)\n",
	    KSM_SYSCONFDIR);
}

/*
 * Nothing of this process may end in a file: no core, no ptrace by peers.
 * Whoever starts us may ignore SIGCHLD, and exec keeps that: then no child
 * could be waited for.
 */
static void
harden(void)
{
	static const struct rlimit none = { 0, 0 };

	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	(void)setrlimit(RLIMIT_CORE, &none);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGCHLD, SIG_DFL);
	(void)umask(0027);
}

int
main(int argc, char *argv[])
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "once", no_argument, NULL, '1' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	struct daemon_options want = { .file = KSM_SYSCONFDIR "/ksmpool.xml" };
	int c;

	while ((c = getopt_long(argc, argv, "c:1qhV", options, NULL)) != -1)
		switch (c) {
		case 'c':
			want.file = optarg;
			break;
		case '1':
			want.once = true;
			break;
		case 'q':
			want.quiet = true;
			break;
		case 'h':
			usage(stdout);
			return DAEMON_OK;
		case 'V':
			(void)printf("ksmpoold %s\n", KSM_VERSION);
			return DAEMON_OK;
		default:
			usage(stderr);
			return DAEMON_FAILED;
		}
	if (optind < argc) {
		(void)fprintf(stderr, "ksmpoold: unexpected '%s'\n",
		    argv[optind]);
		usage(stderr);
		return DAEMON_FAILED;
	}
	log_open("ksmpoold");
	harden();
	return daemon_main(&want);
}
