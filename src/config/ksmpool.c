#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ksmpool/attribute.h"
#include "ksmpool/duration.h"
#include "ksmpool/log.h"

#include "config.h"

/* The settings of <Default> and <Pool> are the same. */
enum pool_part {
	P_POOL,
	P_STRATEGY,
	P_HORIZON,
	P_MINIMUM,
	P_ROLLS,
	P_GROWTH,
	P_LOWWATER,
	P_MAXPERRUN,
	P_FIXED,
	P_SCOPE,
	P_SHORTAGE,
	P__COUNT
};

enum ksmpool_id {
	M_KSMPOOL,
	M_POLICY,
	M_POLICYFILE,
	M_ZONELISTFILE,
	M_OWNERFILE,
	M_OPENDNSSEC,
	M_LIST,
	M_REPOSITORY,
	M_MODULE,
	M_LABEL,
	M_SERIAL,
	M_URI,
	M_PINFILE,
	M_PINCREDENTIAL,
	M_PIN,
	M_CAPACITY,
	M_BACKUP,
	M_SKIP,
	M_EXTRACT,
	M_SESSIONS,
	M_DEADLINE,
	M_OVERDUE,
	M_SYNCPATH,
	M_SEARCHFIRST,
	M_RATE,
	M_RECYCLE,
	M_RESERVED,
	M_HOOK,
	M_ATTRIBUTES,
	M_PRIVATE,
	M_PRIVATE_ADD,
	M_PRIVATE_REMOVE,
	M_PUBLIC,
	M_PUBLIC_ADD,
	M_PUBLIC_REMOVE,
	M_ENVIRONMENT,
	M_POOLS,
	M_DEFAULT,
	M_POOL = M_DEFAULT + P__COUNT,
	M_DAEMON = M_POOL + P__COUNT,
	M_STATEDIR,
	M_DATABASE,
	M_JOURNAL,
	M_SOCKET,
	M_SOCKET_PATH,
	M_SOCKET_GROUP,
	M_SOCKET_READERS,
	M_USER,
	M_LOGLEVEL,
	M__COUNT
};

#define DAY   INT64_C(86400)
#define YEARS (INT64_C(365) * DAY)
#define HOOK_TIMEOUT_MAX 600

static const char *const strategies[] = { "formula", "minimum", "fixed",
	"manual", "fill", NULL };
static const char *const scopes[] = { "zone", "owner", "policy", NULL };
static const char *const shortages[] = { "refuse", "wait", "generate",
	"uncovered", NULL };
static const char *const overdues[] = { "wait", "kill", NULL };
static const char *const levels[] = { "error", "warning", "notice", "info",
	"debug", NULL };

/* clang-format off: tables */
#define POOL_RULES(base)                                                       \
	[(base) +                                                              \
	    P_STRATEGY] = { "Strategy", base, XML_WORD, .words = strategies }, \
	    [(base) + P_HORIZON] = { "Horizon", base, XML_DURATION, .lo = 0,   \
		    .hi = 100 * YEARS },                                       \
	    [(base) + P_MINIMUM] = { "MinimumHorizon", base, XML_DURATION,     \
		    .lo = 0, .hi = 100 * YEARS },                              \
	    [(base) + P_ROLLS] = { "EmergencyRolls", base, XML_NUMBER,         \
		    .lo = 0, .hi = 1000 },                                     \
	    [(base) + P_GROWTH] = { "Growth", base, XML_NUMBER, .lo = 0,       \
		    .hi = 10000 },                                             \
	    [(base) + P_LOWWATER] = { "LowWater", base, XML_NUMBER, .lo = 1,   \
		    .hi = 100 },                                               \
	    [(base) + P_MAXPERRUN] = { "MaxPerRun", base, XML_NUMBER, .lo = 1, \
		    .hi = 10000000 },                                          \
	    [(base) + P_FIXED] = { "Fixed", base, XML_NUMBER, .lo = 0,         \
		    .hi = 10000000 },                                          \
	    [(base) + P_SCOPE] = { "Scope", base, XML_WORD, .words = scopes }, \
	    [(base) + P_SHORTAGE] = { "OnShortage", base, XML_WORD,            \
		    .words = shortages }

