/*
 * ckr.h - PKCS#11 return codes: their names, what to do, what they prove.
 *
 * Runs in: ksmpool-hsm.
 * From:    PKCS#11 v3.0 base, 5.1 (return values), and how four modules
 *          really use them.
 */
#ifndef KSMPOOL_HSM_CKR_H
#define KSMPOOL_HSM_CKR_H

#include <stdbool.h>

#include <p11-kit/pkcs11.h>

#include "ksmpool/msg_hsm.h"

#define CKR_NAME 48

/* "CKR_PIN_LOCKED"; "CKR_0x80000001" for codes without a name. */
void ckr_name(CK_RV rv, char out[CKR_NAME]);
enum ckr_group ckr_group(CK_RV rv);
/*
 * May a C_GenerateKeyPair or C_DestroyObject that returned `rv` be believed
 * to have changed nothing? False is the safe answer: the outcome is unknown.
 */
bool ckr_clear_no(CK_RV rv);
/* The worker cannot go on after this: a fresh process must look. */
bool ckr_fatal(CK_RV rv);
/* Of these, the ones that say login, session or token is lost. */
bool ckr_lost(CK_RV rv);
/* C_Login said it is the PIN: the same one must not be tried again. */
bool ckr_pin_refused(CK_RV rv);

#endif
