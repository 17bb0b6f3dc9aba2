/*
 * log.h - one line for the operator: subject, event, consequence.
 *
 * Runs in: every program (base). Writes to standard error; "<N>" priority
 *          prefixes when the journal reads it (JOURNAL_STREAM), otherwise
 *          program name and level. Never a PIN, at any level.
 *
 * A line may say what it is about; a sink (the daemon's: the journal) gets
 * that as fields beside the line, and standard error the line alone.
 */
#ifndef KSMPOOL_LOG_H
#define KSMPOOL_LOG_H

#include <stdbool.h>

enum log_level { /* syslog's numbers */
	LOGL_ERROR = 3,
	LOGL_WARNING = 4,
	LOGL_NOTICE = 5,
	LOGL_INFO = 6,
	LOGL_DEBUG = 7,
};

struct log_about {
	const char *policy, *role, *repository, *key, *error; /* NULL: not said */
	const char *id; /* 32 hex digits: MESSAGE_ID of this kind of event */
};
/* False: not written, standard error is to have it. */
typedef bool (*log_sink)(enum log_level level, const char *text,
    const struct log_about *about);

void log_open(const char *program);
void log_sink_set(log_sink sink);
void log_level_set(enum log_level level);
enum log_level log_level_get(void);
const char *log_level_text(enum log_level level);
bool log_level_find(const char *text, enum log_level *out);
void log_line(enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void log_event(enum log_level level, const struct log_about *about,
    const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#define log_error(...)	 log_line(LOGL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOGL_WARNING, __VA_ARGS__)
#define log_notice(...)	 log_line(LOGL_NOTICE, __VA_ARGS__)
#define log_info(...)	 log_line(LOGL_INFO, __VA_ARGS__)
#define log_debug(...)	 log_line(LOGL_DEBUG, __VA_ARGS__)

#endif
