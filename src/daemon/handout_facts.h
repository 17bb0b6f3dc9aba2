/*
 * handout_facts.h - all that a signer needs to know of a key that was taken.
 *
 * Runs in: ksmpoold. For who took it (consumer.h of ksmctl reads it) and for
 *          the hook of its repository.
 */
#ifndef KSMPOOL_HANDOUT_FACTS_H
#define KSMPOOL_HANDOUT_FACTS_H

#include <jansson.h>

#include "engine.h"
#include "store_handout.h"

/*
 * NULL: `fail` has why. KSM_ENOENT: the key is not in this database, which can
 * be where one that was lost or is older learned from the journal.
 */
json_t *handout_facts(struct engine *e, struct store *st,
    const struct handout *h, bool single, struct ksm_fail *fail);

#endif
