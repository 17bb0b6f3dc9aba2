/*
 * log.h - one line for the operator: subject, event, consequence.
 *
 * Runs in: every program (base). Writes to standard error; "<N>" priority
 *          prefixes when the journal reads it (JOURNAL_STREAM), otherwise
 *          program name and level. Never a PIN, at any level.
 */
#ifndef KSMPOOL_LOG_H
#define KSMPOOL_LOG_H

enum log_level { /* syslog's numbers */
	LOGL_ERROR = 3,
	LOGL_WARNING = 4,
	LOGL_NOTICE = 5,
	LOGL_INFO = 6,
	LOGL_DEBUG = 7,
};

void log_open(const char *program);
void log_level_set(enum log_level level);
const char *log_level_text(enum log_level level);
void log_line(enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#define log_error(...)	 log_line(LOGL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOGL_WARNING, __VA_ARGS__)
#define log_notice(...)	 log_line(LOGL_NOTICE, __VA_ARGS__)
#define log_info(...)	 log_line(LOGL_INFO, __VA_ARGS__)
#define log_debug(...)	 log_line(LOGL_DEBUG, __VA_ARGS__)

#endif
