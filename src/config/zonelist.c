#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "ksmpool/dnsname.h"
#include "ksmpool/hash.h"

#include "config.h"

enum zone_id {
	Z_ZONELIST,
	Z_ZONE,
	Z_POLICY,
	Z_SIGNERCONF,
	Z_ADAPTERS,
	Z_INPUT,
	Z_INPUT_ADAPTER,
	Z_INPUT_FILE,
	Z_OUTPUT,
	Z_OUTPUT_ADAPTER,
	Z_OUTPUT_FILE,
	Z__COUNT
};

/* clang-format off: tables */
/* Both forms of adapters: <File> of 1.x and <Adapter type="..."> of 2.x. */
static const struct xml_rule rules[Z__COUNT] = {
	[Z_ZONELIST] = { "ZoneList", -1, XML_PARENT, .lo = 0 },
	[Z_ZONE] = { "Zone", Z_ZONELIST, XML_PARENT, XML_MANY,
	    { { "name", true } }, .lo = 0 },
	[Z_POLICY] = { "Policy", Z_ZONE, XML_TEXT, XML_REQUIRED, .lo = 0 },
	[Z_SIGNERCONF] = { "SignerConfiguration", Z_ZONE, XML_LOOSE, XML_UNUSED,
	    .lo = 0 },
	[Z_ADAPTERS] = { "Adapters", Z_ZONE, XML_PARENT, XML_UNUSED, .lo = 0 },
	[Z_INPUT] = { "Input", Z_ADAPTERS, XML_PARENT, .lo = 0 },
	[Z_INPUT_ADAPTER] = { "Adapter", Z_INPUT, XML_LOOSE, XML_MANY,
	    { { "type", false } }, .lo = 0 },
	[Z_INPUT_FILE] = { "File", Z_INPUT, XML_LOOSE, XML_MANY, .lo = 0 },
	[Z_OUTPUT] = { "Output", Z_ADAPTERS, XML_PARENT, .lo = 0 },
	[Z_OUTPUT_ADAPTER] = { "Adapter", Z_OUTPUT, XML_LOOSE, XML_MANY,
	    { { "type", false } }, .lo = 0 },
	[Z_OUTPUT_FILE] = { "File", Z_OUTPUT, XML_LOOSE, XML_MANY, .lo = 0 },
};
/* clang-format on */

struct zone_row
zone_row_get(const struct zonelist *z, uint32_t at)
{
	struct zone_row row;

	memcpy(&row, nametable_head(&z->names, at), sizeof(row));
	return row;
}

void
zone_row_set(struct zonelist *z, uint32_t at, const struct zone_row *row)
{
	memcpy(nametable_head(&z->names, at), row, sizeof(*row));
}

struct reading {
	struct xml_file *file;
	struct zonelist *out;
	bool check_policies;
	enum ksm_err err;

	/* the zone being read */
	uint8_t name[DNSNAME_WIRE];
	size_t name_len;
	char text[NAME_MAX_BYTES * 8]; /* of the name, for findings */
	bool name_ok, policy_ok;
	uint32_t policy;
	int64_t faults; /* zones that could not be taken */

	uint64_t seed;

	/* open addressing over out->counts, index plus 1 */
	uint32_t *names;
	size_t nnames;
};

static bool
names_grow(struct reading *z)
{
	size_t n = z->nnames == 0 ? 64 : z->nnames * 2;
	uint32_t *names = calloc(n, sizeof(*names));

	if (names == NULL)
		return false;
	for (size_t i = 0; i < z->out->ncounts; i++) {
		const char *policy = z->out->counts[i].policy;
		size_t at =
		    hash_bytes(z->seed, policy, strlen(policy)) & (n - 1);

		while (names[at] != 0)
			at = (at + 1) & (n - 1);
		names[at] = (uint32_t)i + 1;
	}
	free(z->names);
	z->names = names;
	z->nnames = n;
	return true;
}

