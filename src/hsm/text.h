/*
 * text.h - words from a token or a vendor library, made fit for a message.
 *
 * Runs in: ksmpool-hsm.
 */
#ifndef KSMPOOL_HSM_TEXT_H
#define KSMPOOL_HSM_TEXT_H

#include <stddef.h>

/*
 * snprintf, after which control characters and what is not UTF-8 (vendors
 * write what they like, and cutting may split a character) are '?'.
 */
void text_format(char *out, size_t size, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* A blank-padded field of PKCS#11, without the padding. */
void text_field(const unsigned char *field, size_t len, char *out, size_t size);

#endif