/* conf/ksmpool.rng says the same; a test holds them together. */
static const struct xml_rule rules[M__COUNT] = {
	[M_KSMPOOL] = { "Ksmpool", -1, XML_PARENT, .lo = 0 },

	[M_POLICY] = { "Policy", M_KSMPOOL, XML_PARENT, XML_REQUIRED, .lo = 0 },
	[M_POLICYFILE] = { "PolicyFile", M_POLICY, XML_TEXT, .lo = 0 },
	[M_ZONELISTFILE] = { "ZoneListFile", M_POLICY, XML_TEXT, .lo = 0 },
	[M_OWNERFILE] = { "OwnerFile", M_POLICY, XML_TEXT, .lo = 0 },
	[M_OPENDNSSEC] = { "OpenDNSSEC", M_POLICY, XML_TEXT, .lo = 0 },

	[M_LIST] = { "RepositoryList", M_KSMPOOL, XML_PARENT, .lo = 0 },
	[M_REPOSITORY] = { "Repository", M_LIST, XML_PARENT, XML_MANY,
	    { { "name", true } }, .lo = 0 },
	[M_MODULE] = { "Module", M_REPOSITORY, XML_TEXT, .lo = 0 },
	[M_LABEL] = { "TokenLabel", M_REPOSITORY, XML_TEXT, .lo = 0 },
	[M_SERIAL] = { "TokenSerial", M_REPOSITORY, XML_TEXT, .lo = 0 },
	[M_URI] = { "TokenURI", M_REPOSITORY, XML_TEXT, .lo = 0 },
	[M_PINFILE] = { "PINFile", M_REPOSITORY, XML_TEXT, .lo = 0 },
	[M_PINCREDENTIAL] = { "PINCredential", M_REPOSITORY, XML_TEXT,
	    .lo = 0 },
	[M_PIN] = { "PIN", M_REPOSITORY, XML_SECRET, .lo = 0 },
	[M_CAPACITY] = { "Capacity", M_REPOSITORY, XML_NUMBER, .lo = 1,
	    .hi = 1000000000 },
	[M_BACKUP] = { "RequireBackup", M_REPOSITORY, XML_PRESENCE, .lo = 0 },
	[M_SKIP] = { "SkipPublicKey", M_REPOSITORY, XML_PRESENCE, .lo = 0 },
	[M_EXTRACT] = { "AllowExtraction", M_REPOSITORY, XML_PRESENCE,
	    .lo = 0 },
	[M_SESSIONS] = { "Sessions", M_REPOSITORY, XML_NUMBER, .lo = 1,
	    .hi = 64 },
	[M_DEADLINE] = { "Deadline", M_REPOSITORY, XML_DURATION, .lo = 1,
	    .hi = 7 * DAY },
	[M_OVERDUE] = { "OnOverdue", M_REPOSITORY, XML_WORD, 0,
	    { { "after", false } }, .words = overdues },
	[M_SYNCPATH] = { "SyncPath", M_REPOSITORY, XML_TEXT, .lo = 0 },
	[M_SEARCHFIRST] = { "SearchFirst", M_REPOSITORY, XML_PRESENCE,
	    .lo = 0 },
	[M_RATE] = { "KeysPerMinute", M_REPOSITORY, XML_NUMBER, .lo = 0,
	    .hi = 1000000 },
	[M_RECYCLE] = { "RecycleAfter", M_REPOSITORY, XML_NUMBER, .lo = 0,
	    .hi = 1000000000 },
	[M_RESERVED] = { "InitReserved", M_REPOSITORY, XML_TEXT, .lo = 0 },
	[M_HOOK] = { "Hook", M_REPOSITORY, XML_TEXT, 0,
	    { { "timeout", false } }, .lo = 0 },
	[M_ATTRIBUTES] = { "Attributes", M_REPOSITORY, XML_PARENT, .lo = 0 },
	[M_PRIVATE] = { "Private", M_ATTRIBUTES, XML_PARENT, .lo = 0 },
	[M_PRIVATE_ADD] = { "Add", M_PRIVATE, XML_TEXT, XML_MANY,
	    { { "name", true } }, .lo = 0 },
	[M_PRIVATE_REMOVE] = { "Remove", M_PRIVATE, XML_PRESENCE, XML_MANY,
	    { { "name", true } }, .lo = 0 },
	[M_PUBLIC] = { "Public", M_ATTRIBUTES, XML_PARENT, .lo = 0 },
	[M_PUBLIC_ADD] = { "Add", M_PUBLIC, XML_TEXT, XML_MANY,
	    { { "name", true } }, .lo = 0 },
	[M_PUBLIC_REMOVE] = { "Remove", M_PUBLIC, XML_PRESENCE, XML_MANY,
	    { { "name", true } }, .lo = 0 },
	[M_ENVIRONMENT] = { "Environment", M_REPOSITORY, XML_LOOSE, XML_MANY,
	    { { "name", true } }, .lo = 0 },

	[M_POOLS] = { "Pools", M_KSMPOOL, XML_PARENT, .lo = 0 },
	[M_DEFAULT] = { "Default", M_POOLS, XML_PARENT, .lo = 0 },
	POOL_RULES(M_DEFAULT),
	[M_POOL] = { "Pool", M_POOLS, XML_PARENT, XML_MANY,
	    { { "policy", false }, { "role", false } }, .lo = 0 },
	POOL_RULES(M_POOL),

	[M_DAEMON] = { "Daemon", M_KSMPOOL, XML_PARENT, .lo = 0 },
	[M_STATEDIR] = { "StateDirectory", M_DAEMON, XML_TEXT, .lo = 0 },
	[M_DATABASE] = { "Database", M_DAEMON, XML_TEXT, .lo = 0 },
	[M_JOURNAL] = { "HandoutJournal", M_DAEMON, XML_TEXT, .lo = 0 },
	[M_SOCKET] = { "Socket", M_DAEMON, XML_PARENT, .lo = 0 },
	[M_SOCKET_PATH] = { "Path", M_SOCKET, XML_TEXT, .lo = 0 },
	[M_SOCKET_GROUP] = { "Group", M_SOCKET, XML_TEXT, .lo = 0 },
	[M_SOCKET_READERS] = { "ReadersGroup", M_SOCKET, XML_TEXT, .lo = 0 },
	[M_USER] = { "User", M_DAEMON, XML_TEXT, .lo = 0 },
	[M_LOGLEVEL] = { "LogLevel", M_DAEMON, XML_WORD, .words = levels },
};
/* clang-format on */

struct reading {
	struct xml_file *file;
	struct ksmpool *out;
	struct draft *draft; /* NULL outside, and where it cannot be used */
	int pin_sources;
	char variable[256]; /* of the <Environment> being read; "" : bad */
	size_t env_bytes;
	char attribute[ATTRIBUTE_NAME_MAX + 1]; /* being read; "" : bad */
	bool has_after;
	int64_t after;