/* The count of a policy name; made when `add`. NULL: none, or no memory. */
static struct zone_count *
count_get(struct reading *z, const char *policy, bool add, int64_t line)
{
	struct zonelist *out = z->out;
	struct zone_count *grown;
	size_t at;

	if ((out->ncounts + 1) * 2 > z->nnames && !names_grow(z)) {
		z->err = KSM_ENOMEM;
		return NULL;
	}
	at = hash_bytes(z->seed, policy, strlen(policy)) & (z->nnames - 1);
	while (z->names[at] != 0) {
		struct zone_count *c = &out->counts[z->names[at] - 1];

		if (strcmp(c->policy, policy) == 0)
			return c;
		at = (at + 1) & (z->nnames - 1);
	}
	if (!add || out->ncounts >= POLICIES_MAX)
		return NULL;
	grown = reallocarray(out->counts, out->ncounts + 1, sizeof(*grown));
	if (grown == NULL) {
		z->err = KSM_ENOMEM;
		return NULL;
	}
	out->counts = grown;
	grown[out->ncounts].policy = strdup(policy);
	grown[out->ncounts].zones = 0;
	grown[out->ncounts].owners = 0;
	grown[out->ncounts].line = line;
	if (grown[out->ncounts].policy == NULL) {
		z->err = KSM_ENOMEM;
		return NULL;
	}
	z->names[at] = (uint32_t)++out->ncounts;
	return &out->counts[out->ncounts - 1];
}

static void
double_report(struct reading *z, const struct zone_row *first, int64_t line)
{
	if (first->policy == z->policy) {
		xml_find(z->file, CONF_WARNING, line,
		    "the same zone twice on one policy; it counts once",
		    z->text, "each zone once; first at line %" PRIu32,
		    first->line);
		return;
	}
	xml_find(z->file, CONF_ERROR, line, "the same zone on two policies",
	    z->text,
	    "one policy; at line %" PRIu32 " it is on '%s', here on "
	    "'%s'",
	    first->line, z->out->counts[first->policy].policy,
	    z->out->counts[z->policy].policy);
	z->faults++;
}

static void
zone_take(struct reading *z, int64_t line)
{
	struct zonelist *out = z->out;
	struct zone_row row;
	bool added;
	uint32_t at;

	at = nametable_put(&out->names, z->name, z->name_len, &added);
	if (at == 0) {
		z->err = KSM_ENOMEM;
		return;
	}
	row = zone_row_get(out, at);
	if (!added) {
		double_report(z, &row, line);
		return;
	}
	row.policy = z->policy;
	row.line = (uint32_t)line;
	zone_row_set(out, at, &row);
	out->zones++;
	out->counts[z->policy].zones++;
	out->counts[z->policy].owners++;
}

static void
on_open(void *ctx, const struct xml_node *n)
{
	struct ksm_fail fail = { .err = KSM_OK };
	struct reading *z = ctx;
	size_t len;

	if (n->id != Z_ZONE)
		return;
	z->policy_ok = false;
	z->name_ok = n->ok && n->attrs[0] != NULL;
	if (!z->name_ok)
		return;
	if (dnsname_parse(n->attrs[0], z->name, &z->name_len, &fail) !=
	    KSM_OK) {
		xml_find(z->file, CONF_ERROR, n->line,
		    "the name of a zone is not a DNS name", n->attrs[0],
		    "labels of 1 to 63 octets, 255 in all (%s)", fail.text);
		z->name_ok = false;
		return;
	}
	len = strlen(n->attrs[0]);
	if (len >= sizeof(z->text))
		len = sizeof(z->text) - 1;
	memcpy(z->text, n->attrs[0], len);
	z->text[len] = '\0';
}

