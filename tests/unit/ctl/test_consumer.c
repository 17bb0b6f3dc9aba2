/*
 * What signers are given, against known answers: RFC 6605 section 6.1 (P-256),
 * RFC 8080 section 6.1 (Ed25519), and an RSA key whose records ldns-key2ds and
 * dnssec-dsfromkey agree on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "consumer.h"

#define ID     "00112233445566778899AABBCCDDEEFF"
#define P256                                                         \
	"GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB" \
	"7wNcP+e+MAnLr+Wi9xMWyQLc8NAA=="
#define MODULUS                                                          \
	"3g3MTawuaCRWQFBEosNN1Dslf5smZP2VFKBMYACmS/s2/R33FDuEbHtDWOeFt5" \
	"GrIBAje26+hITxHc8atPT+0VtftKAHLEwS1t+MYgjiaWKeKZrKFLvKjjHyR4yR" \
	"XIVluCCVb2FeAyUl9XtKZYtyIAmFq5m/Michlpzn9REde2E="
#define RSA1024                                                         \
	"AwEAAd4NzE2sLmgkVkBQRKLDTdQ7JX+bJmT9lRSgTGAApkv7Nv0d9xQ7hGx7" \
	"Q1jnhbeRqyAQI3tuvoSE8R3PGrT0/tFbX7SgByxMEtbfjGII4mlinimayhS7" \
	"yo4x8keMkVyFZbgglW9hXgMlJfV7SmWLciAJhauZvzInIZac5/URHXth"
#define ED25519 "l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4="

struct world {
	json_t *doc;
	struct consumer_key key;
	struct consumer_where where;
	struct ksm_fail fail;
	char *text; /* what was written last */
	char dir[32];
};

/* The P-256 key as the daemon sends it; `with` says what is different. */
static json_t *
document(const char *with)
{
	json_t *doc, *more;

	doc = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:i,"
			" s:i, s:i, s:s, s:s, s:s, s:s, s:b, s:i, s:i, s:i}",
	    "id", ID, "label", "00112233445566778899aabbccddeeff", "zone",
	    "example.net", "role", "KSK", "policy", "default", "repository",
	    "SoftHSM", "algorithm", "ECDSAP256SHA256", "algorithm_number", 13,
	    "size", 256, "flags", 257, "tag", 55648, "tag_revoked", 55776,
	    "public_key", P256, "module", "/usr/lib/softhsm/libsofthsm2.so",
	    "token_label", "lab", "token_serial", "8a1b", "single", 0,
	    "created_s", 1700000000, "taken_s", 1700003600, "serial", 7);
	assert_non_null(doc);
	if (with != NULL) {
		json_error_t where;

		more = json_loads(with, 0, &where);
		if (more == NULL)
			fail_msg("%s in %s", where.text, with);
		assert_int_equal(json_object_update(doc, more), 0);
		json_decref(more);
	}
	return doc;
}

static const char rsa_zsk[] =
    "{\"role\":\"ZSK\",\"flags\":256,\"algorithm\":\"RSASHA256\","
    "\"algorithm_number\":8,\"size\":1024,\"tag\":8176,\"tag_revoked\":8305,"
    "\"public_key\":\"" RSA1024 "\"}";
static const char rsa_ksk[] =
    "{\"zone\":\"0/25.2.0.192.IN-ADDR.arpa\",\"algorithm\":\"RSASHA256\","
    "\"algorithm_number\":8,\"size\":1024,\"tag\":8177,\"tag_revoked\":8305,"
    "\"public_key\":\"" RSA1024 "\"}";
static const char ed25519_csk[] =
    "{\"zone\":\"example.com\",\"role\":\"CSK\",\"algorithm\":\"ED25519\","
    "\"algorithm_number\":15,\"tag\":3613,\"tag_revoked\":3741,"
    "\"public_key\":\"" ED25519 "\"}";

static void
key_is(struct world *w, const char *with)
{
	json_decref(w->doc);
	w->doc = document(with);
	w->fail.text[0] = '\0';
	if (consumer_key_read(w->doc, &w->key, &w->fail) != KSM_OK)
		fail_msg("%s", w->fail.text);
}

