#include "ksmpool/key.h"

#include <string.h>

/*
 *                 row committed
 *                       v
 *    +--not there-- INTENDED ---answer-------+
 *    |                  |                    |
 *    |       no answer, | daemon start       |
 *    v                  v                    v
 *   GONE <-not there- UNKNOWN -whole pair-> MADE -check failed-> QUARANTINED
 *    |                  ^                    |
 *    +--found after all-+           verified |
 *                                            v
 *                      SURPLUS <--pools--> READY <--not in journal--+
 *                         |                  |                      |
 *                         |                  +---take---> TAKING ---+
 *                  retire |           retire |               |
 *                         |                  |    in journal |
 *                         v                  v               v
 *                         +--> RETIRED <-----+---retire--- TAKEN
 *                                 |                          |
 *                                 +--its consumer did it-----+--> CONSUMED
 *
 *   TAKING --not what the record says, or it cannot sign--> QUARANTINED
 *   MADE, READY, SURPLUS, QUARANTINED, TAKEN, RETIRED <--not seen--> MISSING
 *   READY, SURPLUS, QUARANTINED, RETIRED --command--> DESTROYING --> DESTROYED
 *
 * INTENDED:    the row is on disk; the token may or may not have been asked.
 *              A clear no drops the row, which is no state.
 * UNKNOWN:     asked by somebody who is gone; only settling leads out.
 * GONE:        looked for and not there; every enumeration looks again.
 * MADE:        the answer is on record, no second process has seen the key.
 * TAKEN:       for ever: no arrow leads back to READY.
 * RETIRED:     used up, or withdrawn before anybody had it; only destroying
 *              leads on.
 * MISSING:     remembers what it was and returns to nothing else; the store
 *              holds that, the table only says what it can have been.
 * DESTROYING:  committed before C_DestroyObject, so there is no way back.
 * CONSUMED, DESTROYED: history, no arrow leaves.
 */
static const bool arrows[KEY__STATES][KEY__STATES] = {
	[KEY_INTENDED] = {
		[KEY_MADE]        = true,
		[KEY_UNKNOWN]     = true,
		[KEY_GONE]        = true,
	},
	[KEY_UNKNOWN] = {
		[KEY_MADE]        = true,
		[KEY_GONE]        = true,
	},
	[KEY_GONE] = {
		[KEY_UNKNOWN]     = true,
	},
	[KEY_MADE] = {
		[KEY_READY]       = true,
		[KEY_QUARANTINED] = true,
		[KEY_MISSING]     = true,
	},
	[KEY_READY] = {
		[KEY_TAKING]      = true,
		[KEY_SURPLUS]     = true,
		[KEY_RETIRED]     = true,
		[KEY_MISSING]     = true,
		[KEY_DESTROYING]  = true,
	},
	[KEY_SURPLUS] = {
		[KEY_READY]       = true,
		[KEY_RETIRED]     = true,
		[KEY_MISSING]     = true,
		[KEY_DESTROYING]  = true,
	},
	[KEY_QUARANTINED] = {
		[KEY_MISSING]     = true,
		[KEY_DESTROYING]  = true,
	},
	[KEY_TAKING] = {
		[KEY_TAKEN]       = true,
		[KEY_READY]       = true,
		[KEY_QUARANTINED] = true,
	},
	[KEY_TAKEN] = {
		[KEY_CONSUMED]    = true,
		[KEY_RETIRED]     = true,
		[KEY_MISSING]     = true,
	},
	[KEY_RETIRED] = {
		[KEY_CONSUMED]    = true,
		[KEY_MISSING]     = true,
		[KEY_DESTROYING]  = true,
	},
	[KEY_MISSING] = {
		[KEY_MADE]        = true,
		[KEY_READY]       = true,
		[KEY_SURPLUS]     = true,
		[KEY_QUARANTINED] = true,
		[KEY_TAKEN]       = true,
		[KEY_RETIRED]     = true,
	},
	[KEY_DESTROYING] = {
		[KEY_DESTROYED]   = true,
	},
};

