#include "pin.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include <crypt.h>

#define SALT_LEN    8
#define PRINT_CHARS 2 /* of crypt's base 64: 12 bits */

static ssize_t
read_from_start(int fd, unsigned char *buf, size_t size)
{
	bool seekable = true;
	size_t have = 0;
	ssize_t n;

	while (have < size) {
		n = seekable ? pread(fd, buf + have, size - have, (off_t)have)
			     : read(fd, buf + have, size - have);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1 && errno == ESPIPE && seekable) {
			seekable = false;
			continue;
		}
		if (n == -1)
			return -1;
		if (n == 0)
			break;
		have += (size_t)n;
	}
	return (ssize_t)have;
}

enum ksm_err
pin_read(int fd, struct pin *out, struct ksm_fail *fail)
{
	enum ksm_err err = KSM_OK;
	ssize_t n;

	memset(out, 0, sizeof(*out));
	(void)mlock(out, sizeof(*out)); /* best effort: there is no swap file
					   on most hosts with an HSM */
	n = read_from_start(fd, out->bytes, sizeof(out->bytes));
	if (n == -1 && errno == EBADF) {
		err = ksm_failf(fail, KSM_EREFUSED, "no PIN was given");
		goto out;
	}
	if (n == -1) {
		err = ksm_failf(fail, KSM_EREFUSED,
		    "the PIN cannot be read: %s", strerror(errno));
		goto out;
	}
	out->len = (size_t)n;
	if (out->len == sizeof(out->bytes)) {
		err = ksm_failf(fail, KSM_EREFUSED,
		    "the PIN is longer than %d bytes", PIN_MAX);
		goto out;
	}
	if (out->len > 0 && out->bytes[out->len - 1] == '\n') {
		out->len--;
		if (out->len > 0 && out->bytes[out->len - 1] == '\r')
			out->len--;
	}
	if (n == 0)
		err = ksm_failf(fail, KSM_EREFUSED, "no PIN was given");
	else if (out->len == 0)
		err = ksm_failf(fail, KSM_EREFUSED, "the PIN is empty");
	else if (out->len > PIN_MAX)
		err = ksm_failf(fail, KSM_EREFUSED,
		    "the PIN is longer than %d bytes", PIN_MAX);
	else if (memchr(out->bytes, '\n', out->len) != NULL ||
		 memchr(out->bytes, '\0', out->len) != NULL)
		/* not ours to guess which line; a guess costs a try */
		err = ksm_failf(fail, KSM_EREFUSED,
		    "the PIN source holds more than one line, or a NUL");
	else
		out->bytes[out->len] = '\0';
out:
	if (err != KSM_OK)
		pin_wipe(out);
	return err;
}

void
pin_wipe(struct pin *p)
{
	explicit_bzero(p, sizeof(*p));
}

static enum ksm_err
salt_new(char salt[SALT_LEN + 1], struct ksm_fail *fail)
{
	static const char digits[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz";
	unsigned char raw[SALT_LEN];

	if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
		return ksm_failf(
		    fail, KSM_ESYS, "getrandom: %s", strerror(errno));
	for (size_t i = 0; i < SALT_LEN; i++)
		salt[i] = digits[raw[i] % 64];
	salt[SALT_LEN] = '\0';
	return KSM_OK;
}

enum ksm_err
pin_print(const struct pin *p, const char *salt, char out[PIN_PRINT],
    struct ksm_fail *fail)
{
	enum ksm_err err = KSM_OK;
	struct crypt_data *work = NULL;
	char fresh[SALT_LEN + 1], setting[SALT_LEN + 4];
	const char *hash, *tail;

	if (salt == NULL) {
		err = salt_new(fresh, fail);
		if (err != KSM_OK)
			return err;
		salt = fresh;
	}
	(void)snprintf(setting, sizeof(setting), "$6$%.*s", SALT_LEN, salt);
	work = calloc(1, sizeof(*work));
	if (work == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "no memory");
	/* not crypt_r: this one fails with NULL and not with a "*0" hash */
	hash =
	    crypt_rn((const char *)p->bytes, setting, work, (int)sizeof(*work));
	tail = hash != NULL ? strrchr(hash, '$') : NULL;
	if (tail == NULL || strlen(tail + 1) < PRINT_CHARS) {
		err = ksm_failf(fail, KSM_ESYS, "crypt: cannot hash");
		goto out;
	}
	(void)snprintf(
	    out, PIN_PRINT, "%.*s:%.*s", SALT_LEN, salt, PRINT_CHARS, tail + 1);
out:
	explicit_bzero(work, sizeof(*work)); /* it keeps the phrase */
	free(work);
	return err;
}

bool
pin_print_matches(const struct pin *p, const char *print)
{
	const char *colon = strchr(print, ':');
	char salt[SALT_LEN + 1], mine[PIN_PRINT];
	struct ksm_fail fail;

	if (colon == NULL || colon - print != SALT_LEN)
		return false;
	memcpy(salt, print, SALT_LEN);
	salt[SALT_LEN] = '\0';
	return pin_print(p, salt, mine, &fail) == KSM_OK &&
	       strcmp(mine, print) == 0;
}
