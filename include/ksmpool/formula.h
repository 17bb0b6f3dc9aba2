/*
 * formula.h - how many unused keys one policy key needs.
 *
 * Runs in: ksmpool-config, ksmpoold (core: pure).
 * Units:   seconds, keys. 64 bits; overflow is an error with its numbers.
 *
 *   S        = floor(H / L) + 1   (0 when L = 0)
 *   required = (U + g) x (S + n + s) + g + a x U
 */
#ifndef KSMPOOL_FORMULA_H
#define KSMPOOL_FORMULA_H

#include "ksmpool/policy.h"

struct formula_in {
	int64_t zones;	  /* Z, distinct; ignored when passthrough */
	bool shared;	  /* one unit for the policy */
	bool by_owner;	  /* one unit for each owner, unless shared */
	int64_t owners;	  /* of these zones, so at most as many; by_owner */
	bool passthrough;
	int64_t lifetime; /* L */
	int64_t horizon;  /* H */
	int64_t rolls;	  /* n */
	int64_t standby;  /* s */
	int64_t growth;	  /* percent */
	int64_t algorithm_roll; /* a: 0 or 1 */
};

struct formula_out {
	int64_t units;	   /* U */
	int64_t grown;	   /* g */
	int64_t scheduled; /* S */
	int64_t per_unit;  /* S + n + s */
	int64_t required;
	int64_t warn_floor; /* (U + g) x (n + s) */
	int64_t critical;   /* U x n */
};

/* S alone. */
int64_t formula_scheduled(int64_t horizon, int64_t lifetime);
/* KSM_EREFUSED: a negative input or an overflow, with the numbers. */
enum ksm_err formula_required(const struct formula_in *in,
    struct formula_out *out, struct ksm_fail *fail);

#endif
