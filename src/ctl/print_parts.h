/*
 * print_parts.h - what the printers of ksmctl share.
 *
 * Runs in: ksmctl. Private to print.c and print_*.c.
 */
#ifndef KSMPOOL_PRINT_PARTS_H
#define KSMPOOL_PRINT_PARTS_H

#include <stdint.h>

#include "ksmpool/err.h"
#include "ksmpool/text.h"

#include "print.h"

/* Members of the document; 0, "" and false when they are null or missing. */
int64_t doc_number(const json_t *o, const char *name);
const char *doc_text(const json_t *o, const char *name);
const char *doc_text_or(const json_t *o, const char *name, const char *none);
bool doc_known(const json_t *o, const char *name);
bool doc_flag(const json_t *o, const char *name);

/* Characters, not bytes; wide ones count as one. */
size_t text_width(const char *text);

/* Remarks of one row: "a, b, c". */
struct notes {
	char text[1024];
};
void notes_add(struct notes *n, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* "label   text" on a line of its own, cleaned. */
void fact(FILE *out, const char *label, const char *value);
/* "unknown" when it is null or missing. */
void fact_number(FILE *out, const char *label, const json_t *o,
    const char *field);
/* Keys of the pool that could be taken now, and ready ones that could not. */
int64_t pool_usable(const json_t *pool);
int64_t pool_unusable(const json_t *pool);
/* "pool P KSK in R is low: 3 ready, 40 required" */
void pool_trouble(const json_t *pool, char *out, size_t size);
/* POLICY/ROLE/REPOSITORY/ALGORITHM/SIZE, cleaned; explain takes it so. */
void pool_print(FILE *out, const json_t *pool);
/* A word as a shell takes it: quoted where it must be, cleaned. */
void word_print(FILE *out, const char *word);
/* Below a list: how many it has. */
void print_count(FILE *out, const json_t *doc, const char *one,
    const char *many);

#endif
