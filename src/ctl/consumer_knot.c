#include "consumer_parts.h"

/*
 * The roles as ksk=yes and zsk=yes: the bare words choose the wrong keystore
 * where one is for KSKs alone.
 */
static void
put_import(FILE *out, const struct consumer_key *k, const char *when)
{
	(void)fputs("keymgr ", out);
	put_word(out, k->owner);
	(void)fprintf(out, " import-pkcs11 %s algorithm=%d ksk=%s zsk=%s %s\n",
	    k->id_hex, k->alg->number, k->role == ROLE_ZSK ? "no" : "yes",
	    k->role == ROLE_KSK ? "no" : "yes", when);
}

/* Zero is never; left out, it would be published and active at once. */
enum ksm_err
write_knot(const struct consumer_key *k, const struct consumer_where *w,
    FILE *out, struct ksm_fail *fail)
{
	(void)w;
	(void)fail;
	put_import(out, k, "publish=0 ready=0 active=0");
	return KSM_OK;
}

enum ksm_err
write_knot_later(const struct consumer_key *k, const struct consumer_where *w,
    FILE *out, struct ksm_fail *fail)
{
	(void)w;
	(void)fail;
	put_import(out, k, "for-later=yes");
	return KSM_OK;
}
