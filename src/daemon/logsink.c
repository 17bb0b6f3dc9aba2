#define SD_JOURNAL_SUPPRESS_LOCATION /* the line says where */

#include "logsink.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "ksmpool/err.h"

#define IDENTIFIER "ksmpoold"
/* Without it sd_journal_sendv(3) says that all is well and sends nothing. */
#define JOURNAL_SOCKET "/run/systemd/journal/socket"

bool
logsink_is_stream(const char *stream, int fd)
{
	char is[64];
	struct stat sb;

	if (stream == NULL || fstat(fd, &sb) == -1)
		return false;
	(void)snprintf(is, sizeof(is), "%ju:%ju", (uintmax_t)sb.st_dev,
	    (uintmax_t)sb.st_ino);
	return strcmp(is, stream) == 0;
}

/* The PKCS#11 return code that the words name, or "". */
static void
ckr_of(const char *line, char out[64])
{
	const char *at = strstr(line, "CKR_");
	size_t n;

	out[0] = '\0';
	if (at == NULL)
		return;
	n = strspn(at, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");
	(void)snprintf(out, 64, "%.*s", n < 63 ? (int)n : 63, at);
}

size_t
logsink_fields(enum log_level level, const char *line,
    const struct log_about *about, char text[LOGSINK_FIELDS][LOGSINK_BYTES],
    struct iovec out[LOGSINK_FIELDS])
{
	char priority[8], ckr[64];
	const struct {
		const char *name, *value;
	} fields[LOGSINK_FIELDS] = {
		{ "MESSAGE", line },
		{ "PRIORITY", priority },
		{ "SYSLOG_IDENTIFIER", IDENTIFIER },
		{ "KSMPOOL_POLICY", about->policy },
		{ "KSMPOOL_ROLE", about->role },
		{ "KSMPOOL_REPOSITORY", about->repository },
		{ "KSMPOOL_KEY", about->key },
		{ "KSMPOOL_ERROR",
		    about->error != NULL ? about->error : ckr },
		{ "MESSAGE_ID", about->id },
	};
	size_t n = 0;

	ckr_of(line, ckr);
	(void)snprintf(priority, sizeof(priority), "%d", (int)level);
	for (size_t i = 0; i < nitems(fields); i++) {
		if (fields[i].value == NULL || fields[i].value[0] == '\0')
			continue;
		(void)snprintf(text[n], LOGSINK_BYTES, "%s=%s", fields[i].name,
		    fields[i].value);
		out[n] = (struct iovec){ text[n], strlen(text[n]) };
		n++;
	}
	return n;
}

static bool
journal_send(enum log_level level, const char *line,
    const struct log_about *about)
{
	char text[LOGSINK_FIELDS][LOGSINK_BYTES];
	struct iovec fields[LOGSINK_FIELDS];
	size_t n = logsink_fields(level, line, about, text, fields);

	return access(JOURNAL_SOCKET, W_OK) == 0 &&
	    sd_journal_sendv(fields, (int)n) >= 0;
}

bool
logsink_open(void)
{
	if (!logsink_is_stream(getenv("JOURNAL_STREAM"), STDERR_FILENO))
		return false;
	log_sink_set(journal_send);
	return true;
}
