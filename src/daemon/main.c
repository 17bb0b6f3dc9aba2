/*
 * ksmpoold - makes DNSSEC keys ahead of need. Options only; see daemon.c and
 * dbtool.c.
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
#include "dbtool.h"

static void
usage(FILE *to)
{
	(void)fprintf(to,
	    "usage: ksmpoold [--config FILE] [--once [--quiet]]\n"
	    "       ksmpoold --check-database FILE\n"
	    "       ksmpoold --copy-database FILE TO\n"
	    "       ksmpoold --help | --version\n"
	    "\n"
	    "  -c, --config FILE  configuration (%s/ksmpool.xml)\n"
	    "  -1, --once         fill every pool and leave, for hosts without\n"
	    "                     a resident daemon\n"
	    "  -q, --quiet        log warnings and errors only\n"
	    "  --check-database FILE\n"
	    "                     read all of a database and print its faults\n"
	    "  --copy-database FILE TO\n"
	    "                     whole copy of a database, also of one in use\n"
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
	(void)signal(SIGXFSZ, SIG_IGN); /* EFBIG has words */
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
		{ "check-database", required_argument, NULL, 'C' },
		{ "copy-database", required_argument, NULL, 'D' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	struct daemon_options want = { .file = KSM_SYSCONFDIR "/ksmpool.xml" };
	const char *check = NULL, *copy = NULL, *to = NULL;
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
		case 'C':
			check = optarg;
			break;
		case 'D':
			copy = optarg;
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
	if (copy != NULL) {
		if (optind == argc) {
			(void)fprintf(stderr,
			    "ksmpoold: --copy-database %s: expected the name "
			    "of the copy after it\n", copy);
			usage(stderr);
			return DBTOOL_FAILED;
		}
		to = argv[optind++];
	}
	if (optind < argc) {
		(void)fprintf(stderr, "ksmpoold: unexpected '%s'\n",
		    argv[optind]);
		usage(stderr);
		return DAEMON_FAILED;
	}
	if ((check != NULL) + (copy != NULL) + (want.once || want.quiet) > 1) {
		(void)fprintf(stderr, "ksmpoold: --check-database, "
				      "--copy-database and --once are three "
				      "things: expected one of them\n");
		return DAEMON_FAILED;
	}
	log_open("ksmpoold");
	harden();
	/* By the daemon it is run by another name; ps is to say this one. */
	(void)prctl(PR_SET_NAME, "ksmpoold", 0, 0, 0);
	if (check != NULL)
		return dbtool_check(check);
	if (copy != NULL)
		return dbtool_copy(copy, to);
	return daemon_main(&want);
}
