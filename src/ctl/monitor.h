/*
 * monitor.h - the parts of the monitoring plug-in, which know no daemon.
 *
 * Runs in: ksmctl.
 */
#ifndef KSMPOOL_MONITOR_H
#define KSMPOOL_MONITOR_H

#include <stdbool.h>

#include "ksmpool/msg_ctl.h"

/* Exit statuses of the plug-in convention. */
enum monitor_state {
	MONITOR_OK,
	MONITOR_WARNING,
	MONITOR_CRITICAL,
	MONITOR_UNKNOWN,
};

/* "10", "10:", "~:10", "10:20"; with a leading '@' inside is bad. */
struct monitor_range {
	bool given;
	bool inside;
	double low, high;
	char text[64]; /* as it was written */
};

/* False: it is no range; *out is untouched. */
bool monitor_range_parse(const char *text, struct monitor_range *out);
bool monitor_range_alerts(const struct monitor_range *r, double value);

struct monitor_want {
	struct monitor_range warning, critical;
	const char *pool;	/* POLICY[/ROLE[/REPOSITORY]]; NULL: all */
	const char *repository; /* NULL: all */
};

#define MONITOR_LINE 4000 /* with performance data, without newline */

/* One line about the document of the command "metrics". */
enum monitor_state monitor_judge(const struct monitor_want *want,
    const json_t *doc, char line[MONITOR_LINE]);

#endif
