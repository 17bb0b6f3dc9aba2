/*
 * errand_parts.h - errands of the engine, in three files: errand.c (from the
 * asking to the end), errand_found.c (an inventory), errand_item.c (one id).
 *
 * Runs in: ksmpoold; for these files alone.
 */
#ifndef KSMPOOL_ERRAND_PARTS_H
#define KSMPOOL_ERRAND_PARTS_H

#include "engine_parts.h"

/* errand.c */
/* `why` NULL: it was done, whatever became of each id. */
void errand_end(struct engine *e, struct repo *r, const char *why);
/* Another worker goes on from the id in hand. */
void job_anew(struct engine *e, struct repo *r);

/* errand_found.c */
void sightings_clear(struct job *j);
/* A page of what its worker saw; false: no memory. */
bool objects_note(struct job *j, const struct hsm_objects *page);
/* All are there: from here on they are found by id. */
void sightings_order(struct job *j);
bool sighting_has(struct job *j, const struct key_id *id);
/* One row against what was seen; false: no memory. */
bool row_compare(struct job *j, const struct store_brief *b);
/* What each id is, so many in a turn; then the errand ends. */
void job_sort(struct engine *e, struct repo *r);

/* errand_item.c: of the id in hand */
/* It is not done, with these words; the next one. */
void item_not(struct job *j, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void destroy_next(struct engine *e, struct repo *r, struct store_key *key);
/* A key that is to be taken; take.c has chosen it. */
void prove_next(struct engine *e, struct repo *r, struct store_key *key);
void clean_next(struct engine *e, struct repo *r);
/* The token has proven the pair: act on it. */
void proof_act(struct engine *e, struct repo *r, const struct hsm_proof *proof);
/* The token has destroyed it. */
void item_destroyed(struct engine *e, struct repo *r);

#endif
