/*
 * text.h - words: copies that fit, and what is counted.
 *
 * Runs in: all programs (core: pure).
 */
#ifndef KSMPOOL_TEXT_H
#define KSMPOOL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A whole text into an array of `size`; NULL is "". False: it does not fit. */
bool text_fit(const char *from, char *to, size_t size);
/* The word, or the end of it, that goes with so many. */
const char *plural(int64_t n, const char *one, const char *many);

#endif
