#include <stdlib.h>
#include <string.h>

#include "config.h"

enum od_id {
	O_CONFIGURATION,
	O_LIST,
	O_REPOSITORY,
	O_NAME,
	O_MODULE,
	O_LABEL,
	O_PIN,
	O_CAPACITY,
	O_BACKUP,
	O_SKIP,
	O_EXTRACT,
	O_COMMON,
	O_LOGGING,
	O_POLICYFILE,
	O_ZONELISTFILE,
	O_ENFORCER,
	O_PRIVILEGES,
	O_DATASTORE,
	O_MANUAL,
	O_PERIOD,
	O_INTERVAL,
	O_KEYGEN,
	O_BACKUPDELAY,
	O_ROLLOVER,
	O_SUBMIT,
	O_RETRACT,
	O_PIDFILE,
	O_SOCKETFILE,
	O_WORKINGDIR,
	O_THREADS,
	O_SIGNER,
	O_AUDITOR,
	O__COUNT
};

#define HORIZON "Horizon of the pools in ksmpool.xml"

/* clang-format off: tables */
#define IGNORED(id, name, parent) \
	[id] = { name, parent, XML_SKIP, XML_UNUSED, .lo = 0 }

/*
 * conf.xml of OpenDNSSEC 1.0 to 2.1 (conf/conf.rnc there). Outside of the
 * RepositoryList an element we do not know can do no harm here.
 */
static const struct xml_rule rules[O__COUNT] = {
	[O_CONFIGURATION] = { "Configuration", -1, XML_PARENT, XML_LENIENT,
	    .lo = 0 },
	[O_LIST] = { "RepositoryList", O_CONFIGURATION, XML_PARENT,
	    XML_REQUIRED, .lo = 0 },
	[O_REPOSITORY] = { "Repository", O_LIST, XML_PARENT, XML_MANY,
	    { { "name", false } }, .lo = 0 },
	[O_NAME] = { "Name", O_REPOSITORY, XML_TEXT, .lo = 0 },
	[O_MODULE] = { "Module", O_REPOSITORY, XML_TEXT, XML_REQUIRED,
	    .lo = 0 },
	[O_LABEL] = { "TokenLabel", O_REPOSITORY, XML_TEXT, XML_REQUIRED,
	    .lo = 0 },
	[O_PIN] = { "PIN", O_REPOSITORY, XML_SECRET, .lo = 0 },
	[O_CAPACITY] = { "Capacity", O_REPOSITORY, XML_NUMBER, .lo = 1,
	    .hi = INT64_C(1000000000) },
	[O_BACKUP] = { "RequireBackup", O_REPOSITORY, XML_PRESENCE, .lo = 0 },
	[O_SKIP] = { "SkipPublicKey", O_REPOSITORY, XML_PRESENCE, .lo = 0 },
	[O_EXTRACT] = { "AllowExtraction", O_REPOSITORY, XML_PRESENCE,
	    .lo = 0 },

	[O_COMMON] = { "Common", O_CONFIGURATION, XML_PARENT, XML_LENIENT,
	    .lo = 0 },
	IGNORED(O_LOGGING, "Logging", O_COMMON),
	[O_POLICYFILE] = { "PolicyFile", O_COMMON, XML_TEXT, .lo = 0 },
	[O_ZONELISTFILE] = { "ZoneListFile", O_COMMON, XML_TEXT, .lo = 0 },

	[O_ENFORCER] = { "Enforcer", O_CONFIGURATION, XML_PARENT, XML_LENIENT,
	    .lo = 0 },
	IGNORED(O_PRIVILEGES, "Privileges", O_ENFORCER),
	IGNORED(O_DATASTORE, "Datastore", O_ENFORCER),
	[O_MANUAL] = { "ManualKeyGeneration", O_ENFORCER, XML_PRESENCE,
	    .lo = 0 },
	[O_PERIOD] = { "AutomaticKeyGenerationPeriod", O_ENFORCER, XML_DURATION,
	    .lo = 0, .superseded = HORIZON },
	[O_INTERVAL] = { "Interval", O_ENFORCER, XML_DURATION, .lo = 0,
	    .superseded = HORIZON },
	[O_KEYGEN] = { "KeygenInterval", O_ENFORCER, XML_DURATION, .lo = 0,
	    .superseded = HORIZON },
	[O_BACKUPDELAY] = { "BackupDelay", O_ENFORCER, XML_DURATION, .lo = 0,
	    .superseded = HORIZON },
	IGNORED(O_ROLLOVER, "RolloverNotification", O_ENFORCER),
	IGNORED(O_SUBMIT, "DelegationSignerSubmitCommand", O_ENFORCER),
	IGNORED(O_RETRACT, "DelegationSignerRetractCommand", O_ENFORCER),
	IGNORED(O_PIDFILE, "PidFile", O_ENFORCER),
	IGNORED(O_SOCKETFILE, "SocketFile", O_ENFORCER),
	IGNORED(O_WORKINGDIR, "WorkingDirectory", O_ENFORCER),
	IGNORED(O_THREADS, "WorkerThreads", O_ENFORCER),

	IGNORED(O_SIGNER, "Signer", O_CONFIGURATION),
	IGNORED(O_AUDITOR, "Auditor", O_CONFIGURATION),
};
/* clang-format on */

