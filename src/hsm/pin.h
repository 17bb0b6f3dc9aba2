/*
 * pin.h - the PIN: read once, used once, wiped.
 *
 * Runs in: ksmpool-hsm only; no other program ever holds a PIN.
 * Owns:    struct pin is the caller's storage, locked in memory where the
 *          limits allow it.
 */
#ifndef KSMPOOL_HSM_PIN_H
#define KSMPOOL_HSM_PIN_H

#include <stdbool.h>

#include "ksmpool/err.h"

#define PIN_MAX	  255
#define PIN_PRINT 64

struct pin {
	/* room for CR LF, and one more to see that it is too long */
	unsigned char bytes[PIN_MAX + 3];
	size_t len;
};

/*
 * Read all of `fd` from its start: it may be shared with workers before us.
 * One trailing newline, or CR and newline, is not part of the PIN.
 * KSM_EREFUSED with words (never with the PIN): not there, empty, too long,
 * several lines.
 */
enum ksm_err pin_read(int fd, struct pin *out, struct ksm_fail *fail);
void pin_wipe(struct pin *p);

/*
 * "SALT:xy": enough of a slow salted hash to see that a PIN that was refused
 * is offered again, and too little to find the PIN by trying. 12 bits: one
 * other PIN of 4096 is taken for the same, which costs an operator a resume.
 * `salt` NULL: a new one. KSM_ESYS when the system cannot hash.
 */
enum ksm_err pin_print(const struct pin *p, const char *salt,
    char out[PIN_PRINT], struct ksm_fail *fail);
/* Is `print` a print of this PIN? A print we cannot read is not. */
bool pin_print_matches(const struct pin *p, const char *print);

#endif
