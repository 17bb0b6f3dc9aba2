#include "consumer_parts.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NAME_ROOM (3 * DNSNAME_WIRE + 32) /* %XX for every octet, and the rest */

static enum ksm_err
put_public(FILE *out, const struct consumer_key *k, const char *created,
    struct ksm_fail *fail)
{
	time_t when = (time_t)k->created;
	char words[32] = "";
	enum ksm_err err;
	struct tm tm;

	if (gmtime_r(&when, &tm) != NULL)
		(void)strftime(words, sizeof(words), "%a %b %e %H:%M:%S %Y",
		    &tm);
	(void)fprintf(out, "; This is a %s-signing key, keyid %d, for %s\n",
	    k->role == ROLE_ZSK ? "zone" : "key", k->tag, k->owner);
	(void)fprintf(out, "; Created: %s (%s)\n", created, words);
	err = put_dnskey(out, k, fail);
	(void)fputc('\n', out);
	return err;
}

/* BIND's names; 7 has one of its own. */
static const char *
alg_name(const struct alg *alg)
{
	return alg->number == 7 ? "NSEC3RSASHA1" : alg->name;
}

/*
 * No timing but Created: a key that has none is one that dnssec-policy may
 * choose as a successor. The PIN is no business of this file.
 */
static enum ksm_err
put_private(FILE *out, const struct consumer_key *k, const char *created,
    struct ksm_fail *fail)
{
	char *uri = uri_text(k, false);
	enum ksm_err err = KSM_OK;
	struct rsa_parts rsa;

	if (uri == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "no memory");
	(void)fprintf(out, "Private-key-format: v1.3\nAlgorithm: %d (%s)\n",
	    k->alg->number, alg_name(k->alg));
	if (k->alg->family == ALG_RSA &&
	    rsa_split(k->pub, k->pub_len, &rsa)) {
		(void)fputs("Modulus: ", out);
		err = put_base64(out, rsa.modulus, rsa.modulus_len, fail);
		(void)fputs("\nPublicExponent: ", out);
		if (err == KSM_OK)
			err = put_base64(out, rsa.exponent, rsa.exponent_len,
			    fail);
		(void)fputc('\n', out);
	}
	(void)fputs("Label: ", out);
	if (err == KSM_OK) /* with its NUL */
		err = put_base64(out, uri, strlen(uri) + 1, fail);
	(void)fprintf(out, "\nCreated: %s\n", created);
	free(uri);
	return err;
}

/* One part of it in memory: the name, the .key or the .private file. */
struct part {
	char *text;
	size_t len;
	FILE *out;
};

static bool
part_open(struct part *p)
{
	p->out = open_memstream(&p->text, &p->len);
	return p->out != NULL;
}

static bool
part_close(struct part *p)
{
	bool ok = p->out != NULL && fclose(p->out) == 0;

	p->out = NULL;
	return ok;
}

static void
part_clear(struct part *p)
{
	if (p->out != NULL)
		(void)fclose(p->out);
	free(p->text);
}

enum ksm_err
write_bind(const struct consumer_key *k, const struct consumer_where *w,
    FILE *out, struct ksm_fail *fail)
{
	struct part name = { .out = NULL }, pub = name, priv = name;
	char pub_name[NAME_ROOM], priv_name[NAME_ROOM], created[16];
	enum ksm_err err = KSM_OK;

	if (w->directory == NULL)
		return ksm_failf(fail, KSM_EREFUSED,
		    "BIND's key files need --directory DIR: the zone's "
		    "key-directory, or that of a key-store");
	if (!time_digits(k->created, created))
		return ksm_failf(fail, KSM_EPROTO,
		    "the key's \"created_s\" is no time that BIND can write");
	if (!part_open(&name) || !part_open(&pub) || !part_open(&priv)) {
		err = ksm_failf(fail, KSM_ENOMEM, "no memory");
		goto out;
	}
	(void)fputc('K', name.out);
	put_zone_file(name.out, k->wire);
	(void)fprintf(name.out, "%s+%03d+%05d", k->wire[0] != 0 ? "." : "",
	    k->alg->number, k->tag);
	err = put_public(pub.out, k, created, fail);
	if (err == KSM_OK)
		err = put_private(priv.out, k, created, fail);
	if (err != KSM_OK)
		goto out;
	if (!part_close(&name) || !part_close(&pub) || !part_close(&priv)) {
		err = ksm_failf(fail, KSM_ENOMEM, "no memory");
		goto out;
	}
	(void)snprintf(pub_name, sizeof(pub_name), "%s.key", name.text);
	(void)snprintf(priv_name, sizeof(priv_name), "%s.private", name.text);

	/* named looks for .private files: when it finds one, both are there. */
	const struct key_file files[] = {
		{ pub_name, pub.text, pub.len, 0644 },
		{ priv_name, priv.text, priv.len, 0600 },
	};

	err = key_files_write(w->directory, files, nitems(files), fail);
	if (err == KSM_OK)
		(void)fprintf(out, "%s/%s\n%s/%s\n", w->directory, pub_name,
		    w->directory, priv_name);
out:
	part_clear(&name);
	part_clear(&pub);
	part_clear(&priv);
	return err;
}
