/*
 * session.h - one module, one token, one logged-in session.
 *
 * Runs in: ksmpool-hsm.
 * Owns:    the module (never unloaded: vendors crash in their destructors),
 *          the session, the mechanism list.
 * Blocks:  as long as the vendor's code likes; ksmpoold has the clock.
 * From:    PKCS#11 v3.0 base 5.4 to 5.6; RFC 7512 for URIs.
 */
#ifndef KSMPOOL_HSM_SESSION_H
#define KSMPOOL_HSM_SESSION_H

#include <stdbool.h>

#include <p11-kit/pkcs11.h>

#include "ksmpool/msg_hsm.h"

struct session {
	CK_FUNCTION_LIST *fn; /* NULL: no module loaded */
	bool initialized;     /* by us: C_Finalize is ours to call */
	CK_SLOT_ID slot;
	CK_SESSION_HANDLE handle; /* CK_INVALID_HANDLE: none */
	CK_TOKEN_INFO token;	  /* as seen when it was found */
	CK_MECHANISM_TYPE *mechs; /* NULL: the token does not tell */
	CK_ULONG nmechs;
	struct hsm_start start; /* pReserved must outlive the module */
	/*
	 * EdDSA curves by name or by OID: what this token took last, so that
	 * the second form is tried once per worker and not once per key.
	 */
	bool curve_by_name;
};

/*
 * Load, initialise, find the one token, open a read-write session, log in
 * once with the PIN of `pin_fd`. A token that is not seen is looked for
 * again after C_Finalize and C_Initialize, five times in all: a SoftHSM
 * process that starts while another logs in may miss it, and nothing else
 * cures that. KSM_EREFUSED: *failed says why. Call session_close either way.
 */
enum ksm_err session_open(struct session *s, const struct hsm_start *start,
    int pin_fd, struct hsm_hello *hello, struct hsm_failed *failed);
void session_close(struct session *s);

/* True as well when the token does not tell its mechanisms. */
bool session_has(const struct session *s, CK_MECHANISM_TYPE mechanism);
/*
 * Ask the token who it is: is it there, and the one we logged in to? An
 * answer "nothing found, CKR_OK" is worth something only then. CKR_OK, the
 * token's code, or CKR_TOKEN_NOT_RECOGNIZED when it is another.
 */
CK_RV session_check(struct session *s);

#endif
