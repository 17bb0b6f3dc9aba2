/*
 * consumer_parts.h - what consumer.c and consumer_*.c share.
 *
 * Runs in: ksmctl. Private to consumer*.c.
 *
 * A writer prints to `out`, which is memory: nothing is seen of it unless the
 * writer succeeds.
 */
#ifndef KSMPOOL_CONSUMER_PARTS_H
#define KSMPOOL_CONSUMER_PARTS_H

#include "consumer.h"

/* The writers, one per signer or record. */
typedef enum ksm_err consumer_writer(const struct consumer_key *k,
    const struct consumer_where *w, FILE *out, struct ksm_fail *fail);

consumer_writer write_bind, write_knot, write_knot_later, write_opendnssec,
    write_opendnssec_pool, write_powerdns, write_cascade, write_uri,
    write_dnskey, write_cds, write_ds;

/* One word for a POSIX shell, quoted where it must be. */
void put_word(FILE *out, const char *text);
/* "pkcs11:token=..;id=%.." (RFC 7512 2.3); `serial`: of the token, too. */
void put_uri(FILE *out, const struct consumer_key *k, bool serial);
/* "example.com. IN DNSKEY 257 3 13 ..." without a newline. */
enum ksm_err put_dnskey(FILE *out, const struct consumer_key *k,
    struct ksm_fail *fail);
enum ksm_err put_base64(FILE *out, const void *bytes, size_t len,
    struct ksm_fail *fail);
/* Bytes of base64 text; false: it is not strictly that, or over `size`. */
bool base64_parse(const char *text, uint8_t *out, size_t size, size_t *len);
/* "pkcs11:..." in memory, to be freed; NULL: no memory. */
char *uri_text(const struct consumer_key *k, bool serial);
/* An RFC 3110 key in its parts; false: it is none. */
struct rsa_parts {
	const uint8_t *exponent, *modulus;
	size_t exponent_len, modulus_len;
};
bool rsa_split(const uint8_t *pub, size_t len, struct rsa_parts *out);
/* The zone as it stands in the name of a file, without its last dot. */
void put_zone_file(FILE *out, const uint8_t *wire);
/* "20261125093000", UTC; `out` holds 16. */
bool time_digits(ksm_time t, char out[16]);

/* A file of one key. */
struct key_file {
	const char *name; /* without slash */
	const char *text;
	size_t len;
	unsigned int mode;
};
/*
 * All of them into the directory, each whole or not at all, the last one last,
 * on disk when it returns. See consumer_write.
 */
enum ksm_err key_files_write(const char *directory, const struct key_file *files,
    size_t n, struct ksm_fail *fail);

#endif
