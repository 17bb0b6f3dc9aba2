/*
 * key.h - what a key is: its id, its role, its state.
 *
 * Runs in: every program (core: no I/O, no clock).
 *
 * CKA_ID is chosen by ksmpoold, 16 bytes: a 4-byte tag of the installation
 * and 12 random bytes, the same on both halves (PKCS#11 4.4.1). CKA_LABEL is
 * its lower-case hex.
 */
#ifndef KSMPOOL_KEY_H
#define KSMPOOL_KEY_H

#include <stdbool.h>

#include "ksmpool/err.h"

#define KEY_ID_LEN 16
#define KEY_ID_HEX (2 * KEY_ID_LEN + 1) /* with the NUL */
#define KEY_TAG_LEN 4

struct key_id {
	uint8_t bytes[KEY_ID_LEN];
};

enum key_role { ROLE_KSK, ROLE_ZSK, ROLE_CSK, ROLE__COUNT };

/* The life of a key; the table of allowed moves is in keystate.c. */
enum key_state {
	KEY_INTENDED,    /* row committed; the HSM may have been asked */
	KEY_UNKNOWN,     /* asked, no answer: to be settled */
	KEY_GONE,        /* was not there when looked for; kept for ever */
	KEY_MADE,        /* answer recorded, not yet seen by a second process */
	KEY_READY,       /* verified, unused */
	KEY_SURPLUS,     /* ready, but no pool asks for it any more */
	KEY_QUARANTINED, /* a check failed; kept for a human */
	KEY_TAKING,      /* chosen for a zone, being proven */
	KEY_TAKEN,       /* handed out, for ever */
	KEY_RETIRED,     /* no longer used; never ready again */
	KEY_MISSING,     /* was there, not found, token otherwise sound */
	KEY_DESTROYING,  /* intent committed before C_DestroyObject */
	KEY_CONSUMED,    /* the consumer destroyed it */
	KEY_DESTROYED,
	KEY__STATES
};

const char *key_role_text(enum key_role role); /* "KSK" */
bool key_role_find(const char *text, enum key_role *out);
const char *key_state_text(enum key_state state); /* "ready" */
bool key_state_find(const char *text, enum key_state *out);

/* True if the life of a key has an arrow from `from` to `to`. */
bool key_state_may(enum key_state from, enum key_state to);
/* The token should hold the pair (made, ready, surplus, quarantined, ...). */
bool key_state_living(enum key_state state);
/* Counts as "on its way or there" when deciding how many to make. */
bool key_state_stock(enum key_state state);
/* Why a pair in that state is not destroyed on request; NULL: it may be. */
const char *key_state_destroy_not(enum key_state state);
/* May a half be cleaned whose row is in that state? KEY__STATES: no row. */
bool key_state_half_may_go(enum key_state state);

void key_id_format(const struct key_id *id, char out[KEY_ID_HEX]);
/* Exactly 32 hex digits, either case. */
bool key_id_parse(const char *hex, struct key_id *out);
int key_id_cmp(const struct key_id *a, const struct key_id *b);
/* The same of two struct key_id, for qsort(3) and bsearch(3). */
int key_id_order(const void *a, const void *b);

/* Any bytes <-> lower-case hex; `out` holds 2 * len + 1. */
void hex_format(const uint8_t *bytes, size_t len, char *out);
/* Exactly 2 * len hex digits; false leaves `out` undefined. */
bool hex_parse(const char *hex, uint8_t *out, size_t len);

#endif
