/*
 * logsink.h - lines of the log, with fields, into the journal.
 *
 * Runs in: ksmpoold.
 * Owns:    nothing; sd_journal_sendv(3) keeps its own socket.
 * Fails:   into standard error, which has the line without its fields.
 */
#ifndef KSMPOOL_LOGSINK_H
#define KSMPOOL_LOGSINK_H

#include <sys/uio.h>

#include "ksmpool/log.h"

/* MESSAGE_ID of what operators may want to be told of; see ksmpoold(8). */
#define LOG_ID_STARTED	"2f3416e4457147eaac5b684f2f75b84c"
#define LOG_ID_STOPPED	"c2e81d22283a4ab2940f338cf0ce86fc"
#define LOG_ID_RELOADED "2591d57db7e24151882a449f65888a1e"
#define LOG_ID_REFUSED	"7c61d4c8359c4c50ae05783e69f6d5b5"
#define LOG_ID_DENIED	"d82c2aca66844ea693513794878c908c"

/*
 * When standard error is the journal (JOURNAL_STREAM names the very file that
 * it is): log through it from now on. True if so.
 */
bool logsink_open(void);

/*
 * What is sent for one line: at most LOGSINK_FIELDS, each in a row of `text`.
 * A field that does not fit is cut, one that is not said is left out; where
 * no error is said, it is the PKCS#11 return code that the line names.
 */
#define LOGSINK_FIELDS 9
#define LOGSINK_BYTES  2100
size_t logsink_fields(enum log_level level, const char *line,
    const struct log_about *about, char text[LOGSINK_FIELDS][LOGSINK_BYTES],
    struct iovec out[LOGSINK_FIELDS]);

/* "DEVICE:INODE" is that file. */
bool logsink_is_stream(const char *stream, int fd);

#endif
