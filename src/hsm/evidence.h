/*
 * evidence.h - what the token says of a pair, for others to judge.
 *
 * Runs in: ksmpool-hsm.
 */
#ifndef KSMPOOL_HSM_EVIDENCE_H
#define KSMPOOL_HSM_EVIDENCE_H

#include "ksmpool/alg.h"

#include "session.h"

struct pair {
	CK_OBJECT_HANDLE priv;
	CK_OBJECT_HANDLE pub; /* CK_INVALID_HANDLE: there is none */
};

struct public_half { /* what generate needs to know of it, besides */
	bool is_public, is_token, id_ok;
};

/*
 * Read both halves back and sign the challenge; what cannot be read stays
 * empty in *e. CKR_OK, or the code after which this worker must not go on:
 * the evidence is still what was seen. `half` may be NULL.
 */
CK_RV
evidence_take(struct session *s, const struct alg *alg, const struct key_id *id,
    const struct pair *pair, const uint8_t challenge[CHALLENGE_LEN],
    struct hsm_evidence *e, struct public_half *half);

/* Does the token sign anything with that private key of any kind? */
bool evidence_signs(struct session *s, CK_OBJECT_HANDLE priv);

#endif