	struct pool_rule pool;
	bool pool_ok;

	enum ksm_err err;
	struct ksm_fail fail;
};

static void
no_memory(struct reading *m)
{
	m->err = ksm_failf(&m->fail, KSM_ENOMEM, "out of memory");
}

static void
text_set(struct reading *m, char **out, char *text)
{
	if (text == NULL) {
		no_memory(m);
		return;
	}
	free(*out);
	*out = text;
}

static void
path_set(struct reading *m, char **out, const struct xml_node *n)
{
	char *path;

	if (!n->ok)
		return;
	path = path_resolve(m->file->path, n->text);
	if (path != NULL && strlen(path) > PATH_BYTES_MAX) {
		xml_find(m->file, CONF_ERROR, n->line, "the path is too long",
		    n->text, "at most %d bytes", PATH_BYTES_MAX);
		free(path);
		return;
	}
	text_set(m, out, path);
}

/* Text of at most `max` bytes; false: a finding says why not. */
static bool
fits(struct reading *m, const struct xml_node *n, const char *what, size_t max)
{
	if (!n->ok)
		return false;
	if (n->len <= max)
		return true;
	xml_find(m->file, CONF_ERROR, n->line, what, n->text,
	    "at most %zu bytes", max);
	return false;
}

/* ---- repositories ----------------------------------------------------- */

static void
repository_open(struct reading *m, const struct xml_node *n)
{
	m->draft = NULL;
	m->pin_sources = 0;
	m->env_bytes = 0;
	if (n->attrs[0] == NULL)
		return;
	if (strlen(n->attrs[0]) > NAME_MAX_BYTES) {
		xml_find(m->file, CONF_ERROR, n->line,
		    "the name of a repository is too long", n->attrs[0],
		    "at most %d bytes", NAME_MAX_BYTES);
		return;
	}
	if (m->out->repositories.n >= REPOSITORIES_MAX) {
		xml_find(m->file, CONF_ERROR, n->line, "too many repositories",
		    n->attrs[0], "at most %d", REPOSITORIES_MAX);
		return;
	}
	m->draft = draft_add(
	    &m->out->repositories, n->attrs[0], m->file->path, n->line);
	if (m->draft == NULL)
		no_memory(m);
}

/* RFC 7512, as far as a token is named by it. */
static void
uri_take(struct reading *m, const struct xml_node *n)
{
	const char *bad = NULL;

	if (!n->ok)
		return;
	if (strstr(n->text, "pin-value") != NULL ||
	    strstr(n->text, "pin-source") != NULL) {
		m->draft->r.faulty |= SET_URI;
		/* the value may hold the PIN: it is not shown */
		xml_find(m->file, CONF_ERROR, n->line,
		    "a token URI with a PIN in it", NULL,
		    "PINFile, PINCredential or PIN beside it");
		return;
	}
	if (strncmp(n->text, "pkcs11:", 7) != 0)
		bad = "not a PKCS#11 URI";
	else if (strpbrk(n->text, "?#") != NULL)
		bad = "a token URI with more than the token in it";
	else if (strpbrk(n->text, " \t\r\n\"<>") != NULL)
		bad = "a token URI with unquoted characters in it";
	else if (n->len > 511)
		bad = "the token URI is too long";
	else if (strstr(n->text, ":token=") == NULL &&
		 strstr(n->text, ";token=") == NULL &&
		 strstr(n->text, ":serial=") == NULL &&
		 strstr(n->text, ";serial=") == NULL)
		bad = "a token URI that names no token";
	if (bad != NULL) {
		m->draft->r.faulty |= SET_URI;
		xml_find(m->file, CONF_ERROR, n->line, bad, n->text,
		    "pkcs11:token=LABEL;serial=SERIAL, either or both");
		return;
	}
	text_set(m, &m->draft->r.token_uri, strdup(n->text));
	m->draft->set |= SET_URI;
}

static void
environment_open(struct reading *m, const struct xml_node *n)
{
	const char *name = n->attrs[0];
	size_t good;

	m->variable[0] = '\0';
	if (name == NULL)
		return;
	good = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvw"
			    "xyz_0123456789");
	if (name[good] != '\0' || strchr("0123456789", name[0]) != NULL ||
	    good >= sizeof(m->variable)) {
		xml_find(m->file, CONF_ERROR, n->line,
		    "not the name of an environment variable", name,
		    "letters, digits and _");
		return;
	}
	(void)snprintf(m->variable, sizeof(m->variable), "%s", name);
}

static void
environment_take(struct reading *m, const struct xml_node *n)
{
	struct conf_repository *r = &m->draft->r;
	struct conf_env *grown;

	if (m->variable[0] == '\0' || !n->ok)
		return;
	m->env_bytes += strlen(m->variable) + n->len;
	if (r->nenv >= ENV_MAX || m->env_bytes > ENV_BYTES_MAX) {
		xml_find(m->file, CONF_ERROR, n->line, "too much environment",
		    m->variable, "at most %d variables and %d bytes", ENV_MAX,
		    ENV_BYTES_MAX);
		return;
	}
	grown = reallocarray(r->env, r->nenv + 1, sizeof(*grown));
	if (grown == NULL) {
		no_memory(m);
		return;
	}
	r->env = grown;
	grown[r->nenv].name = strdup(m->variable);
	grown[r->nenv].value = strdup(n->text);
	r->nenv++;
	if (grown[r->nenv - 1].name == NULL || grown[r->nenv - 1].value == NULL)
		no_memory(m);
	m->draft->set |= SET_ENV;
}