static void
policy_close(struct reading *z, const struct xml_node *n)
{
	const struct zone_count *c;

	if (!n->ok)
		return;
	c = count_get(z, n->text, !z->check_policies, n->line);
	if (c == NULL) {
		if (z->err == KSM_OK && z->check_policies)
			xml_find(z->file, CONF_ERROR, n->line,
			    "zone on an unknown policy", n->text,
			    "a policy of %s", z->file->conf->kasp_file);
		else if (z->err == KSM_OK)
			xml_find(z->file, CONF_ERROR, n->line,
			    "zones on too many policies", n->text,
			    "at most %d policies", POLICIES_MAX);
		return;
	}
	if (c->line == 0)
		z->out->counts[c - z->out->counts].line = n->line;
	z->policy = (uint32_t)(c - z->out->counts);
	z->policy_ok = true;
}

static void
on_close(void *ctx, const struct xml_node *n)
{
	struct reading *z = ctx;

	if (z->err != KSM_OK)
		return;
	if (n->id == Z_POLICY) {
		policy_close(z, n);
	} else if (n->id == Z_ZONE) {
		if (n->ok && z->name_ok && z->policy_ok)
			zone_take(z, n->line);
		else
			z->faults++;
	}
}

static const struct xml_grammar grammar = {
	.what = "a zone list (zonelist.xml)",
	.rules = rules,
	.nrules = Z__COUNT,
	.open = on_open,
	.close = on_close,
};

static enum ksm_err
reading_begin(struct reading *z)
{
	const struct conf *c = z->file->conf;

	memset(z->out, 0, sizeof(*z->out));
	nametable_init(&z->out->names, sizeof(struct zone_row));
	if (getrandom(&z->seed, sizeof(z->seed), GRND_NONBLOCK) == -1)
		z->seed = (uint64_t)(uintptr_t)z;
	for (size_t i = 0; i < c->npolicies && z->check_policies; i++)
		if (count_get(z, c->policies[i].name, true, 0) == NULL)
			return KSM_ENOMEM;
	return KSM_OK;
}

static enum ksm_err
reading_end(struct reading *z, enum ksm_err err,
    const struct xml_result *result, struct ksm_fail *fail)
{
	free(z->names);
	if (err == KSM_OK && z->err != KSM_OK)
		err = ksm_failf(fail, z->err,
		    "%s: out of memory after %" PRId64 " zones", z->file->path,
		    z->out->zones);
	if (err == KSM_OK && result->sound && z->out->zones == 0 &&
	    z->faults == 0)
		xml_find(z->file, CONF_NOTICE, 0, "no zone in it", NULL, NULL);
	return err;
}

enum ksm_err
zonelist_read(struct xml_file *file, bool check_policies, struct zonelist *out,
    struct xml_result *result, struct ksm_fail *fail)
{
	struct reading z = {
		.file = file,
		.out = out,
		.check_policies = check_policies,
	};
	enum ksm_err err;

	memset(result, 0, sizeof(*result));
	err = reading_begin(&z);
	if (err == KSM_OK)
		err = xml_read(&grammar, file, &z, result, fail);
	else
		(void)ksm_failf(fail, err, "out of memory");
	return reading_end(&z, err, result, fail);
}

enum ksm_err
zonelist_read_bytes(struct xml_file *file, const void *bytes, size_t len,
    bool check_policies, struct zonelist *out, struct xml_result *result,
    struct ksm_fail *fail)
{
	struct reading z = {
		.file = file,
		.out = out,
		.check_policies = check_policies,
	};
	enum ksm_err err;

	memset(result, 0, sizeof(*result));
	err = reading_begin(&z);
	if (err == KSM_OK)
		err = xml_read_bytes(
		    &grammar, file, bytes, len, &z, result, fail);
	else
		(void)ksm_failf(fail, err, "out of memory");
	return reading_end(&z, err, result, fail);
}

void
zonelist_clear(struct zonelist *z)
{
	for (size_t i = 0; i < z->ncounts; i++)
		free(z->counts[i].policy);
	free(z->counts);
	nametable_clear(&z->names);
	memset(z, 0, sizeof(*z));
}
