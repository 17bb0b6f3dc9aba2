/*
 * digest.h - SHA-256, and base64.
 *
 * Runs in: ksmpoold. OpenSSL's, as in keycheck.c; the store needs it for the
 *          chain of its history and to check what it has of public keys.
 */
#ifndef KSMPOOL_DIGEST_H
#define KSMPOOL_DIGEST_H

#include "ksmpool/err.h"

#define DIGEST_LEN 32

/* Base64 of RFC 4648, on one line; malloc'd, NULL: no memory. */
char *digest_base64(const void *p, size_t len);
/* KSM_ESYS: OpenSSL has no SHA-256 for us. */
enum ksm_err digest_sha256(const void *p, size_t len, uint8_t out[DIGEST_LEN],
    struct ksm_fail *fail);

#endif