static void
attribute_open(struct reading *m, const struct xml_node *n)
{
	const char *name = n->attrs[0];

	m->attribute[0] = '\0';
	if (name == NULL)
		return;
	if (strlen(name) > ATTRIBUTE_NAME_MAX) {
		xml_find(m->file, CONF_ERROR, n->line,
		    "the name of an attribute is too long", name,
		    "at most %d bytes, such as CKA_DECRYPT",
		    ATTRIBUTE_NAME_MAX);
		return;
	}
	(void)snprintf(m->attribute, sizeof(m->attribute), "%s", name);
}

/* True if this half has a word about the attribute, however it is spelled. */
static bool
attribute_twice(const struct conf_repository *r, bool public_half,
    const char *name)
{
	for (size_t i = 0; i < r->nattributes; i++) {
		const struct conf_attribute *o = &r->attributes[i];

		if (o->public_half == public_half &&
		    attribute_type(o->name) == attribute_type(name))
			return true;
	}
	return false;
}

static void
attribute_take(struct reading *m, const struct xml_node *n)
{
	struct conf_repository *r = &m->draft->r;
	bool public_half = n->id == M_PUBLIC_ADD || n->id == M_PUBLIC_REMOVE;
	bool removal = n->id == M_PRIVATE_REMOVE || n->id == M_PUBLIC_REMOVE;
	const char *half = public_half ? "Public" : "Private";
	struct ksm_fail fail = { .err = KSM_OK };
	struct conf_attribute *grown, *a;

	if (m->attribute[0] == '\0' || !n->ok)
		return;
	if (attribute_check(m->attribute, public_half,
		removal ? NULL : n->text, NULL, &fail) != KSM_OK) {
		xml_find(m->file, CONF_ERROR, n->line,
		    removal ? "an attribute that cannot be removed" :
			      "an attribute that cannot be added",
		    m->attribute, "%s", fail.text);
		return;
	}
	if (!removal && !fits(m, n, "the value of an attribute is too long",
			    ATTRIBUTE_NAME_MAX))
		return;
	if (attribute_twice(r, public_half, m->attribute)) {
		xml_find(m->file, CONF_ERROR, n->line,
		    "the same attribute twice", m->attribute,
		    "each attribute once in <%s>, added or removed", half);
		return;
	}
	if (r->nattributes >= ATTRIBUTES_MAX) {
		xml_find(m->file, CONF_ERROR, n->line, "too many attributes",
		    m->attribute, "at most %d in one repository",
		    ATTRIBUTES_MAX);
		return;
	}
	grown = reallocarray(r->attributes, r->nattributes + 1,
	    sizeof(*grown));
	if (grown == NULL) {
		no_memory(m);
		return;
	}
	r->attributes = grown;
	a = &grown[r->nattributes++];
	*a = (struct conf_attribute){
		.public_half = public_half,
		.remove = removal,
		.name = strdup(m->attribute),
		.value = removal ? NULL : strdup(n->text),
	};
	if (a->name == NULL || (!removal && a->value == NULL))
		no_memory(m);
	m->draft->set |= SET_ATTRIBUTES;
}

/* In seconds of *out, which stays as it is when it is not given or wrong. */
static void
hook_open(struct reading *m, const struct xml_node *n)
{
	struct ksm_fail fail = { .err = KSM_OK };
	int64_t timeout = 0;

	if (n->attrs[0] == NULL || m->draft == NULL)
		return;
	if (duration_parse(n->attrs[0], DURATION_POSITIVE, &timeout, NULL,
		&fail) != KSM_OK ||
	    timeout < 1 || timeout > HOOK_TIMEOUT_MAX)
		xml_find(m->file, CONF_ERROR, n->line,
		    "timeout is not a duration it can be", n->attrs[0],
		    "a duration from PT1S to PT10M, such as PT10S");
	else
		m->draft->r.hook_timeout = timeout;
}

static void
overdue_open(struct reading *m, const struct xml_node *n)
{
	struct ksm_fail fail = { .err = KSM_OK };

	m->has_after = n->attrs[0] != NULL;
	m->after = -1;
	if (!m->has_after)
		return;
	if (duration_parse(n->attrs[0], DURATION_POSITIVE, &m->after, NULL,
		&fail) != KSM_OK ||
	    m->after > 7 * DAY) {
		xml_find(m->file, CONF_ERROR, n->line,
		    "after is not a duration it can be", n->attrs[0],
		    "a duration up to P7D, such as PT60S");
		m->after = -1;
	}
}

static void
overdue_take(struct reading *m, const struct xml_node *n)
{
	struct conf_repository *r = &m->draft->r;

	if (!n->ok)
		return;
	r->on_overdue = n->number == 1 ? OVERDUE_KILL : OVERDUE_WAIT;
	m->draft->set |= SET_OVERDUE;
	if (r->on_overdue == OVERDUE_WAIT) {
		if (m->has_after)
			xml_find(m->file, CONF_ERROR, n->line,
			    "after without kill", "wait",
			    "<OnOverdue>wait</OnOverdue>, or kill");
		return;
	}
	if (!m->has_after) {
		xml_find(m->file, CONF_ERROR, n->line, "kill without a time",
		    "kill", "<OnOverdue after=\"PT60S\">kill</OnOverdue>");
		return;
	}
	if (m->after >= 0)
		r->kill_after = m->after;
}

