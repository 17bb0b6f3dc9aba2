#include "consumer_parts.h"

#include <time.h>

/* ods-enforcer reads it in the local time of its host, and has no other way. */
static bool
local_time(ksm_time t, char *out, size_t size)
{
	time_t when = (time_t)t;
	struct tm tm;

	return localtime_r(&when, &tm) != NULL &&
	    strftime(out, size, "%Y-%m-%d-%H:%M:%S", &tm) != 0;
}

enum ksm_err
write_opendnssec(const struct consumer_key *k, const struct consumer_where *w,
    FILE *out, struct ksm_fail *fail)
{
	char when[64];

	(void)w;
	if (!local_time(k->taken, when, sizeof(when)))
		return ksm_failf(fail, KSM_EPROTO,
		    "the key's \"taken_s\" is no time");
	/* generate: not in the zone yet; the enforcer leads it from there. */
	(void)fprintf(out, "ods-enforcer key import --cka_id %s --repository ",
	    k->id_hex);
	put_word(out, k->repository);
	(void)fputs(" --zone ", out);
	put_word(out, k->zone);
	(void)fprintf(out, " --bits %d --algorithm %d --keystate generate "
	    "--keytype %s --inception_time %s\n", k->size, k->alg->number,
	    key_role_text(k->role), when);
	return KSM_OK;
}

/*
 * A text in SQL. Anything that sqlite3(1) or a terminal might take for more
 * than text goes as bytes.
 */
static void
put_sql(FILE *out, const char *text)
{
	const char *p;

	for (p = text; *p != '\0'; p++)
		if (*p < ' ' || *p >= 0x7f)
			break;
	if (*p != '\0') {
		(void)fputs("CAST(x'", out);
		for (p = text; *p != '\0'; p++)
			(void)fprintf(out, "%02x",
			    (unsigned)(unsigned char)*p);
		(void)fputs("' AS TEXT)", out);
		return;
	}
	(void)fputc('\'', out);
	for (p = text; *p != '\0'; p++) {
		if (*p == '\'')
			(void)fputc('\'', out);
		(void)fputc(*p, out);
	}
	(void)fputc('\'', out);
}

/* Column by column, as ods-enforcer-db-setup of 2.1 makes them. */
static const char schema[] =
    "id INTEGER 1 1,rev INTEGER 1 0,policyId INTEGER 1 0,locator TEXT 1 0,"
    "state INT 1 0,bits UNSIGNED INT 1 0,algorithm UNSIGNED INT 1 0,"
    "role INT 1 0,inception UNSIGNED INT 1 0,isRevoked UNSIGNED INT 1 0,"
    "keyType INT 1 0,repository TEXT 1 0,backup INT 1 0";

/* The policy's own key, which the enforcer will look for one for. */
static void
put_policy_key(FILE *out, const struct consumer_key *k)
{
	static const int role[ROLE__COUNT] = {
		[ROLE_KSK] = 1,
		[ROLE_ZSK] = 2,
		[ROLE_CSK] = 3,
	};

	(void)fputs("policy JOIN policyKey ON policyKey.policyId = policy.id\n"
		    "    WHERE policy.name = ", out);
	put_sql(out, k->policy);
	(void)fprintf(out, " AND role = %d AND algorithm = %d", role[k->role],
	    k->alg->number);
	/* Of EC keys the policy may say any size, or none. */
	if (k->alg->family == ALG_RSA)
		(void)fprintf(out, " AND bits = %d", k->size);
	(void)fputs("\n    AND repository = ", out);
	put_sql(out, k->repository);
}

/*
 * The checks are constraints of a temporary table, since SQL has no other way
 * to stop; their names are what sqlite3(1) then says. Without -bail it would
 * go on: the row is taken from the table of checks, which is empty then.
 * The enforcer's own import stores every key as keyType 1 (RSA) and backup 0.
 */
enum ksm_err
write_opendnssec_pool(const struct consumer_key *k,
    const struct consumer_where *w, FILE *out, struct ksm_fail *fail)
{
	(void)w;
	(void)fail;
	(void)fprintf(out,
	    "-- key %s for OpenDNSSEC's pool of unused keys\n"
	    ".timeout 10000\n"
	    "BEGIN IMMEDIATE;\n"
	    "DROP TABLE IF EXISTS temp.ksmpool;\n"
	    "CREATE TEMP TABLE ksmpool (\n"
	    "  a CONSTRAINT \"this is not a database of OpenDNSSEC 2.1\" "
	    "CHECK (a IS 1),\n"
	    "  b CONSTRAINT \"the policy has no key of that role, algorithm, "
	    "size and repository\" CHECK (b IS 1),\n"
	    "  c CONSTRAINT \"that key is in the database already\" "
	    "CHECK (c IS 1));\n"
	    "INSERT INTO temp.ksmpool SELECT\n"
	    "  (SELECT group_concat(name || ' ' || type || ' ' || \"notnull\" "
	    "|| ' ' || pk) FROM\n"
	    "    (SELECT * FROM pragma_table_info('hsmKey') ORDER BY cid))\n"
	    "    IS '%s'\n"
	    "    AND (SELECT max(version) FROM databaseVersion) IS 1,\n"
	    "  EXISTS (SELECT 1 FROM ", k->id_hex, schema);
	put_policy_key(out, k);
	(void)fprintf(out, "),\n"
	    "  NOT EXISTS (SELECT 1 FROM hsmKey WHERE lower(locator) = '%s');\n"
	    "INSERT INTO hsmKey (policyId, locator, state, bits, algorithm, "
	    "role, inception,\n"
	    "    isRevoked, keyType, repository, backup)\n"
	    "  SELECT policyId, '%s', 1, bits, algorithm, role, %lld, 0, 1, "
	    "repository, 0\n"
	    "  FROM (SELECT policyKey.* FROM ", k->id_hex, k->id_hex,
	    (long long)k->created);
	put_policy_key(out, k);
	(void)fputs(" LIMIT 1), temp.ksmpool;\n"
		    "DROP TABLE temp.ksmpool;\n"
		    "COMMIT;\n", out);
	return KSM_OK;
}
