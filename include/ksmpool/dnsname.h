/*
 * dnsname.h - zone names compared as DNS names.
 *
 * Runs in: ksmpool-config, ksmctl, ksmpoold (core: no I/O).
 * From:    RFC 1035 5.1 (escapes), RFC 4343 (case), RFC 2317 (slashes).
 */
#ifndef KSMPOOL_DNSNAME_H
#define KSMPOOL_DNSNAME_H

#include "ksmpool/err.h"

#define DNSNAME_WIRE 255
#define DNSNAME_TEXT 1024 /* four characters an octet, at worst */

/*
 * Text to lower-cased wire form. A trailing dot is ignored; "." is the root;
 * \. and \DDD escapes are read; any octet but NUL-terminating and blanks is
 * allowed unescaped (RFC 2317 names have '/'). KSM_EREFUSED with words:
 * empty name, empty label, label over 63, name over 255, bad escape.
 */
enum ksm_err dnsname_parse(const char *text, uint8_t wire[DNSNAME_WIRE],
    size_t *len, struct ksm_fail *fail);
/*
 * Wire form to the one text that all its spellings have: lower case as it is,
 * no trailing dot but "." for the root, other octets than letters, digits and
 * harmless marks escaped as in RFC 1035 5.1.
 */
void dnsname_text(const uint8_t *wire, size_t len, char out[DNSNAME_TEXT]);

#endif