static const char *const state_text[KEY__STATES] = {
	[KEY_INTENDED]    = "intended",
	[KEY_UNKNOWN]     = "unknown",
	[KEY_GONE]        = "gone",
	[KEY_MADE]        = "made",
	[KEY_READY]       = "ready",
	[KEY_SURPLUS]     = "surplus",
	[KEY_QUARANTINED] = "quarantined",
	[KEY_TAKING]      = "taking",
	[KEY_TAKEN]       = "taken",
	[KEY_RETIRED]     = "retired",
	[KEY_MISSING]     = "missing",
	[KEY_DESTROYING]  = "destroying",
	[KEY_CONSUMED]    = "consumed",
	[KEY_DESTROYED]   = "destroyed",
};

const char *
key_state_text(enum key_state state)
{
	if ((unsigned)state >= KEY__STATES)
		return "?";
	return state_text[state];
}

bool
key_state_find(const char *text, enum key_state *out)
{
	for (int i = 0; i < KEY__STATES; i++) {
		if (strcmp(text, state_text[i]) == 0) {
			*out = (enum key_state)i;
			return true;
		}
	}
	return false;
}

bool
key_state_may(enum key_state from, enum key_state to)
{
	/* KEY__STATES itself stands for "none" in some structs. */
	if ((unsigned)from >= KEY__STATES || (unsigned)to >= KEY__STATES)
		return false;
	return arrows[from][to];
}

bool
key_state_living(enum key_state state)
{
	switch (state) {
	case KEY_MADE:
	case KEY_READY:
	case KEY_SURPLUS:
	case KEY_QUARANTINED:
	case KEY_TAKING:
	case KEY_TAKEN:
	case KEY_RETIRED:
	case KEY_DESTROYING:
		return true;
	case KEY_INTENDED:
	case KEY_UNKNOWN:
	case KEY_GONE:
	case KEY_MISSING:
	case KEY_CONSUMED:
	case KEY_DESTROYED:
	case KEY__STATES:
		break;
	}
	return false;
}

bool
key_state_stock(enum key_state state)
{
	switch (state) {
	case KEY_INTENDED:
	case KEY_UNKNOWN:
	case KEY_MADE:
	case KEY_READY:
	case KEY_TAKING:
		return true;
	case KEY_GONE:
	case KEY_SURPLUS:
	case KEY_QUARANTINED:
	case KEY_TAKEN:
	case KEY_RETIRED:
	case KEY_MISSING:
	case KEY_DESTROYING:
	case KEY_CONSUMED:
	case KEY_DESTROYED:
	case KEY__STATES:
		break;
	}
	return false;
}

const char *
key_state_destroy_not(enum key_state state)
{
	switch (state) {
	case KEY_READY:
	case KEY_SURPLUS:
	case KEY_QUARANTINED:
	case KEY_RETIRED:
	case KEY_DESTROYING:
		return NULL;
	case KEY_INTENDED:
	case KEY_UNKNOWN:
	case KEY_MADE:
		return "it is not settled yet; ask again when it is ready";
	case KEY_TAKING:
		return "it is being handed out";
	case KEY_TAKEN:
		return "a zone may use it; retire it first (ksmctl key "
		       "retire)";
	case KEY_MISSING:
		return "it is not in the token";
	case KEY_GONE:
		return "it never came to be";
	case KEY_CONSUMED:
	case KEY_DESTROYED:
	case KEY__STATES:
		break;
	}
	return "it is destroyed already";
}

bool
key_state_half_may_go(enum key_state state)
{
	return state == KEY__STATES || state == KEY_GONE ||
	    state == KEY_DESTROYED || state == KEY_CONSUMED ||
	    state == KEY_DESTROYING || state == KEY_QUARANTINED;
}