static void
pin_source(struct reading *m, const struct xml_node *n)
{
	struct draft *d = m->draft;

	if (++m->pin_sources == 2)
		xml_find(m->file, CONF_ERROR, n->line,
		    "a second source of the PIN", d->r.name,
		    "one of PINFile, PINCredential and PIN");
	if (!n->ok)
		return;
	if (n->id == M_PIN) {
		m->err = pin_seal(d, m->file, n, &m->fail);
		if (m->out->pin_line == 0)
			m->out->pin_line = n->line;
		return;
	}
	if (n->id == M_PINFILE) {
		path_set(m, &d->r.pin_path, n);
		d->r.pin = PIN_FILE;
	} else {
		if (!fits(m, n, "the name of the credential is too long", 255))
			return;
		if (strchr(n->text, '/') != NULL || n->text[0] == '.') {
			d->r.faulty |= SET_PIN;
			xml_find(m->file, CONF_ERROR, n->line,
			    "not the name of a credential", n->text,
			    "a name without / as in LoadCredential=");
			return;
		}
		text_set(m, &d->r.pin_path, strdup(n->text));
		d->r.pin = PIN_CREDENTIAL;
	}
	d->set |= SET_PIN;
}

static void
number_set(
    struct draft *d, const struct xml_node *n, int64_t *out, unsigned bit)
{
	if (!n->ok)
		return;
	*out = n->number;
	d->set |= bit;
}

/* What is missing for its value is not missed once more. */
static unsigned
faulty_bit(int id)
{
	switch (id) {
	case M_MODULE:
		return SET_MODULE;
	case M_LABEL:
		return SET_LABEL;
	case M_URI:
		return SET_URI;
	case M_PINFILE:
	case M_PINCREDENTIAL:
	case M_PIN:
		return SET_PIN;
	default:
		return 0;
	}
}

static void
repository_value(struct reading *m, const struct xml_node *n)
{
	struct draft *d = m->draft;
	int64_t sessions = d->r.sessions;

	if (!n->ok)
		d->r.faulty |= faulty_bit(n->id);
	switch (n->id) {
	case M_MODULE:
		path_set(m, &d->r.module, n);
		d->set |= SET_MODULE;
		break;
	case M_LABEL:
		if (n->ok)
			text_set(m, &d->r.token_label, strdup(n->text));
		d->set |= SET_LABEL;
		break;
	case M_SERIAL:
		/* CK_TOKEN_INFO.serialNumber is 16 bytes (PKCS#11 3.3) */
		if (fits(m, n, "token serial is too long", 16))
			text_set(m, &d->r.token_serial, strdup(n->text));
		d->set |= SET_SERIAL;
		break;
	case M_URI:
		uri_take(m, n);
		break;
	case M_PINFILE:
	case M_PINCREDENTIAL:
	case M_PIN:
		pin_source(m, n);
		break;
	case M_CAPACITY:
		number_set(d, n, &d->r.capacity, SET_CAPACITY);
		break;
	case M_BACKUP:
		d->r.require_backup = true;
		break;
	case M_SKIP:
		d->r.skip_public_key = true;
		break;
	case M_EXTRACT:
		d->r.allow_extraction = true;
		break;
	case M_SESSIONS:
		number_set(d, n, &sessions, SET_SESSIONS);
		d->r.sessions = (int)sessions;
		break;
	case M_DEADLINE:
		number_set(d, n, &d->r.deadline, SET_DEADLINE);
		break;
	case M_OVERDUE:
		overdue_take(m, n);
		break;
	case M_SYNCPATH:
		path_set(m, &d->r.sync_path, n);
		d->sync_line = n->line;
		d->set |= SET_SYNC;
		break;
	case M_SEARCHFIRST:
		d->r.search_first = true;
		break;
	case M_RATE:
		number_set(d, n, &d->r.keys_per_minute, SET_RATE);
		break;
	case M_RECYCLE:
		number_set(d, n, &d->r.recycle_after, SET_RECYCLE);
		break;
	case M_RESERVED:
		if (fits(m, n, "InitReserved is too long", 1023))
			text_set(m, &d->r.init_reserved, strdup(n->text));
		d->set |= SET_RESERVED;
		break;
	case M_HOOK:
		path_set(m, &d->r.hook, n);
		d->set |= SET_HOOK;
		break;
	case M_PRIVATE_ADD:
	case M_PRIVATE_REMOVE:
	case M_PUBLIC_ADD:
	case M_PUBLIC_REMOVE:
		attribute_take(m, n);
		break;
	case M_ENVIRONMENT:
		environment_take(m, n);
		break;
	case M_REPOSITORY:
		if ((d->set & SET_URI) != 0 &&
		    (d->set & (SET_LABEL | SET_SERIAL)) != 0)
			xml_find(m->file, CONF_ERROR, n->line,
			    "a token named twice", d->r.name,
			    "TokenURI, or TokenLabel and TokenSerial");
		m->draft = NULL;
		break;
	default:
		break;
	}
}

/* ---- pools ------------------------------------------------------------ */

static void
pool_open(struct reading *m, const struct xml_node *n)
{
	const char *policy = n->attrs[0], *role = n->attrs[1];

	free(m->pool.policy);
	memset(&m->pool, 0, sizeof(m->pool));
	m->pool.line = n->line;
	m->pool.is_default = n->id == M_DEFAULT;
	m->pool_ok = true;
	if (m->pool.is_default)
		return;
	if (policy == NULL && role == NULL) {
		xml_find(m->file, CONF_ERROR, n->line,
		    "a pool that names neither a policy nor a role", NULL,
		    "policy or role; settings of all pools are <Default>");
		m->pool_ok = false;
		return;
	}
	if (role != NULL) {
		for (int i = 0; i < ROLE__COUNT; i++) {
			if (strcmp(role, key_role_text((enum key_role)i)) != 0)
				continue;
			m->pool.has_role = true;
			m->pool.role = (enum key_role)i;
		}
		if (!m->pool.has_role) {
			xml_find(m->file, CONF_ERROR, n->line, "unknown role",
			    role, "KSK, ZSK or CSK");
			m->pool_ok = false;
		}
	}
	if (policy != NULL)
		text_set(m, &m->pool.policy, strdup(policy));
}

