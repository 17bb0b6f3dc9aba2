#include "ksmpool/log.h"

#include <errno.h>
#include <stdarg.h>
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
static log_sink sink;

void
log_open(const char *program)
{
	program_name = program;
	to_journal = getenv("JOURNAL_STREAM") != NULL;
}

void
log_sink_set(log_sink fn)
{
	sink = fn;
}

void
log_level_set(enum log_level level)
{
	threshold = level;
}

enum log_level
log_level_get(void)
{
	return threshold;
}

bool
log_level_find(const char *text, enum log_level *out)
{
	for (size_t i = 0; i < nitems(levels); i++) {
		if (strcmp(levels[i].text, text) != 0)
			continue;
		*out = levels[i].level;
		return true;
	}
	return false;
}

const char *
log_level_text(enum log_level level)
{
	for (size_t i = 0; i < nitems(levels); i++)
		if (levels[i].level == level)
			return levels[i].text;
	return "info";
}

/* One write(2) per line, so that lines of several processes do not mix. */
static void
line_write(enum log_level level, const char *text)
{
	char line[2200];
	int n;

	if (to_journal)
		n = snprintf(line, sizeof(line), "<%d>%s\n", (int)level, text);
	else
		n = snprintf(line, sizeof(line), "%s: %s: %s\n", program_name,
		    log_level_text(level), text);
	if (n < 0 || (size_t)n >= sizeof(line))
		return;
	while (write(STDERR_FILENO, line, (size_t)n) == -1 && errno == EINTR)
		;
}

static void log_text(enum log_level level, const struct log_about *about,
    const char *fmt, va_list ap) __attribute__((format(printf, 3, 0)));

/* Control characters cannot forge a second line. */
static void
log_text(enum log_level level, const struct log_about *about, const char *fmt,
    va_list ap)
{
	char text[2048];
	int saved = errno;

	if (level > threshold || vsnprintf(text, sizeof(text), fmt, ap) < 0)
		return;
	for (char *c = text; *c != '\0'; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = ' ';
	if (sink == NULL || !sink(level, text, about))
		line_write(level, text);
	errno = saved;
}

void
log_line(enum log_level level, const char *fmt, ...)
{
	static const struct log_about nothing = { .policy = NULL };
	va_list ap;

	va_start(ap, fmt);
	log_text(level, &nothing, fmt, ap);
	va_end(ap);
}

void
log_event(
    enum log_level level, const struct log_about *about, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_text(level, about, fmt, ap);
	va_end(ap);
}
