#include "ksmpool/log.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ksmpool/err.h"

static const struct {
	enum log_level level;
	const char *text;
} levels[] = {
	{ LOGL_ERROR, "error" },   { LOGL_WARNING, "warning" },
	{ LOGL_NOTICE, "notice" }, { LOGL_INFO, "info" },
	{ LOGL_DEBUG, "debug" },
};

static enum log_level threshold = LOGL_INFO;
static const char *program_name = "ksmpool";
static bool to_journal;

void
log_open(const char *program)
{
	program_name = program;
	to_journal = getenv("JOURNAL_STREAM") != NULL;
}

void
log_level_set(enum log_level level)
{
	threshold = level;
}

const char *
log_level_text(enum log_level level)
{
	for (size_t i = 0; i < nitems(levels); i++)
		if (levels[i].level == level)
			return levels[i].text;
	return "info";
}

/*
 * One write(2) per line, so that lines of several processes on one pipe do
 * not mix; control characters cannot forge a second line.
 */
void
log_line(enum log_level level, const char *fmt, ...)
{
	char line[2048];
	int saved = errno, n;
	size_t used, head;
	va_list ap;

	if (level > threshold)
		return;
	if (to_journal)
		n = snprintf(line, sizeof(line), "<%d>", (int)level);
	else
		n = snprintf(line, sizeof(line), "%s: %s: ", program_name,
		    log_level_text(level));
	if (n < 0 || (size_t)n >= sizeof(line))
		return;
	head = (size_t)n;
	va_start(ap, fmt);
	n = vsnprintf(line + head, sizeof(line) - head - 1, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	used = strlen(line);
	for (size_t i = head; i < used; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = ' ';
	line[used++] = '\n';
	while (write(STDERR_FILENO, line, used) == -1 && errno == EINTR)
		;
	errno = saved;
}
