#include "ckr.h"

#include <stdio.h>

/*
 * What a code proves about C_GenerateKeyPair.
 *
 * NO:    the token looked at the request and said no before it began, or
 *        PKCS#11 promises that nothing is left (v3.0 5.14.4: a template that
 *        cannot be supported creates no object).
 * MAYBE: given during the work, or by a layer between us and the token, or
 *        used by known modules for everything they did not think of.
 */
enum proof { MAYBE, NO };

struct ckr_row {
	CK_RV rv;
	const char *name;
	enum ckr_group group;
	enum proof proof;
};

/* clang-format off */
#define ROW(code, group, proof) { code, #code, group, proof }
/* clang-format on */

static const struct ckr_row rows[] = {
	ROW(CKR_OK, CKRG_OTHER, MAYBE),

	/* asked by a callback, which we do not have */
	ROW(CKR_CANCEL, CKRG_OTHER, MAYBE),
	/* "halfway", says the specification */
	ROW(CKR_FUNCTION_CANCELED, CKRG_OTHER, MAYBE),
	/* no memory for the answer is possible; NSS means "logged out" */
	ROW(CKR_HOST_MEMORY, CKRG_SESSION, MAYBE),
	ROW(CKR_GENERAL_ERROR, CKRG_NOTHING, MAYBE),
	ROW(CKR_FUNCTION_FAILED, CKRG_NOTHING, MAYBE),
	ROW(CKR_NO_EVENT, CKRG_OTHER, MAYBE),
	ROW(CKR_NEED_TO_CREATE_THREADS, CKRG_OTHER, NO),
	ROW(CKR_CANT_LOCK, CKRG_OTHER, NO),
	ROW(CKR_LIBRARY_LOAD_FAILED, CKRG_OTHER, NO),
	ROW(CKR_MUTEX_BAD, CKRG_OTHER, MAYBE),
	ROW(CKR_MUTEX_NOT_LOCKED, CKRG_OTHER, MAYBE),

	/* the request is not for this token */
	ROW(CKR_ARGUMENTS_BAD, CKRG_POLICY, NO), /* NSS: odd RSA sizes */
	ROW(CKR_ATTRIBUTE_READ_ONLY, CKRG_POLICY, NO),
	ROW(CKR_ATTRIBUTE_SENSITIVE, CKRG_POLICY, NO),
	ROW(CKR_ATTRIBUTE_TYPE_INVALID, CKRG_POLICY, NO),
	ROW(CKR_ATTRIBUTE_VALUE_INVALID, CKRG_POLICY, NO),
	ROW(CKR_ACTION_PROHIBITED, CKRG_POLICY, NO),
	ROW(CKR_FUNCTION_NOT_SUPPORTED, CKRG_POLICY, NO),
	ROW(CKR_FUNCTION_NOT_PARALLEL, CKRG_POLICY, NO),
	ROW(CKR_FUNCTION_REJECTED, CKRG_POLICY, NO),
	ROW(CKR_KEY_SIZE_RANGE, CKRG_POLICY, NO),
	ROW(CKR_KEY_TYPE_INCONSISTENT, CKRG_POLICY, NO),
	ROW(CKR_KEY_FUNCTION_NOT_PERMITTED, CKRG_POLICY, NO),
	ROW(CKR_MECHANISM_INVALID, CKRG_POLICY, NO),
	ROW(CKR_MECHANISM_PARAM_INVALID, CKRG_POLICY, NO),
	ROW(CKR_TEMPLATE_INCOMPLETE, CKRG_POLICY, NO),
	ROW(CKR_TEMPLATE_INCONSISTENT, CKRG_POLICY, NO),
	ROW(CKR_DOMAIN_PARAMS_INVALID, CKRG_POLICY, NO),
	ROW(CKR_CURVE_NOT_SUPPORTED, CKRG_POLICY, NO),
	ROW(CKR_RANDOM_NO_RNG, CKRG_POLICY, NO),
	ROW(CKR_RANDOM_SEED_NOT_SUPPORTED, CKRG_POLICY, NO),

	/* a limit of the token, by rights given before anything is made */
	ROW(CKR_DEVICE_MEMORY, CKRG_FULL, NO),

	/* the PIN */
	ROW(CKR_PIN_INCORRECT, CKRG_PIN, NO),
	ROW(CKR_PIN_INVALID, CKRG_PIN, NO),
	ROW(CKR_PIN_LEN_RANGE, CKRG_PIN, NO),
	ROW(CKR_PIN_EXPIRED, CKRG_PIN, NO),
	ROW(CKR_PIN_LOCKED, CKRG_PIN, NO),
	ROW(CKR_PIN_TOO_WEAK, CKRG_PIN, NO),
	ROW(CKR_USER_PIN_NOT_INITIALIZED, CKRG_PIN, NO),
	ROW(CKR_NEW_PIN_MODE, CKRG_PIN, NO),
	ROW(CKR_NEXT_OTP, CKRG_PIN, NO),

	/* login lost: seen before the work by every module we know */
	ROW(CKR_USER_NOT_LOGGED_IN, CKRG_LOGIN, NO),
	ROW(CKR_USER_ALREADY_LOGGED_IN, CKRG_LOGIN, NO),
	ROW(CKR_USER_ANOTHER_ALREADY_LOGGED_IN, CKRG_LOGIN, NO),
	ROW(CKR_USER_TOO_MANY_TYPES, CKRG_LOGIN, NO),
	ROW(CKR_USER_TYPE_INVALID, CKRG_LOGIN, NO),

	/*
	 * Session lost: a network module may have lost it after the device
	 * began, and repeat the call on a new line that knows no session.
	 */
	ROW(CKR_SESSION_HANDLE_INVALID, CKRG_SESSION, MAYBE),
	ROW(CKR_SESSION_CLOSED, CKRG_SESSION, MAYBE),
	ROW(CKR_CRYPTOKI_NOT_INITIALIZED, CKRG_SESSION, MAYBE),
	ROW(CKR_CRYPTOKI_ALREADY_INITIALIZED, CKRG_SESSION, NO),
	/* no new session, or the one we have cannot do this now */
	ROW(CKR_SESSION_COUNT, CKRG_SESSION, NO),
	ROW(CKR_SESSION_EXISTS, CKRG_SESSION, NO),
	ROW(CKR_SESSION_READ_ONLY_EXISTS, CKRG_SESSION, NO),
	ROW(CKR_SESSION_READ_WRITE_SO_EXISTS, CKRG_SESSION, NO),
	ROW(CKR_OPERATION_ACTIVE, CKRG_SESSION, NO),
	ROW(CKR_OPERATION_NOT_INITIALIZED, CKRG_SESSION, NO),

	/* cannot be written: an operator's matter, looking again is cheap */
	ROW(CKR_SESSION_READ_ONLY, CKRG_OTHER, NO),
	ROW(CKR_SESSION_PARALLEL_NOT_SUPPORTED, CKRG_OTHER, NO),
	ROW(CKR_TOKEN_WRITE_PROTECTED, CKRG_OTHER, NO),

	/* token lost: at which moment, nobody says */
	ROW(CKR_DEVICE_ERROR, CKRG_TOKEN, MAYBE),
	ROW(CKR_DEVICE_REMOVED, CKRG_TOKEN, MAYBE),
	ROW(CKR_SLOT_ID_INVALID, CKRG_TOKEN, MAYBE),
	ROW(CKR_TOKEN_NOT_PRESENT, CKRG_TOKEN, MAYBE),
	ROW(CKR_TOKEN_NOT_RECOGNIZED, CKRG_TOKEN, MAYBE),
	ROW(CKR_FIPS_SELF_TEST_FAILED, CKRG_TOKEN, MAYBE),

	/*
	 * Of other calls. From C_GenerateKeyPair they come out of its inside
	 * (it made a key and could not find it, wrap it, ...).
	 */
	ROW(CKR_OBJECT_HANDLE_INVALID, CKRG_OTHER, MAYBE),
	ROW(CKR_KEY_HANDLE_INVALID, CKRG_OTHER, MAYBE),
	ROW(CKR_KEY_NOT_NEEDED, CKRG_OTHER, MAYBE),
	ROW(CKR_KEY_CHANGED, CKRG_OTHER, MAYBE),
	ROW(CKR_KEY_NEEDED, CKRG_OTHER, MAYBE),
	ROW(CKR_KEY_INDIGESTIBLE, CKRG_OTHER, MAYBE),
	ROW(CKR_KEY_NOT_WRAPPABLE, CKRG_OTHER, MAYBE),
	ROW(CKR_KEY_UNEXTRACTABLE, CKRG_OTHER, MAYBE),
	ROW(CKR_DATA_INVALID, CKRG_OTHER, MAYBE),
	ROW(CKR_DATA_LEN_RANGE, CKRG_OTHER, MAYBE),
	ROW(CKR_ENCRYPTED_DATA_INVALID, CKRG_OTHER, MAYBE),
	ROW(CKR_ENCRYPTED_DATA_LEN_RANGE, CKRG_OTHER, MAYBE),
	ROW(CKR_SIGNATURE_INVALID, CKRG_OTHER, MAYBE),
	ROW(CKR_SIGNATURE_LEN_RANGE, CKRG_OTHER, MAYBE),
	ROW(CKR_UNWRAPPING_KEY_HANDLE_INVALID, CKRG_OTHER, MAYBE),
	ROW(CKR_UNWRAPPING_KEY_SIZE_RANGE, CKRG_OTHER, MAYBE),
	ROW(CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT, CKRG_OTHER, MAYBE),
	ROW(CKR_WRAPPED_KEY_INVALID, CKRG_OTHER, MAYBE),
	ROW(CKR_WRAPPED_KEY_LEN_RANGE, CKRG_OTHER, MAYBE),
	ROW(CKR_WRAPPING_KEY_HANDLE_INVALID, CKRG_OTHER, MAYBE),
	ROW(CKR_WRAPPING_KEY_SIZE_RANGE, CKRG_OTHER, MAYBE),
	ROW(CKR_WRAPPING_KEY_TYPE_INCONSISTENT, CKRG_OTHER, MAYBE),
	ROW(CKR_BUFFER_TOO_SMALL, CKRG_OTHER, MAYBE),
	ROW(CKR_SAVED_STATE_INVALID, CKRG_OTHER, MAYBE),
	ROW(CKR_INFORMATION_SENSITIVE, CKRG_OTHER, MAYBE),
	ROW(CKR_STATE_UNSAVEABLE, CKRG_OTHER, MAYBE),
	ROW(CKR_EXCEEDED_MAX_ITERATIONS, CKRG_OTHER, MAYBE),
	ROW(CKR_PUBLIC_KEY_INVALID, CKRG_OTHER, MAYBE),
};

