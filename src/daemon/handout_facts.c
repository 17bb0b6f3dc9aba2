#include "handout_facts.h"

#include <stdlib.h>
#include <string.h>

#include "ksmpool/msg_ctl.h"

#include "commands_parts.h"

/* The token that a repository was last seen to be. */
static void
token_of(struct engine *e, const char *repository, struct repository_view *out)
{
	for (size_t i = 0; i < engine_repositories(e); i++) {
		engine_repository_view(e, i, out);
		if (out->conf != NULL &&
		    strcmp(out->conf->name, repository) == 0)
			return;
	}
	*out = (struct repository_view){ .conf = NULL };
}

json_t *
handout_facts(struct engine *e, struct store *st, const struct handout *h,
    bool single, struct ksm_fail *fail)
{
	struct repository_view *view = calloc(1, sizeof(*view));
	struct store_key *key = calloc(1, sizeof(*key));
	bool zsk = h->pool.role == ROLE_ZSK;
	char id[KEY_ID_HEX], *pub = NULL;
	enum ksm_err err = KSM_ENOMEM;
	json_t *body = NULL;

	key_id_format(&h->id, id);
	if (key != NULL && view != NULL)
		err = store_key_get(st, &h->id, key, fail);
	if (err == KSM_ENOENT)
		(void)ksm_failf(fail, err,
		    "hand-out %lld is on record, but its key %s is not in "
		    "this database",
		    (long long)h->number, id);
	if (err == KSM_OK)
		pub = digest_base64(key->pub, key->publen);
	if (err == KSM_OK && pub == NULL)
		err = KSM_ENOMEM;
	if (err != KSM_OK)
		goto out;
	token_of(e, h->pool.repository, view);
	body = json_pack("{s:s, s:s, s:o, s:s, s:o, s:o, s:o, s:i, s:i, s:i,"
	    " s:i, s:i, s:s, s:o, s:o, s:o, s:b, s:I, s:I, s:I, s:o, s:b, s:b,"
	    " s:s}",
	    "id", id, "label", id, "zone", ctl_text(h->zone), "role",
	    key_role_text(h->pool.role), "policy", ctl_text(h->pool.policy),
	    "repository", ctl_text(h->pool.repository), "algorithm",
	    algorithm_json(h->pool.alg), "algorithm_number", h->pool.alg,
	    "size", h->pool.bits, "flags", zsk ? 256 : 257, "tag",
	    zsk ? key->tag_zsk : key->tag_ksk, "tag_revoked",
	    key->tag_revoked, "public_key", pub, "module",
	    ctl_text(view->conf != NULL ? view->conf->module : ""),
	    "token_label", ctl_text(view->token_label), "token_serial",
	    ctl_text(view->token_serial), "single", (int)single, "created_s",
	    (json_int_t)key->ended, "taken_s", (json_int_t)h->when, "serial",
	    (json_int_t)key->serial, "handout",
	    count_or_null(h->number, h->number > 0), "shared",
	    (int)!h->drawn, "uncovered", (int)h->uncovered, "share",
	    h->share);
	if (body == NULL)
		err = KSM_ENOMEM;
out:
	if (err == KSM_ENOMEM)
		(void)ksm_failf(fail, err, "hand-out: no memory");
	free(pub);
	free(view);
	free(key);
	return body;
}