static void
pool_close(struct reading *m, const struct xml_node *n)
{
	struct ksmpool *out = m->out;
	struct pool_rule *grown;

	if ((m->pool.set & POOL_STRATEGY) != 0 &&
	    m->pool.values.strategy == STRATEGY_FIXED &&
	    (m->pool.set & POOL_FIXED) == 0)
		xml_find(m->file, CONF_ERROR, n->line,
		    "strategy fixed without a number", NULL,
		    "<Fixed> beside it");
	for (size_t i = 0; i < out->npools && m->pool_ok; i++) {
		const struct pool_rule *o = &out->pools[i];

		if (o->is_default != m->pool.is_default ||
		    o->has_role != m->pool.has_role ||
		    (o->has_role && o->role != m->pool.role) ||
		    (o->policy == NULL) != (m->pool.policy == NULL) ||
		    (o->policy != NULL &&
			strcmp(o->policy, m->pool.policy) != 0))
			continue;
		if (!o->is_default) /* the grammar has one <Default> */
			xml_find(m->file, CONF_ERROR, n->line,
			    "the same pool twice", m->pool.policy,
			    "each policy and role once; first at line %lld",
			    (long long)o->line);
		m->pool_ok = false;
	}
	if (!m->pool_ok)
		return;
	if (out->npools >= POOLS_MAX) {
		xml_find(m->file, CONF_ERROR, n->line, "too many pools", NULL,
		    "at most %d", POOLS_MAX);
		return;
	}
	grown = reallocarray(out->pools, out->npools + 1, sizeof(*grown));
	if (grown == NULL) {
		no_memory(m);
		return;
	}
	out->pools = grown;
	grown[out->npools++] = m->pool;
	m->pool.policy = NULL;
}

static void
pool_value(struct reading *m, int part, const struct xml_node *n)
{
	struct conf_pool *v = &m->pool.values;

	if (part == P_POOL) {
		pool_close(m, n);
		return;
	}
	if (!n->ok)
		return;
	switch (part) {
	case P_STRATEGY:
		(void)strategy_find(n->text, &v->strategy);
		m->pool.set |= POOL_STRATEGY;
		break;
	case P_HORIZON:
		v->horizon = n->number;
		m->pool.set |= POOL_HORIZON;
		break;
	case P_MINIMUM:
		v->minimum_horizon = n->number;
		m->pool.set |= POOL_MINIMUM;
		break;
	case P_ROLLS:
		v->emergency_rolls = n->number;
		m->pool.set |= POOL_ROLLS;
		break;
	case P_GROWTH:
		v->growth = n->number;
		m->pool.set |= POOL_GROWTH;
		break;
	case P_LOWWATER:
		v->low_water = n->number;
		m->pool.set |= POOL_LOW_WATER;
		break;
	case P_MAXPERRUN:
		v->max_per_run = n->number;
		m->pool.set |= POOL_MAX_PER_RUN;
		break;
	case P_FIXED:
		v->fixed = n->number;
		m->pool.set |= POOL_FIXED;
		break;
	case P_SCOPE:
		(void)key_scope_find(n->text, &v->scope);
		m->pool.set |= POOL_SCOPE;
		if (v->scope == SCOPE_OWNER && m->out->owner_line == 0)
			m->out->owner_line = n->line;
		break;
	case P_SHORTAGE:
		(void)on_shortage_find(n->text, &v->on_shortage);
		m->pool.set |= POOL_SHORTAGE;
		break;
	default:
		break;
	}
}

static void
pool_apply(const struct pool_rule *rule, struct conf_pool *out)
{
	const struct conf_pool *v = &rule->values;

	if ((rule->set & POOL_STRATEGY) != 0)
		out->strategy = v->strategy;
	if ((rule->set & POOL_HORIZON) != 0)
		out->horizon = v->horizon;
	if ((rule->set & POOL_MINIMUM) != 0)
		out->minimum_horizon = v->minimum_horizon;
	if ((rule->set & POOL_ROLLS) != 0)
		out->emergency_rolls = v->emergency_rolls;
	if ((rule->set & POOL_GROWTH) != 0)
		out->growth = v->growth;
	if ((rule->set & POOL_LOW_WATER) != 0)
		out->low_water = v->low_water;
	if ((rule->set & POOL_MAX_PER_RUN) != 0)
		out->max_per_run = v->max_per_run;
	if ((rule->set & POOL_FIXED) != 0)
		out->fixed = v->fixed;
	if ((rule->set & POOL_SCOPE) != 0)
		out->scope = v->scope;
	if ((rule->set & POOL_SHORTAGE) != 0)
		out->on_shortage = v->on_shortage;
}

/* 0 <Default>, 1 role, 2 policy, 3 both: later ones win. */
static int
pool_rank(const struct pool_rule *rule)
{
	return (rule->policy != NULL ? 2 : 0) + (rule->has_role ? 1 : 0);
}

