#include "digest.h"

#include <openssl/evp.h>
#include <stdlib.h>

enum ksm_err
digest_sha256(const void *p, size_t len, uint8_t out[DIGEST_LEN],
    struct ksm_fail *fail)
{
	unsigned int n = 0;

	if (EVP_Digest(p, len, out, &n, EVP_sha256(), NULL) != 1 ||
	    n != DIGEST_LEN)
		return ksm_failf(fail, KSM_ESYS,
		    "OpenSSL cannot compute SHA-256");
	return KSM_OK;
}

char *
digest_base64(const void *p, size_t len)
{
	char *out = malloc((len + 2) / 3 * 4 + 1);

	if (out != NULL)
		(void)EVP_EncodeBlock((unsigned char *)out, p, (int)len);
	return out;
}