static const struct ckr_row *
row_find(CK_RV rv)
{
	for (size_t i = 0; i < nitems(rows); i++)
		if (rows[i].rv == rv)
			return &rows[i];
	return NULL;
}

void
ckr_name(CK_RV rv, char out[CKR_NAME])
{
	const struct ckr_row *row = row_find(rv);

	if (row != NULL)
		(void)snprintf(out, CKR_NAME, "%s", row->name);
	else
		(void)snprintf(out, CKR_NAME, "CKR_0x%08lx", rv);
}

enum ckr_group
ckr_group(CK_RV rv)
{
	const struct ckr_row *row = row_find(rv);

	/* a vendor's own code tells us no more than CKR_GENERAL_ERROR */
	return row != NULL ? row->group : CKRG_NOTHING;
}

bool
ckr_clear_no(CK_RV rv)
{
	const struct ckr_row *row = row_find(rv);

	return row != NULL && row->proof == NO;
}

bool
ckr_lost(CK_RV rv)
{
	enum ckr_group group = ckr_group(rv);

	return group == CKRG_LOGIN || group == CKRG_SESSION ||
	       group == CKRG_TOKEN;
}

bool
ckr_fatal(CK_RV rv)
{
	return ckr_lost(rv) || ckr_group(rv) == CKRG_NOTHING;
}

bool
ckr_pin_refused(CK_RV rv)
{
	return ckr_group(rv) == CKRG_PIN;
}
