#include "ksmpool/formula.h"

#include <inttypes.h>

static enum ksm_err
too_many(struct ksm_fail *fail, const struct formula_in *in, const char *what)
{
	return ksm_failf(fail, KSM_EREFUSED,
	    "%s do not fit 64 bits: %" PRId64 " zones, lifetime %" PRId64
	    " s, horizon %" PRId64 " s, %" PRId64 " emergency rolls, %" PRId64
	    " standby, growth %" PRId64 " %%", what, in->zones, in->lifetime,
	    in->horizon, in->rolls, in->standby, in->growth);
}

static enum ksm_err
check(const struct formula_in *in, struct ksm_fail *fail)
{
	const struct {
		const char *what;
		int64_t value;
	} inputs[] = {
		{ "zones", in->zones },
		{ "owners", in->owners },
		{ "lifetime", in->lifetime },
		{ "horizon", in->horizon },
		{ "emergency rolls", in->rolls },
		{ "standby keys", in->standby },
		{ "growth", in->growth },
		{ "algorithm rolls", in->algorithm_roll },
	};

	for (size_t i = 0; i < nitems(inputs); i++) {
		if (inputs[i].value < 0)
			return ksm_failf(fail, KSM_EREFUSED,
			    "%s cannot be negative: %" PRId64, inputs[i].what,
			    inputs[i].value);
	}
	if (in->by_owner && in->owners > in->zones)
		return ksm_failf(fail, KSM_EREFUSED,
		    "%" PRId64 " owners cannot have %" PRId64 " zones: each "
		    "has at least one", in->owners, in->zones);
	if (in->algorithm_roll > 1)
		return ksm_failf(fail, KSM_EREFUSED,
		    "algorithm rolls are 0 or 1, not %" PRId64,
		    in->algorithm_roll);
	return KSM_OK;
}

int64_t
formula_scheduled(int64_t horizon, int64_t lifetime)
{
	int64_t draws;

	if (lifetime <= 0)
		return 0;
	/*
	 * floor + 1 and not ceil: the first draw may be due this very second,
	 * and the next top-up is never exactly on time.
	 */
	draws = horizon / lifetime;
	return draws < INT64_MAX ? draws + 1 : INT64_MAX;
}

enum ksm_err
formula_required(const struct formula_in *in, struct formula_out *out,
    struct ksm_fail *fail)
{
	struct formula_out o = { 0 };
	int64_t all, reserve, roll;
	enum ksm_err err;

	err = check(in, fail);
	if (err != KSM_OK)
		return err;

	if (in->passthrough)
		o.units = 0;
	else if (in->shared)
		o.units = in->zones > 0 ? 1 : 0;
	else if (in->by_owner)
		o.units = in->owners;
	else
		o.units = in->zones;

	if (!in->shared) {
		int64_t percent;

		if (__builtin_mul_overflow(o.units, in->growth, &percent))
			return too_many(fail, in, "units added by growth");
		o.grown = percent / 100 + (percent % 100 != 0 ? 1 : 0);
	}

	o.scheduled = formula_scheduled(in->horizon, in->lifetime);
	if (o.scheduled == INT64_MAX)
		return too_many(fail, in, "scheduled draws");
	if (__builtin_add_overflow(in->rolls, in->standby, &reserve) ||
	    __builtin_add_overflow(o.scheduled, reserve, &o.per_unit))
		return too_many(fail, in, "keys per unit");

	if (__builtin_add_overflow(o.units, o.grown, &all) ||
	    __builtin_mul_overflow(all, o.per_unit, &o.required) ||
	    __builtin_add_overflow(o.required, o.grown, &o.required) ||
	    __builtin_mul_overflow(o.units, in->algorithm_roll, &roll) ||
	    __builtin_add_overflow(o.required, roll, &o.required))
		return too_many(fail, in, "required keys");

	/* Both are at most `required`, whose terms they are. */
	o.warn_floor = all * reserve;
	o.critical = o.units * in->rolls;
	*out = o;
	return KSM_OK;
}