struct reading {
	struct xml_file *file;
	struct opendnssec *out;
	struct draft *draft; /* NULL outside, and where it cannot be used */
	bool named;	     /* by its attribute, or by an old <Name> */
	enum ksm_err err;
	struct ksm_fail fail;
};

static void
text_set(struct reading *o, char **out, char *text)
{
	if (text == NULL) {
		o->err = ksm_failf(&o->fail, KSM_ENOMEM, "out of memory");
		return;
	}
	free(*out);
	*out = text;
}

static void
repository_open(struct reading *o, const struct xml_node *n)
{
	const char *name = n->attrs[0] != NULL ? n->attrs[0] : "";

	o->draft = NULL;
	o->named = name[0] != '\0';
	if (strlen(name) > NAME_MAX_BYTES) {
		xml_find(o->file, CONF_ERROR, n->line,
		    "the name of a repository is too long", name,
		    "at most %d bytes", NAME_MAX_BYTES);
		return;
	}
	if (o->out->repositories.n >= REPOSITORIES_MAX) {
		xml_find(o->file, CONF_ERROR, n->line, "too many repositories",
		    name, "at most %d", REPOSITORIES_MAX);
		return;
	}
	o->draft =
	    draft_add(&o->out->repositories, name, o->file->path, n->line);
	if (o->draft == NULL)
		o->err = ksm_failf(&o->fail, KSM_ENOMEM, "out of memory");
}

static void
on_open(void *ctx, const struct xml_node *n)
{
	struct reading *o = ctx;

	if (n->id == O_REPOSITORY)
		repository_open(o, n);
}

static void
repository_value(struct reading *o, const struct xml_node *n)
{
	struct draft *d = o->draft;

	switch (n->id) {
	case O_MODULE:
		if (n->ok && n->len > PATH_BYTES_MAX)
			xml_find(o->file, CONF_ERROR, n->line,
			    "the path of the module is too long", n->text,
			    "at most %d bytes", PATH_BYTES_MAX);
		else if (n->ok)
			text_set(o, &d->r.module,
			    path_resolve(o->file->path, n->text));
		break;
	case O_LABEL:
		if (n->ok)
			text_set(o, &d->r.token_label, strdup(n->text));
		break;
	case O_PIN:
		if (!n->ok) {
			d->r.faulty |= SET_PIN;
			break;
		}
		o->err = pin_seal(d, o->file, n, &o->fail);
		if (o->out->pin_line == 0)
			o->out->pin_line = n->line;
		break;
	case O_CAPACITY:
		if (n->ok)
			d->r.capacity = n->number;
		break;
	case O_BACKUP:
		d->r.require_backup = true;
		break;
	case O_SKIP:
		d->r.skip_public_key = true;
		break;
	case O_EXTRACT:
		d->r.allow_extraction = true;
		break;
	default:
		break;
	}
}