static bool
rule_fits(const struct pool_rule *rule, const char *policy, enum key_role role)
{
	return (!rule->has_role || rule->role == role) &&
	       (rule->policy == NULL || strcmp(rule->policy, policy) == 0);
}

static void
key_resolve(const struct ksmpool *k, bool manual, const char *policy,
    struct conf_key *key)
{
	conf_pool_default(&key->pool);
	if (manual)
		key->pool.strategy = STRATEGY_MANUAL;
	for (int rank = 0; rank < 4; rank++) {
		for (size_t i = 0; i < k->npools; i++) {
			const struct pool_rule *rule = &k->pools[i];

			if (pool_rank(rule) == rank &&
			    rule_fits(rule, policy, key->role))
				pool_apply(rule, &key->pool);
		}
	}
}

/* True if a pool that `rule` speaks of holds a fixed number. */
static bool
fixed_used(const struct conf *c, const struct pool_rule *rule)
{
	for (size_t i = 0; i < c->npolicies; i++) {
		const struct conf_policy *p = &c->policies[i];

		for (size_t j = 0; j < p->nkeys; j++)
			if (rule_fits(rule, p->name, p->keys[j].role) &&
			    p->keys[j].pool.strategy == STRATEGY_FIXED)
				return true;
	}
	return false;
}

/* The rule that decides the scope of a role of a policy; NULL: none does. */
static const struct pool_rule *
scope_rule(const struct ksmpool *k, const char *policy, enum key_role role)
{
	const struct pool_rule *found = NULL;

	for (size_t i = 0; i < k->npools; i++) {
		const struct pool_rule *rule = &k->pools[i];

		if ((rule->set & POOL_SCOPE) != 0 &&
		    rule_fits(rule, policy, role) &&
		    (found == NULL || pool_rank(rule) > pool_rank(found)))
			found = rule;
	}
	return found;
}

/*
 * Said once for each rule, of the first policy it goes against: <Default> may
 * stand for thousands.
 */
static void
scope_report(const struct ksmpool *k, const struct pool_rule *rule,
    struct xml_file *file)
{
	const struct conf *c = file->conf;

	for (size_t i = 0; i < c->npolicies; i++) {
		const struct conf_policy *p = &c->policies[i];
		enum key_scope theirs = p->share_keys ? SCOPE_POLICY
						      : SCOPE_ZONE;

		for (size_t j = 0; j < p->nkeys; j++) {
			if (rule->values.scope == theirs ||
			    scope_rule(k, p->name, p->keys[j].role) != rule)
				continue;
			xml_find(file, CONF_NOTICE, rule->line,
			    theirs == SCOPE_POLICY
				? rule->values.scope == SCOPE_OWNER
				    ? "Scope wins over ShareKeys of the "
				      "policy: each owner has keys of its own"
				    : "Scope wins over ShareKeys of the "
				      "policy: each zone has keys of its own"
				: "Scope wins over the policy, which has no "
				  "ShareKeys: its zones share keys",
			    p->name, NULL);
			return;
		}
	}
}

void
pools_resolve(const struct ksmpool *k, bool manual, bool check_policies,
    struct xml_file *file)
{
	struct conf *c = file->conf;

	for (size_t i = 0; i < k->npools && check_policies; i++) {
		const struct pool_rule *rule = &k->pools[i];

		if (rule->policy != NULL &&
		    conf_policy_find(c, rule->policy) == NULL)
			xml_find(file, CONF_ERROR, rule->line,
			    "a pool of an unknown policy", rule->policy,
			    "a policy of %s", c->kasp_file);
	}
	for (size_t i = 0; i < c->npolicies; i++) {
		struct conf_policy *p = &c->policies[i];

		for (size_t j = 0; j < p->nkeys; j++)
			key_resolve(k, manual, p->name, &p->keys[j]);
	}
	for (size_t i = 0; i < k->npools && check_policies; i++) {
		const struct pool_rule *rule = &k->pools[i];

		if ((rule->set & POOL_SCOPE) != 0)
			scope_report(k, rule, file);
		if ((rule->set & POOL_FIXED) != 0 && !fixed_used(c, rule))
			xml_find(file, CONF_WARNING, rule->line,
			    "Fixed has no effect: no pool of these has "
			    "strategy fixed",
			    rule->policy,
			    "<Strategy>fixed</Strategy> beside it");
	}
}

/* ---- the file --------------------------------------------------------- */

static void
on_open(void *ctx, const struct xml_node *n)
{
	struct reading *m = ctx;

	switch (n->id) {
	case M_REPOSITORY:
		repository_open(m, n);
		break;
	case M_PRIVATE_ADD:
	case M_PRIVATE_REMOVE:
	case M_PUBLIC_ADD:
	case M_PUBLIC_REMOVE:
		attribute_open(m, n);
		break;
	case M_ENVIRONMENT:
		environment_open(m, n);
		break;
	case M_OVERDUE:
		overdue_open(m, n);
		break;
	case M_HOOK:
		hook_open(m, n);
		break;
	case M_DEFAULT:
	case M_POOL:
		pool_open(m, n);
		break;
	default:
		break;
	}
}

/*
 * Groups that are one would leave it open whether its members may act; who
 * is a reader only is to be sure of it.
 */
static void
socket_check(struct reading *m)
{
	const struct conf *c = m->file->conf;

	if (c->socket_readers == NULL)
		return;
	if (m->out->group_line == 0)
		xml_find(m->file, CONF_WARNING, m->out->readers_line,
		    "a ReadersGroup without a Group: only root and the User "
		    "may act",
		    c->socket_readers, "a Group beside it, of those who may");
	else if (c->socket_group != NULL &&
		 strcmp(c->socket_group, c->socket_readers) == 0)
		xml_find(m->file, CONF_ERROR, m->out->readers_line,
		    "ReadersGroup and Group are the same", c->socket_readers,
		    "a group of those who may look and not act");
}

