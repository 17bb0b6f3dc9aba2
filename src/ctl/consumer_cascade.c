#include "consumer_parts.h"

#include <string.h>

/* The ids of cascade-hsm-bridge: upper case, with its own endings. */
static void
put_pair(FILE *out, const struct consumer_key *k)
{
	char upper[KEY_ID_HEX];

	for (size_t i = 0; i < sizeof(upper); i++)
		upper[i] = k->id_hex[i] >= 'a' ? (char)(k->id_hex[i] - 32)
					       : k->id_hex[i];
	put_word(out, k->repository);
	(void)fprintf(out, " %s_pub %s_priv %s %d\n", upper, upper,
	    k->alg->name, k->flags);
}

/*
 * Two lines of arguments: what follows `dnst keyset -c FILE`, and what is put
 * into `cascade zone add`. The KMIP server has the repository's name.
 */
enum ksm_err
write_cascade(const struct consumer_key *k, const struct consumer_where *w,
    FILE *out, struct ksm_fail *fail)
{
	static const char *const words[ROLE__COUNT] = {
		[ROLE_KSK] = "ksk",
		[ROLE_ZSK] = "zsk",
		[ROLE_CSK] = "csk",
	};

	(void)w;
	(void)fail;
	(void)fprintf(out, "import %s kmip ", words[k->role]);
	put_pair(out, k);
	(void)fprintf(out, "--import-%s-kmip ", words[k->role]);
	put_pair(out, k);
	return KSM_OK;
}