static enum ksm_err
written(struct world *w, enum consumer c)
{
	size_t len = 0;
	enum ksm_err err;
	FILE *out;

	free(w->text);
	w->text = NULL;
	out = open_memstream(&w->text, &len);
	assert_non_null(out);
	w->fail.text[0] = '\0';
	err = consumer_write(c, &w->key, &w->where, out, &w->fail);
	assert_int_equal(fclose(out), 0);
	return err;
}

static void
writes(struct world *w, enum consumer c, const char *want)
{
	if (written(w, c) != KSM_OK)
		fail_msg("%s", w->fail.text);
	assert_string_equal(w->text, want);
}

static void
refuses(struct world *w, enum consumer c, const char *words)
{
	assert_int_equal(written(w, c), KSM_EREFUSED);
	if (strstr(w->fail.text, words) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", w->fail.text, words);
	assert_string_equal(w->text, "");
}

/* Made when a test wants one, so that it is known to be empty. */
static void
directory(struct world *w)
{
	(void)snprintf(w->dir, sizeof(w->dir), "/tmp/ksm-consumer-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	w->where.directory = w->dir;
}

static const char *
path_of(const struct world *w, const char *name)
{
	static char path[1200];

	(void)snprintf(path, sizeof(path), "%s/%s", w->dir, name);
	return path;
}

static void
file_is(const struct world *w, const char *name, unsigned mode,
    const char *want)
{
	char got[4096];
	struct stat sb;
	FILE *f = fopen(path_of(w, name), "r");

	if (f == NULL)
		fail_msg("%s is not there", name);
	assert_int_equal(fstat(fileno(f), &sb), 0);
	assert_int_equal(sb.st_mode & 07777, mode);
	got[fread(got, 1, sizeof(got) - 1, f)] = '\0';
	(void)fclose(f);
	assert_string_equal(got, want);
}

static void
file_put(const struct world *w, const char *name, const char *text)
{
	FILE *f = fopen(path_of(w, name), "w");

	assert_non_null(f);
	(void)fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static size_t
files_in(const struct world *w)
{
	DIR *d = opendir(w->dir);
	const struct dirent *e;
	size_t n = 0;

	assert_non_null(d);
	while ((e = readdir(d)) != NULL)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			n++;
	(void)closedir(d);
	return n;
}

static int
setup(void **ctx)
{
	*ctx = calloc(1, sizeof(struct world));
	return *ctx == NULL ? -1 : 0;
}

static int
teardown(void **ctx)
{
	struct world *w = *ctx;
	const struct dirent *e;
	DIR *d;

	if (w->dir[0] != '\0' && (d = opendir(w->dir)) != NULL) {
		while ((e = readdir(d)) != NULL)
			(void)unlinkat(dirfd(d), e->d_name, 0);
		(void)closedir(d);
		(void)rmdir(w->dir);
	}
	json_decref(w->doc);
	free(w->text);
	free(w);
	return 0;
}

/* ---- reading ----------------------------------------------------------- */

static void
a_key_is_read_as_the_daemon_sends_it(void **ctx)
{
	struct world *w = *ctx;

	key_is(w, "{\"number\":12,\"single\":true}");
	assert_string_equal(w->key.id_hex, "00112233445566778899aabbccddeeff");
	assert_string_equal(w->key.owner, "example.net.");
	assert_int_equal(w->key.role, ROLE_KSK);
	assert_int_equal(w->key.tag, 55648);
	assert_int_equal(w->key.pub_len, 64);
	assert_true(w->key.single);
	assert_int_equal(w->key.created, 1700000000);
	assert_int_equal(w->key.serial, 7);
}

static void
a_key_that_does_not_hold_together_is_refused(void **ctx)
{
	static const struct {
		const char *with, *words;
	} cases[] = {
		{ "{\"id\":\"0011\"}", "id" },
		{ "{\"id\":5}", "id" },
		{ "{\"zone\":\"\"}", "zone" },
		{ "{\"zone\":\"a..b\"}", "empty label" },
		{ "{\"role\":\"ksk\"}", "role" },
		{ "{\"algorithm\":\"RSASHA256\"}", "algorithm" },
		{ "{\"algorithm_number\":12}", "algorithm_number" },
		{ "{\"algorithm_number\":4294967309}", "algorithm_number" },
		{ "{\"size\":255}", "size" },
		{ "{\"flags\":256}", "257, as a KSK" },
		{ "{\"role\":\"ZSK\"}", "256, as a ZSK" },
		{ "{\"tag\":55649}", "that of its public key" },
		{ "{\"tag\":-1}", "tag" },
		{ "{\"tag_revoked\":65536}", "tag_revoked" },
		{ "{\"public_key\":\"\"}", "base64" },
		{ "{\"public_key\":\"====\"}", "base64" },
		{ "{\"public_key\":\"Go jIhh\"}", "base64" },
		{ "{\"public_key\":\" GojI\"}", "base64" },
		{ "{\"public_key\":\"GojIhh==\"}", "base64" }, /* loose bits */
		{ "{\"public_key\":\"GojI\"}", "public_key" },
		{ "{\"public_key\":\"" RSA1024 "\"}", "public_key" },
		{ "{\"single\":1}", "single" },
		{ "{\"created_s\":\"now\"}", "created_s" },
		{ "{\"created_s\":1.5}", "created_s" },
	};
	struct world *w = *ctx;

	for (size_t i = 0; i < nitems(cases); i++) {
		json_t *doc = document(cases[i].with);
		enum ksm_err err;

		w->fail.text[0] = '\0';
		err = consumer_key_read(doc, &w->key, &w->fail);
		if (err != KSM_EPROTO ||
		    strstr(w->fail.text, cases[i].words) == NULL)
			fail_msg("%s: %d, \"%s\"", cases[i].with, err,
			    w->fail.text);
		json_decref(doc);
	}
}

static void
a_key_needs_every_member(void **ctx)
{
	struct world *w = *ctx;
	json_t *whole = document(NULL);
	const char *name;
	json_t *value;

	json_object_foreach (whole, name, value) {
		json_t *doc = document(NULL);

		(void)json_object_del(doc, name);
		assert_int_equal(consumer_key_read(doc, &w->key, &w->fail),
		    KSM_EPROTO);
		assert_non_null(strstr(w->fail.text, name));
		json_decref(doc);
	}
	assert_int_equal(consumer_key_read(NULL, &w->key, &w->fail),
	    KSM_EPROTO);
	json_decref(whole);
}

static void
an_rsa_key_is_as_long_as_it_says(void **ctx)
{
	static const char *const odd[] = {
		/* 1032 bits said; an exponent of 0; no modulus; length of two
		 * octets that runs past the end */
		"{\"size\":1032}",
		"{\"public_key\":\"AAAAAA==\",\"tag\":0}",
		"{\"public_key\":\"AwEAAQ==\"}",
		"{\"public_key\":\"AAEAAQ==\"}",
	};
	struct world *w = *ctx;

	key_is(w, rsa_ksk);
	for (size_t i = 0; i < nitems(odd); i++) {
		json_t *doc = document(rsa_ksk);
		json_t *with = json_loads(odd[i], 0, NULL);

		assert_int_equal(json_object_update(doc, with), 0);
		assert_int_equal(consumer_key_read(doc, &w->key, &w->fail),
		    KSM_EPROTO);
		if (strstr(w->fail.text, "RSASHA256") == NULL)
			fail_msg("%s: \"%s\"", odd[i], w->fail.text);
		json_decref(with);
		json_decref(doc);
	}
}

/* ---- records ----------------------------------------------------------- */

static void
records_are_those_of_the_rfcs(void **ctx)
{
	struct world *w = *ctx;

	key_is(w, NULL);
	writes(w, CONSUMER_DNSKEY, "example.net. IN DNSKEY 257 3 13 " P256 "\n");
	writes(w, CONSUMER_DS, "example.net. IN DS 55648 13 2 B4C8C1FE2E7477127"
	    "B27115656AD6256F424625BF5C1E2770CE6D6E37DF61D17\n");
	writes(w, CONSUMER_CDS, "example.net. IN CDS 55648 13 2 B4C8C1FE2E74771"
	    "27B27115656AD6256F424625BF5C1E2770CE6D6E37DF61D17\n");
	key_is(w, ed25519_csk);
	writes(w, CONSUMER_DS, "example.com. IN DS 3613 15 2 3AA5AB37EFCE57F737"
	    "FC1627013FEE07BDF241BD10F3B1964AB55C78E79A304B\n");
	key_is(w, rsa_ksk);
	writes(w, CONSUMER_DS, "0/25.2.0.192.in-addr.arpa. IN DS 8177 8 2 C6297"
	    "42D06629A044F7DB74EF830A39956C59FF93E90D1A549757095196AAD00\n");
	key_is(w, rsa_zsk);
	writes(w, CONSUMER_DNSKEY, "example.net. IN DNSKEY 256 3 8 " RSA1024
	    "\n");
	refuses(w, CONSUMER_DS, "not a ZSK");
	refuses(w, CONSUMER_NONE, "no consumer");
}

static void
the_digest_is_over_the_canonical_name(void **ctx)
{
	struct world *w = *ctx;

	key_is(w, "{\"zone\":\".\"}");
	writes(w, CONSUMER_DS, ". IN DS 55648 13 2 FF08415D670AD845C621C2CBB841"
	    "6EC67DECDD583C4D94E79D9E1A60A2902E97\n");
	key_is(w, "{\"zone\":\"-A\\\\.b$\\\\200.EXAMPLE.\"}");
	writes(w, CONSUMER_DS, "\\045a\\.b\\$\\200.example. IN DS 55648 13 2 F9"
	    "8AFF53B512052DE4125C43B7D70FD4164B156E6FF8E6CDE0A3B1C033EDA88E\n");
}

static void
a_uri_escapes_what_rfc_7512_wants_escaped(void **ctx)
{
	struct world *w = *ctx;

	key_is(w, NULL);
	writes(w, CONSUMER_URI, "pkcs11:token=lab;serial=8a1b;id=%00%11%22%33%4"
	    "4%55%66%77%88%99%aa%bb%cc%dd%ee%ff\n");
	key_is(w, "{\"token_label\":\"a b;c/d?\\u00e4%\",\"token_serial\":\"\","
		  "\"single\":true}");
	writes(w, CONSUMER_URI, "pkcs11:token=a%20b%3bc%2fd%3f%c3%a4%25;id=%00%"
	    "11%22%33%44%55%66%77%88%99%aa%bb%cc%dd%ee%ff\n");
	key_is(w, "{\"token_label\":\"\",\"token_serial\":\"\"}");
	writes(w, CONSUMER_URI, "pkcs11:id=%00%11%22%33%44%55%66%77%88%99%aa%bb"
	    "%cc%dd%ee%ff\n");
}

/* ---- command lines ----------------------------------------------------- */

static void
knot_imports_a_key_that_is_not_active(void **ctx)
{
	struct world *w = *ctx;

	key_is(w, NULL);
	writes(w, CONSUMER_KNOT, "keymgr example.net. import-pkcs11 00112233445"
	    "566778899aabbccddeeff algorithm=13 ksk=yes zsk=no publish=0 "
	    "ready=0 active=0\n");
	writes(w, CONSUMER_KNOT_LATER, "keymgr example.net. import-pkcs11 00112"
	    "233445566778899aabbccddeeff algorithm=13 ksk=yes zsk=no "
	    "for-later=yes\n");
	key_is(w, rsa_zsk);
	assert_int_equal(written(w, CONSUMER_KNOT), KSM_OK);
	assert_non_null(strstr(w->text, " algorithm=8 ksk=no zsk=yes "));
	key_is(w, ed25519_csk);
	assert_int_equal(written(w, CONSUMER_KNOT), KSM_OK);
	assert_non_null(strstr(w->text, " ksk=yes zsk=yes "));
}

static void
opendnssec_imports_a_key_for_one_zone(void **ctx)
{
	struct world *w = *ctx;

	(void)setenv("TZ", "Europe/Berlin", 1);
	key_is(w, NULL);
	writes(w, CONSUMER_OPENDNSSEC, "ods-enforcer key import --cka_id 001122"
	    "33445566778899aabbccddeeff --repository SoftHSM --zone example.net "
	    "--bits 256 --algorithm 13 --keystate generate --keytype KSK "
	    "--inception_time 2023-11-15-00:13:20\n");
	(void)setenv("TZ", "UTC", 1);
}

static void
opendnssec_is_told_no_word_that_it_would_split(void **ctx)
{
	struct world *w = *ctx;
	char with[1200];

	key_is(w, "{\"repository\":\"Soft HSM\"}");
	refuses(w, CONSUMER_OPENDNSSEC, "repository");
	key_is(w, "{\"zone\":\"a\\\\032b\"}");
	refuses(w, CONSUMER_OPENDNSSEC, "zone");
	(void)snprintf(with, sizeof(with), "{\"repository\":\"%01000d\"}", 0);
	key_is(w, with);
	refuses(w, CONSUMER_OPENDNSSEC, "1023");
}

static void
cascade_has_two_lines_of_arguments(void **ctx)
{
	struct world *w = *ctx;

	key_is(w, NULL);
	writes(w, CONSUMER_CASCADE, "import ksk kmip SoftHSM " ID "_pub " ID
	    "_priv ECDSAP256SHA256 257\n--import-ksk-kmip SoftHSM " ID
	    "_pub " ID "_priv ECDSAP256SHA256 257\n");
	key_is(w, rsa_zsk);
	assert_int_equal(written(w, CONSUMER_CASCADE), KSM_OK);
	assert_non_null(strstr(w->text, "import zsk kmip"));
	assert_non_null(strstr(w->text, "_priv RSASHA256 256\n"));
	key_is(w, ed25519_csk);
	refuses(w, CONSUMER_CASCADE, "RSASHA256 and ECDSAP256SHA256");
	key_is(w, "{\"repository\":\"--coupled\"}");
	refuses(w, CONSUMER_CASCADE, "hyphen");
}

/* A shell that runs `line` with `command` in place of the signer's. */
static void
a_shell_reads(const char *command, const char *line, const char *want)
{
	char got[4096];
	size_t n;
	FILE *p;

	(void)setenv("KSM_TEST_LINE", line, 1);
	(void)snprintf(got, sizeof(got),
	    "set -eu; cd /; %s() { printf '[%%s]' \"$@\"; }; "
	    "eval \"$KSM_TEST_LINE\"", command);
	p = popen(got, "r");
	assert_non_null(p);
	n = fread(got, 1, sizeof(got) - 1, p);
	got[n] = '\0';
	assert_int_equal(pclose(p), 0);
	assert_string_equal(got, want);
}

static void
a_shell_runs_nothing_that_stands_in_a_name(void **ctx)
{
	struct world *w = *ctx;

	key_is(w, "{\"zone\":\"`id`;$(id)&'*\\\"|<>\\\\\\\\.-x\"}");
	assert_int_equal(written(w, CONSUMER_KNOT), KSM_OK);
	a_shell_reads("keymgr", w->text,
	    "[`id`\\;\\$\\(id\\)&'*\\\"|<>\\\\.-x.][import-pkcs11]"
	    "[00112233445566778899aabbccddeeff][algorithm=13][ksk=yes]"
	    "[zsk=no][publish=0][ready=0][active=0]");
	key_is(w, "{\"zone\":\"\\\\010rm\"}");
	assert_int_equal(written(w, CONSUMER_KNOT), KSM_OK);
	assert_non_null(strstr(w->text, "keymgr '\\010rm.' "));
	key_is(w, "{\"repository\":\"$(id)`\"}");
	assert_int_equal(written(w, CONSUMER_OPENDNSSEC), KSM_OK);
	assert_non_null(strstr(w->text, " --repository '$(id)`' "));
	key_is(w, "{\"repository\":\"it's\\n~ $HOME\"}");
	assert_int_equal(written(w, CONSUMER_CASCADE), KSM_OK);
	assert_non_null(strstr(w->text, "kmip 'it'\\''s\n~ $HOME' "));
}

/* ---- OpenDNSSEC's pool ------------------------------------------------- */

static void
the_pool_row_is_a_guarded_transaction(void **ctx)
{
	static const char *const parts[] = {
		"\nBEGIN IMMEDIATE;\n",
		"id INTEGER 1 1,rev INTEGER 1 0,policyId INTEGER 1 0,",
		"policy.name = 'default' AND role = 1 AND algorithm = 13\n",
		"AND repository = 'SoftHSM'",
		"WHERE lower(locator) = '00112233445566778899aabbccddeeff'",
		("SELECT policyId, '00112233445566778899aabbccddeeff', 1, "
		 "bits, algorithm, role, 1700000000, 0, 1, repository, 0\n"),
		"\nCOMMIT;\n",
	};
	struct world *w = *ctx;
	const char *at;

	key_is(w, NULL);
	assert_int_equal(written(w, CONSUMER_OPENDNSSEC_POOL), KSM_OK);
	at = w->text;
	for (size_t i = 0; i < nitems(parts); i++) {
		at = strstr(at, parts[i]);
		if (at == NULL)
			fail_msg("%s is not there, or not after %s", parts[i],
			    i > 0 ? parts[i - 1] : "the start");
	}
	/* The size of an EC key is the algorithm's, whatever a policy says. */
	assert_null(strstr(w->text, "bits = "));
	key_is(w, rsa_zsk);
	assert_int_equal(written(w, CONSUMER_OPENDNSSEC_POOL), KSM_OK);
	assert_non_null(
	    strstr(w->text, "role = 2 AND algorithm = 8 AND bits = 1024"));
}

static void
no_name_ends_a_text_in_sql(void **ctx)
{
	struct world *w = *ctx;

	key_is(w, "{\"policy\":\"o'x'; DROP TABLE policy; --\","
		  "\"repository\":\"'\"}");
	assert_int_equal(written(w, CONSUMER_OPENDNSSEC_POOL), KSM_OK);
	assert_non_null(strstr(w->text,
	    "name = 'o''x''; DROP TABLE policy; --' AND"));
	assert_non_null(strstr(w->text, "repository = ''''"));
	key_is(w, "{\"policy\":\"a\\n.shell id\\n'\",\"repository\":"
		  "\"\\u00e4\"}");
	assert_int_equal(written(w, CONSUMER_OPENDNSSEC_POOL), KSM_OK);
	assert_non_null(strstr(w->text,
	    "name = CAST(x'610a2e7368656c6c2069640a27' AS TEXT) AND"));
	assert_non_null(strstr(w->text, "repository = CAST(x'c3a4' AS TEXT)"));
	assert_null(strstr(w->text, "\n.shell"));
}

/* ---- PowerDNS ---------------------------------------------------------- */

static const char pdns_file[] =
    "Private-key-format: v1.2\nAlgorithm: 13\nEngine: softhsm2\nSlot: lab\n"
    "PIN: \nLabel: 00112233445566778899aabbccddeeff\n"
    "PubLabel: 00112233445566778899aabbccddeeff\n";

static void
powerdns_gets_its_file_on_standard_output(void **ctx)
{
	struct world *w = *ctx;

	key_is(w, NULL);
	writes(w, CONSUMER_POWERDNS, pdns_file);
	key_is(w, "{\"module\":\"/opt/Vendor.so.2\"}");
	assert_int_equal(written(w, CONSUMER_POWERDNS), KSM_OK);
	assert_non_null(strstr(w->text, "\nEngine: Vendor\n"));
	key_is(w, "{\"token_label\":\"a\\nPIN: 1\"}");
	refuses(w, CONSUMER_POWERDNS, "label of a token");
	key_is(w, "{\"label\":\"\"}");
	refuses(w, CONSUMER_POWERDNS, "label of a key");
}

static void
powerdns_gets_its_file_in_a_directory(void **ctx)
{
	struct world *w = *ctx;
	char want[256];

	directory(w);
	key_is(w, NULL);
	(void)snprintf(want, sizeof(want), "pdnsutil import-zone-key "
	    "example.net. %s/example.net+013+55648.pdns inactive ksk "
	    "unpublished\n", w->dir);
	writes(w, CONSUMER_POWERDNS, want);
	file_is(w, "example.net+013+55648.pdns", 0600, pdns_file);
	writes(w, CONSUMER_POWERDNS, want);
	assert_int_equal(files_in(w), 1);
}

/* ---- BIND -------------------------------------------------------------- */

static const char bind_public[] =
    "; This is a key-signing key, keyid 55648, for example.net.\n"
    "; Created: 20231114221320 (Tue Nov 14 22:13:20 2023)\n"
    "example.net. IN DNSKEY 257 3 13 " P256 "\n";
/* base64 of pkcs11:token=lab;id=%00%11..%ff and a NUL */
static const char bind_private[] =
    "Private-key-format: v1.3\nAlgorithm: 13 (ECDSAP256SHA256)\n"
    "Label: cGtjczExOnRva2VuPWxhYjtpZD0lMDAlMTElMjIlMzMlNDQlNTUlNjYlNzclODgl"
    "OTklYWElYmIlY2MlZGQlZWUlZmYA\n"
    "Created: 20231114221320\n";

static void
bind_gets_two_files(void **ctx)
{
	struct world *w = *ctx;
	char want[256];

	directory(w);
	key_is(w, NULL);
	(void)snprintf(want, sizeof(want),
	    "%s/Kexample.net.+013+55648.key\n"
	    "%s/Kexample.net.+013+55648.private\n", w->dir, w->dir);
	(void)umask(0077); /* the modes are not the umask's business */
	writes(w, CONSUMER_BIND, want);
	file_is(w, "Kexample.net.+013+55648.key", 0644, bind_public);
	file_is(w, "Kexample.net.+013+55648.private", 0600, bind_private);
	assert_int_equal(files_in(w), 2);
}

static void
bind_sees_the_public_parts_of_an_rsa_key(void **ctx)
{
	struct world *w = *ctx;

	directory(w);
	key_is(w, rsa_zsk);
	assert_int_equal(written(w, CONSUMER_BIND), KSM_OK);
	file_is(w, "Kexample.net.+008+08176.private", 0600,
	    "Private-key-format: v1.3\nAlgorithm: 8 (RSASHA256)\n"
	    "Modulus: " MODULUS "\nPublicExponent: AQAB\n"
	    "Label: cGtjczExOnRva2VuPWxhYjtpZD0lMDAlMTElMjIlMzMlNDQlNTUlNjYlNzc"
	    "lODglOTklYWElYmIlY2MlZGQlZWUlZmYA\n"
	    "Created: 20231114221320\n");
}

static void
a_take_that_is_repeated_finds_its_files(void **ctx)
{
	struct world *w = *ctx;

	directory(w);
	key_is(w, NULL);
	assert_int_equal(written(w, CONSUMER_BIND), KSM_OK);
	/* The other one never came to be. */
	assert_int_equal(
	    unlink(path_of(w, "Kexample.net.+013+55648.private")), 0);
	assert_int_equal(written(w, CONSUMER_BIND), KSM_OK);
	assert_int_equal(written(w, CONSUMER_BIND), KSM_OK);
	file_is(w, "Kexample.net.+013+55648.private", 0600, bind_private);
	assert_int_equal(files_in(w), 2);
}

static void
a_file_of_another_is_never_written_over(void **ctx)
{
	struct world *w = *ctx;
	char longer[sizeof(bind_private) + 2];

	directory(w);
	key_is(w, NULL);
	(void)snprintf(longer, sizeof(longer), "%s\n", bind_private);
	file_put(w, "Kexample.net.+013+55648.private", longer);
	refuses(w, CONSUMER_BIND, "55648.private is there with other content");
	assert_int_equal(files_in(w), 1);
	assert_int_equal(
	    unlink(path_of(w, "Kexample.net.+013+55648.private")), 0);

	file_put(w, "Kexample.net.+013+55648.key", "");
	refuses(w, CONSUMER_BIND, "55648.key is there with other content");
	assert_int_equal(unlink(path_of(w, "Kexample.net.+013+55648.key")), 0);

	/* Also not through a link, and not into a pipe. */
	assert_int_equal(symlink("/etc/passwd",
	    path_of(w, "Kexample.net.+013+55648.key")), 0);
	refuses(w, CONSUMER_BIND, "not a regular file");
	assert_int_equal(unlink(path_of(w, "Kexample.net.+013+55648.key")), 0);
	assert_int_equal(
	    mkfifo(path_of(w, "Kexample.net.+013+55648.key"), 0600), 0);
	refuses(w, CONSUMER_BIND, "not a regular file");
	assert_int_equal(files_in(w), 1);
}

static void
a_zone_never_leaves_the_directory(void **ctx)
{
	static const struct {
		const char *zone, *name, *pdns;
	} cases[] = {
		{ "{\"zone\":\".\"}", "K.+013+55648", ".+013+55648" },
		{ "{\"zone\":\"0/25.2.0.192.in-addr.arpa\"}",
		    "K0%2F25.2.0.192.in-addr.arpa.+013+55648",
		    "0%2F25.2.0.192.in-addr.arpa+013+55648" },
		{ "{\"zone\":\"\\\\.\\\\./\\\\.\\\\./x\"}",
		    "K%2E%2E%2F%2E%2E%2Fx.+013+55648",
		    "%2E%2E%2F%2E%2E%2Fx+013+55648" },
		{ "{\"zone\":\"_a-B.\\\\200%\"}",
		    "K_a-b.%C8%25.+013+55648", "_a-b.%C8%25+013+55648" },
	};
	struct world *w = *ctx;
	char path[256];

	directory(w);
	for (size_t i = 0; i < nitems(cases); i++) {
		key_is(w, cases[i].zone);
		assert_int_equal(written(w, CONSUMER_BIND), KSM_OK);
		(void)snprintf(path, sizeof(path), "%s.private", cases[i].name);
		assert_int_equal(access(path_of(w, path), R_OK), 0);
		assert_int_equal(written(w, CONSUMER_POWERDNS), KSM_OK);
		(void)snprintf(path, sizeof(path), "%s.pdns", cases[i].pdns);
		assert_int_equal(access(path_of(w, path), R_OK), 0);
	}
	assert_int_equal(files_in(w), 3 * nitems(cases));
}

static void
a_directory_that_is_not_there_is_said(void **ctx)
{
	struct world *w = *ctx;

	key_is(w, NULL);
	refuses(w, CONSUMER_BIND, "--directory");
	w->where.directory = "/nonexistent/keys";
	assert_int_equal(written(w, CONSUMER_BIND), KSM_ESYS);
	assert_non_null(strstr(w->fail.text,
	    "--directory /nonexistent/keys: No such file or directory"));
	assert_string_equal(w->text, "");
}

static void
a_full_disk_is_said(void **ctx)
{
	struct world *w = *ctx;
	FILE *full = fopen("/dev/full", "w");

	assert_non_null(full);
	key_is(w, NULL);
	assert_int_equal(consumer_write(CONSUMER_URI, &w->key, NULL, full,
	    &w->fail), KSM_ESYS);
	assert_non_null(strstr(w->fail.text, strerror(ENOSPC)));
	(void)fclose(full);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_key_is_read_as_the_daemon_sends_it),
		TEST(a_key_that_does_not_hold_together_is_refused),
		TEST(a_key_needs_every_member),
		TEST(an_rsa_key_is_as_long_as_it_says),
		TEST(records_are_those_of_the_rfcs),
		TEST(the_digest_is_over_the_canonical_name),
		TEST(a_uri_escapes_what_rfc_7512_wants_escaped),
		TEST(knot_imports_a_key_that_is_not_active),
		TEST(opendnssec_imports_a_key_for_one_zone),
		TEST(opendnssec_is_told_no_word_that_it_would_split),
		TEST(cascade_has_two_lines_of_arguments),
		TEST(a_shell_runs_nothing_that_stands_in_a_name),
		TEST(the_pool_row_is_a_guarded_transaction),
		TEST(no_name_ends_a_text_in_sql),
		TEST(powerdns_gets_its_file_on_standard_output),
		TEST(powerdns_gets_its_file_in_a_directory),
		TEST(bind_gets_two_files),
		TEST(bind_sees_the_public_parts_of_an_rsa_key),
		TEST(a_take_that_is_repeated_finds_its_files),
		TEST(a_file_of_another_is_never_written_over),
		TEST(a_zone_never_leaves_the_directory),
		TEST(a_directory_that_is_not_there_is_said),
		TEST(a_full_disk_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
