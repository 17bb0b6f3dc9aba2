/* ksmpool-config: reads and checks every XML file; see ksmpool-config(8). */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "ksmpool/log.h"

#include "config.h"

#define EXIT_FAULT 2
#define EXIT_USAGE 64
#define PACKETS_FD 3

static const char usage_text[] =
    "usage: ksmpool-config check [--config FILE] [--kasp FILE]\n"
    "           [--zonelist FILE] [--opendnssec FILE] [--strict] [--json]\n"
    "       ksmpool-config send --config FILE [--own]\n"
    "       ksmpool-config --help | --version\n"
    "\n"
    "check  read the files and report every fault\n"
    "       exit status: 0 good, 1 warnings with --strict, 2 errors\n"
    "send   for ksmpoold: the configuration as packets on descriptor 3\n"
    "\n"
    "  --config FILE      default " KSM_SYSCONFDIR "/ksmpool.xml, unless\n"
    "                     other files are given\n"
    "  --kasp FILE        the policies\n"
    "  --zonelist FILE    the zones\n"
    "  --opendnssec FILE  conf.xml of OpenDNSSEC, for its repositories\n"
    "  --strict           warnings count: exit status 1\n"
    "  --json             one JSON document\n"
    "  --own              only what FILE itself says\n";

enum option_id {
	OPT_CONFIG = 256,
	OPT_KASP,
	OPT_ZONELIST,
	OPT_OPENDNSSEC,
	OPT_STRICT,
	OPT_JSON,
	OPT_OWN,
	OPT_HELP,
	OPT_VERSION,
};

static const struct option options[] = {
	{ "config", required_argument, NULL, OPT_CONFIG },
	{ "kasp", required_argument, NULL, OPT_KASP },
	{ "zonelist", required_argument, NULL, OPT_ZONELIST },
	{ "opendnssec", required_argument, NULL, OPT_OPENDNSSEC },
	{ "strict", no_argument, NULL, OPT_STRICT },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "own", no_argument, NULL, OPT_OWN },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 },
};

/* PINs pass through this process: it must leave no core file. */
static void
process_close_up(void)
{
	struct rlimit none = { 0, 0 };

	(void)setrlimit(RLIMIT_CORE, &none);
#ifndef __SANITIZE_ADDRESS__ /* its leak check traces its own process */
	(void)prctl(PR_SET_DUMPABLE, 0);
#endif
	(void)signal(SIGPIPE, SIG_IGN);
}

static int
run_send(const struct inputs *in)
{
	struct ksm_fail fail = { .err = KSM_OK };
	struct loaded loaded;
	enum ksm_err err;

	err = config_load(in, &loaded, &fail);
	if (err == KSM_OK)
		err = config_send(&loaded.conf, PACKETS_FD, &fail);
	if (err != KSM_OK)
		log_error("send %s: %s", in->config, fail.text);
	loaded_clear(&loaded);
	return err == KSM_OK ? 0 : EXIT_FAULT;
}

static int
run_check(const struct inputs *in, const struct check_options *how)
{
	struct ksm_fail fail = { .err = KSM_OK };
	struct loaded loaded;
	int status = EXIT_FAULT;
	enum ksm_err err;

	err = config_load(in, &loaded, &fail);
	if (err == KSM_OK)
		err = config_report(&loaded, how, &status, &fail);
	if (err != KSM_OK && how->json)
		config_say_error("failed", fail.text, NULL);
	else if (err != KSM_OK)
		log_error("check: %s", fail.text);
	loaded_clear(&loaded);
	return err == KSM_OK ? status : EXIT_FAULT;
}

static int
usage(bool json, const char *why, const char *what)
{
	char text[256];

	(void)snprintf(text, sizeof(text), "%s%s", why, what);
	if (json)
		config_say_error("usage", text,
		    "'ksmpool-config --help' says more");
	else
		(void)fprintf(stderr,
		    "ksmpool-config: %s\nTry 'ksmpool-config --help'.\n",
		    text);
	return EXIT_USAGE;
}

/* After getopt_long(3) said `o` of the word before optind. */
static int
option_fault(bool json, int o, char *const argv[])
{
	const char *word = argv[optind - 1];
	char letter[3] = { '-', (char)optopt, '\0' };

	if (o == ':')
		return usage(json, "an option without its value: ", word);
	if (optopt >= OPT_CONFIG)
		return usage(json, "an option that takes no value: ", word);
	return usage(json, "unknown option: ", optopt != 0 ? letter : word);
}

/* Before anything can be wrong: in which form shall errors be said? */
static bool
json_wanted(int argc, char *const argv[])
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--json") == 0)
			return true;
	return false;
}

int
main(int argc, char *argv[])
{
	struct check_options how = { .strict = false };
	struct inputs in = { .config = NULL };
	const char *command;
	int o;

	log_open("ksmpool-config");
	process_close_up();
	how.json = json_wanted(argc, argv);
	opterr = 0;
	while ((o = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		switch (o) {
		case OPT_CONFIG:
			in.config = optarg;
			break;
		case OPT_KASP:
			in.kasp = optarg;
			break;
		case OPT_ZONELIST:
			in.zonelist = optarg;
			break;
		case OPT_OPENDNSSEC:
			in.opendnssec = optarg;
			break;
		case OPT_STRICT:
			how.strict = true;
			break;
		case OPT_JSON:
			how.json = true;
			break;
		case OPT_OWN:
			in.own = true;
			break;
		case 'h':
		case OPT_HELP:
			if (how.json)
				config_say("help", usage_text);
			else
				(void)fputs(usage_text, stdout);
			return 0;
		case OPT_VERSION:
			if (how.json)
				config_say("config_version", KSM_VERSION);
			else
				(void)puts("ksmpool-config " KSM_VERSION);
			return 0;
		default:
			return option_fault(how.json, o, argv);
		}
	}
	if (optind == argc)
		return usage(how.json, "a command is missing: ",
		    "check or send");
	command = argv[optind++];
	if (optind != argc)
		return usage(how.json, "unexpected argument: ", argv[optind]);

	if (strcmp(command, "send") == 0) {
		if (in.config == NULL)
			return usage(how.json, "send needs --config FILE", "");
		if (in.kasp != NULL || in.zonelist != NULL ||
		    in.opendnssec != NULL || how.strict || how.json)
			return usage(how.json,
			    "send takes --config and --own only", "");
		in.index = !in.own;
		return run_send(&in);
	}
	if (strcmp(command, "check") == 0) {
		if (in.own)
			return usage(how.json, "--own is for send", "");
		if (in.config == NULL && in.kasp == NULL &&
		    in.zonelist == NULL && in.opendnssec == NULL)
			in.config = KSM_SYSCONFDIR "/ksmpool.xml";
		return run_check(&in, &how);
	}
	return usage(how.json, "unknown command: ", command);
}
