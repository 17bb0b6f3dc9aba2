#include "consumer_parts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* NULL: nothing is written for it. */
static consumer_writer *const writers[CONSUMER__COUNT] = {
	[CONSUMER_BIND] = write_bind,
	[CONSUMER_KNOT] = write_knot,
	[CONSUMER_KNOT_LATER] = write_knot_later,
	[CONSUMER_OPENDNSSEC] = write_opendnssec,
	[CONSUMER_OPENDNSSEC_POOL] = write_opendnssec_pool,
	[CONSUMER_POWERDNS] = write_powerdns,
	[CONSUMER_CASCADE] = write_cascade,
	[CONSUMER_URI] = write_uri,
	[CONSUMER_DNSKEY] = write_dnskey,
	[CONSUMER_CDS] = write_cds,
	[CONSUMER_DS] = write_ds,
};

/*
 * The name as zone files and every signer's command line take it: a hyphen in
 * front would be read as an option.
 */
static void
owner_format(const struct consumer_key *k, char out[OWNER_TEXT])
{
	char text[DNSNAME_TEXT];

	dnsname_text(k->wire, k->wire_len, text);
	(void)snprintf(out, OWNER_TEXT, "%s%s%s",
	    text[0] == '-' ? "\\045" : "", text + (text[0] == '-'),
	    k->wire_len > 1 ? "." : "");
}

static enum ksm_err
wrong(struct ksm_fail *fail, const char *member, const char *value,
    const char *expected)
{
	return ksm_failf(fail, KSM_EPROTO,
	    "the key's \"%s\" is \"%.80s\", not %s", member, value, expected);
}

static enum ksm_err
wrong_number(struct ksm_fail *fail, const char *member, int64_t value,
    const char *expected)
{
	return ksm_failf(fail, KSM_EPROTO,
	    "the key's \"%s\" is %" PRId64 ", not %s", member, value, expected);
}

static size_t
modulus_bits(const struct rsa_parts *rsa)
{
	size_t bits = rsa->modulus_len * 8;

	for (uint8_t top = rsa->modulus[0]; (top & 0x80) == 0; top <<= 1)
		bits--;
	return bits;
}

/* The public key field is one of that algorithm and size, and has that tag. */
static enum ksm_err
public_key_check(struct consumer_key *k, struct ksm_fail *fail)
{
	struct rsa_parts rsa;
	bool fits;

	if (!base64_parse(k->public_key, k->pub, sizeof(k->pub), &k->pub_len))
		return wrong(fail, "public_key", k->public_key, "base64");
	if (k->alg->family == ALG_RSA)
		fits = rsa_split(k->pub, k->pub_len, &rsa) &&
		    modulus_bits(&rsa) == (size_t)k->size;
	else
		fits = k->pub_len == k->alg->point_len &&
		    k->size == k->alg->bits_min;
	if (!fits)
		return ksm_failf(fail, KSM_EPROTO,
		    "the key's \"public_key\" is not one of %s with %d bits",
		    k->alg->name, k->size);
	if (dnskey_tag((uint16_t)k->flags, k->alg->number, k->pub,
		k->pub_len) != k->tag)
		return wrong_number(fail, "tag", k->tag,
		    "that of its public key");
	return KSM_OK;
}

static const char *
type_name(const json_t *v)
{
	static const char *const names[] = {
		[JSON_OBJECT] = "an object",
		[JSON_ARRAY] = "an array",
		[JSON_STRING] = "a string",
		[JSON_INTEGER] = "an integer",
		[JSON_REAL] = "a fraction",
		[JSON_TRUE] = "true",
		[JSON_FALSE] = "false",
		[JSON_NULL] = "null",
	};

	return names[json_typeof(v)];
}

enum ksm_err
consumer_key_read(const json_t *json, struct consumer_key *out,
    struct ksm_fail *fail)
{
	struct consumer_key k = { .single = false };
	const char *id, *role, *algorithm;
	int64_t number, size, flags, tag, revoked;
	const struct {
		const char *name;
		const char **text; /* one of the three */
		int64_t *number;
		bool *flag;
	} members[] = {
		{ "id", .text = &id },
		{ "label", .text = &k.label },
		{ "zone", .text = &k.zone },
		{ "role", .text = &role },
		{ "policy", .text = &k.policy },
		{ "repository", .text = &k.repository },
		{ "algorithm", .text = &algorithm },
		{ "algorithm_number", .number = &number },
		{ "size", .number = &size },
		{ "flags", .number = &flags },
		{ "tag", .number = &tag },
		{ "tag_revoked", .number = &revoked },
		{ "public_key", .text = &k.public_key },
		{ "module", .text = &k.module },
		{ "token_label", .text = &k.token_label },
		{ "token_serial", .text = &k.token_serial },
		{ "single", .flag = &k.single },
		{ "created_s", .number = &k.created },
		{ "taken_s", .number = &k.taken },
		{ "serial", .number = &k.serial },
	};
	enum ksm_err err;