/* Drafts of 2009 had the name as an element; it is shown, and refused. */
static void
name_take(struct reading *o, const struct xml_node *n)
{
	xml_find(o->file, CONF_ERROR, n->line,
	    "the name of a repository is an attribute", n->text,
	    "<Repository name=\"...\">");
	if (o->named || o->draft == NULL || !n->ok || n->len > NAME_MAX_BYTES)
		return;
	text_set(o, &o->draft->r.name, strdup(n->text));
	o->named = true;
}

static void
repository_close(struct reading *o, const struct xml_node *n)
{
	if (!o->named) {
		xml_find(o->file, CONF_ERROR, n->line,
		    "<Repository> has no name", NULL,
		    "<Repository name=\"...\">");
		if (o->draft != NULL) {
			conf_repository_clear(&o->draft->r);
			o->out->repositories.n--;
		}
	}
	o->draft = NULL;
}

static void
on_close(void *ctx, const struct xml_node *n)
{
	struct reading *o = ctx;

	if (o->err != KSM_OK)
		return;
	switch (n->id) {
	case O_NAME:
		name_take(o, n);
		break;
	case O_REPOSITORY:
		repository_close(o, n);
		break;
	case O_POLICYFILE:
		if (n->ok)
			text_set(o, &o->out->kasp,
			    path_resolve(o->file->path, n->text));
		break;
	case O_ZONELISTFILE:
		if (n->ok)
			text_set(o, &o->out->zonelist,
			    path_resolve(o->file->path, n->text));
		break;
	case O_MANUAL:
		o->out->manual = true;
		break;
	default:
		if (o->draft != NULL)
			repository_value(o, n);
		break;
	}
}

static const struct xml_grammar grammar = {
	.what = "a configuration of OpenDNSSEC (conf.xml)",
	.rules = rules,
	.nrules = O__COUNT,
	.secrets = true,
	.open = on_open,
	.close = on_close,
};

static enum ksm_err
reading_end(struct reading *o, enum ksm_err err,
    const struct xml_result *result, struct ksm_fail *fail)
{
	if (err == KSM_OK && o->err != KSM_OK)
		err = ksm_failf(
		    fail, o->err, "%s: %s", o->file->path, o->fail.text);
	if (err == KSM_OK && o->out->pin_line != 0 &&
	    (result->mode & 0004) != 0)
		xml_find(o->file, CONF_WARNING, o->out->pin_line,
		    "everybody can read this file, and there is a PIN in it",
		    NULL, "mode 0640 or less; it is %04o",
		    (unsigned)(result->mode & 07777));
	return err;
}

enum ksm_err
opendnssec_read(struct xml_file *file, struct opendnssec *out,
    struct xml_result *result, struct ksm_fail *fail)
{
	struct reading o = { .file = file, .out = out };

	memset(out, 0, sizeof(*out));
	return reading_end(
	    &o, xml_read(&grammar, file, &o, result, fail), result, fail);
}

enum ksm_err
opendnssec_read_bytes(struct xml_file *file, const void *bytes, size_t len,
    struct opendnssec *out, struct xml_result *result, struct ksm_fail *fail)
{
	struct reading o = { .file = file, .out = out };

	memset(out, 0, sizeof(*out));
	return reading_end(&o,
	    xml_read_bytes(&grammar, file, bytes, len, &o, result, fail),
	    result, fail);
}

void
opendnssec_clear(struct opendnssec *o)
{
	drafts_clear(&o->repositories);
	free(o->kasp);
	free(o->zonelist);
	memset(o, 0, sizeof(*o));
}
