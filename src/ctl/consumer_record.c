#include "consumer_parts.h"

#include <openssl/evp.h>

#define DS_SHA256 2 /* IANA's digest type */

enum ksm_err
put_dnskey(FILE *out, const struct consumer_key *k, struct ksm_fail *fail)
{
	(void)fprintf(out, "%s IN DNSKEY %d 3 %d ", k->owner, k->flags,
	    k->alg->number);
	return put_base64(out, k->pub, k->pub_len, fail);
}

/* RFC 4034 5.1.4: the digest is over the canonical owner and the RDATA. */
static enum ksm_err
put_digest(FILE *out, const char *type, const struct consumer_key *k,
    struct ksm_fail *fail)
{
	const uint8_t head[4] = { (uint8_t)(k->flags >> 8),
		(uint8_t)(k->flags & 0xff), 3, k->alg->number };
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned int len = 0;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	enum ksm_err err = KSM_OK;

	if (ctx == NULL || EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1 ||
	    EVP_DigestUpdate(ctx, k->wire, k->wire_len) != 1 ||
	    EVP_DigestUpdate(ctx, head, sizeof(head)) != 1 ||
	    EVP_DigestUpdate(ctx, k->pub, k->pub_len) != 1 ||
	    EVP_DigestFinal_ex(ctx, digest, &len) != 1) {
		err = ksm_failf(fail, KSM_ESYS,
		    "OpenSSL cannot compute SHA-256");
		goto out;
	}
	(void)fprintf(out, "%s IN %s %d %d %d ", k->owner, type, k->tag,
	    k->alg->number, DS_SHA256);
	for (unsigned int i = 0; i < len; i++)
		(void)fprintf(out, "%02X", (unsigned)digest[i]);
	(void)fputc('\n', out);
out:
	EVP_MD_CTX_free(ctx);
	return err;
}

enum ksm_err
write_dnskey(const struct consumer_key *k, const struct consumer_where *w,
    FILE *out, struct ksm_fail *fail)
{
	enum ksm_err err;

	(void)w;
	err = put_dnskey(out, k, fail);
	(void)fputc('\n', out);
	return err;
}

enum ksm_err
write_cds(const struct consumer_key *k, const struct consumer_where *w,
    FILE *out, struct ksm_fail *fail)
{
	(void)w;
	return put_digest(out, "CDS", k, fail);
}

enum ksm_err
write_ds(const struct consumer_key *k, const struct consumer_where *w,
    FILE *out, struct ksm_fail *fail)
{
	(void)w;
	return put_digest(out, "DS", k, fail);
}

/* Without type=private: both halves match, as a signer needs them. */
enum ksm_err
write_uri(const struct consumer_key *k, const struct consumer_where *w,
    FILE *out, struct ksm_fail *fail)
{
	(void)w;
	(void)fail;
	put_uri(out, k, true);
	(void)fputc('\n', out);
	return KSM_OK;
}