	for (size_t i = 0; i < nitems(members); i++) {
		const json_t *v = json_object_get(json, members[i].name);

		if (members[i].text != NULL && json_is_string(v))
			*members[i].text = json_string_value(v);
		else if (members[i].number != NULL && json_is_integer(v))
			*members[i].number = json_integer_value(v);
		else if (members[i].flag != NULL && json_is_boolean(v))
			*members[i].flag = json_is_true(v);
		else
			return ksm_failf(fail, KSM_EPROTO,
			    "the key's \"%s\" is %s, not %s", members[i].name,
			    v == NULL ? "missing" : type_name(v),
			    members[i].text != NULL	  ? "a string"
				: members[i].number != NULL ? "an integer"
							    : "true or false");
	}

	if (!key_id_parse(id, &k.id))
		return wrong(fail, "id", id, "32 hex digits");
	key_id_format(&k.id, k.id_hex);
	err = dnsname_parse(k.zone, k.wire, &k.wire_len, fail);
	if (err != KSM_OK) {
		(void)ksm_fail_before(fail, "the key's \"zone\"");
		return KSM_EPROTO;
	}
	owner_format(&k, k.owner);
	if (!key_role_find(role, &k.role))
		return wrong(fail, "role", role, "KSK, ZSK or CSK");
	if (number < 0 || number > UINT8_MAX ||
	    (k.alg = alg_find((int)number)) == NULL)
		return wrong_number(fail, "algorithm_number", number,
		    "one that keys are made of");
	if (strcmp(algorithm, k.alg->name) != 0)
		return wrong(fail, "algorithm", algorithm, k.alg->name);
	if (size < k.alg->bits_min || size > k.alg->bits_max)
		return wrong_number(fail, "size", size,
		    "a size of its algorithm");
	k.size = (int)size;
	k.flags = k.role == ROLE_ZSK ? DNSKEY_ZSK : DNSKEY_KSK;
	if (flags != k.flags)
		return wrong_number(fail, "flags", flags,
		    k.role == ROLE_ZSK ? "256, as a ZSK has"
				       : "257, as a KSK or CSK has");
	if (tag < 0 || tag > UINT16_MAX)
		return wrong_number(fail, "tag", tag, "0 to 65535");
	k.tag = (int)tag;
	if (revoked < 0 || revoked > UINT16_MAX)
		return wrong_number(fail, "tag_revoked", revoked, "0 to 65535");
	k.tag_revoked = (int)revoked;
	err = public_key_check(&k, fail);
	if (err != KSM_OK)
		return err;
	*out = k;
	return KSM_OK;
}

enum ksm_err
consumer_write(enum consumer c, const struct consumer_key *k,
    const struct consumer_where *w, FILE *out, struct ksm_fail *fail)
{
	static const struct consumer_where nowhere;
	char *text = NULL;
	size_t len = 0;
	FILE *mem = NULL;
	enum ksm_err err;

	if ((unsigned)c >= CONSUMER__COUNT || writers[c] == NULL)
		return ksm_failf(fail, KSM_EREFUSED,
		    "nothing is written for no consumer");
	err = consumer_fits(c, k->role, k->alg->number, k->single, fail);
	if (err == KSM_OK)
		err = consumer_names_fit(c,
		    &(struct consumer_names){ k->zone, k->repository,
			k->module, k->token_label, k->label },
		    fail);
	if (err != KSM_OK)
		return err;
	mem = open_memstream(&text, &len);
	if (mem == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "no memory");
	err = writers[c](k, w != NULL ? w : &nowhere, mem, fail);
	if (fclose(mem) != 0 && err == KSM_OK)
		err = ksm_failf(fail, KSM_ENOMEM, "no memory");
	if (err != KSM_OK)
		goto out;
	if (fwrite(text, 1, len, out) != len || fflush(out) != 0)
		err = ksm_failf(fail, KSM_ESYS, "cannot write key %s: %s",
		    k->id_hex, strerror(errno));
out:
	free(text);
	return err;
}