static void
daemon_value(struct reading *m, const struct xml_node *n)
{
	struct conf *c = m->file->conf;

	switch (n->id) {
	case M_POLICYFILE:
		path_set(m, &m->out->kasp, n);
		break;
	case M_ZONELISTFILE:
		path_set(m, &m->out->zonelist, n);
		break;
	case M_OWNERFILE:
		path_set(m, &c->owner_file, n);
		break;
	case M_OPENDNSSEC:
		path_set(m, &m->out->opendnssec, n);
		break;
	case M_STATEDIR:
		path_set(m, &c->state_dir, n);
		break;
	case M_DATABASE:
		path_set(m, &c->database, n);
		break;
	case M_JOURNAL:
		path_set(m, &c->handout_journal, n);
		m->out->journal_line = n->line;
		break;
	case M_SOCKET_PATH:
		/* sockaddr_un.sun_path is 108 bytes with its NUL */
		path_set(m, &c->socket_path, n);
		if (c->socket_path != NULL && strlen(c->socket_path) > 107)
			xml_find(m->file, CONF_ERROR, n->line,
			    "the path of the socket is too long",
			    c->socket_path, "at most 107 bytes");
		break;
	case M_SOCKET_GROUP:
		if (fits(m, n, "the name of the group is too long", 64))
			text_set(m, &c->socket_group, strdup(n->text));
		m->out->group_line = n->line;
		break;
	case M_SOCKET_READERS:
		if (fits(m, n, "the name of the group is too long", 64))
			text_set(m, &c->socket_readers, strdup(n->text));
		m->out->readers_line = n->line;
		break;
	case M_SOCKET:
		socket_check(m);
		break;
	case M_USER:
		if (fits(m, n, "the name of the user is too long", 64))
			text_set(m, &c->user, strdup(n->text));
		m->out->user_line = n->line;
		break;
	case M_LOGLEVEL:
		if (n->ok)
			c->log_level = LOGL_ERROR + (int)n->number;
		break;
	default:
		break;
	}
}

static void
on_close(void *ctx, const struct xml_node *n)
{
	struct reading *m = ctx;

	if (m->err != KSM_OK)
		return;
	if (n->id >= M_REPOSITORY && n->id <= M_ENVIRONMENT) {
		if (m->draft != NULL)
			repository_value(m, n);
	} else if (n->id >= M_DEFAULT && n->id < M_DAEMON) {
		pool_value(m, (n->id - M_DEFAULT) % P__COUNT, n);
	} else if (n->id == M_POLICY) {
		if (m->out->opendnssec == NULL &&
		    (m->out->kasp == NULL || m->out->zonelist == NULL))
			xml_find(m->file, CONF_ERROR, n->line,
			    "a policy or zone list is not named", NULL,
			    "PolicyFile and ZoneListFile, or OpenDNSSEC");
	} else {
		daemon_value(m, n);
	}
}

static const struct xml_grammar grammar = {
	.what = "a configuration of ksmpool (ksmpool.xml)",
	.rules = rules,
	.nrules = M__COUNT,
	.secrets = true,
	.strict = true,
	.open = on_open,
	.close = on_close,
};

static enum ksm_err
reading_end(struct reading *m, enum ksm_err err,
    const struct xml_result *result, struct ksm_fail *fail)
{
	const struct conf *c = m->file->conf;

	free(m->pool.policy);
	if (m->out->owner_line != 0 && c->owner_file == NULL)
		xml_find(m->file, CONF_ERROR, m->out->owner_line,
		    "Scope of owners, and nothing says whose a zone is",
		    "owner", "OwnerFile in <Policy>, or another Scope");
	if (err == KSM_OK && m->err != KSM_OK)
		err = ksm_failf(
		    fail, m->err, "%s: %s", m->file->path, m->fail.text);
	if (err == KSM_OK && m->out->pin_line != 0 &&
	    (result->mode & 0004) != 0)
		xml_find(m->file, CONF_WARNING, m->out->pin_line,
		    "everybody can read this file, and there is a PIN in it",
		    NULL, "mode 0640 or less; it is %04o",
		    (unsigned)(result->mode & 07777));
	return err;
}

enum ksm_err
ksmpool_read(struct xml_file *file, struct ksmpool *out,
    struct xml_result *result, struct ksm_fail *fail)
{
	struct reading m = { .file = file, .out = out };

	memset(out, 0, sizeof(*out));
	return reading_end(
	    &m, xml_read(&grammar, file, &m, result, fail), result, fail);
}

enum ksm_err
ksmpool_read_bytes(struct xml_file *file, const void *bytes, size_t len,
    struct ksmpool *out, struct xml_result *result, struct ksm_fail *fail)
{
	struct reading m = { .file = file, .out = out };

	memset(out, 0, sizeof(*out));
	return reading_end(&m,
	    xml_read_bytes(&grammar, file, bytes, len, &m, result, fail),
	    result, fail);
}

void
ksmpool_clear(struct ksmpool *k)
{
	drafts_clear(&k->repositories);
	free(k->kasp);
	free(k->zonelist);
	free(k->opendnssec);
	for (size_t i = 0; i < k->npools; i++)
		free(k->pools[i].policy);
	free(k->pools);
	memset(k, 0, sizeof(*k));
}
