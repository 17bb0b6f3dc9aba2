#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ksmpool/log.h"
#include "ksmpool/zoneindex.h"

#include "config.h"

/* What the files say before it is put together. */
struct parts {
	struct ksmpool own;
	struct opendnssec od;
	bool own_sound, od_sound, kasp_sound;
};

static enum ksm_err
no_memory(struct ksm_fail *fail)
{
	return ksm_failf(fail, KSM_ENOMEM, "out of memory");
}

/* The first path that is there, copied; NULL in *out when none is. */
static enum ksm_err
path_choose(char **out, const char *a, const char *b, const char *c,
    struct ksm_fail *fail)
{
	const char *path = a != NULL ? a : b != NULL ? b : c;

	*out = NULL;
	if (path == NULL)
		return KSM_OK;
	*out = strdup(path);
	return *out != NULL ? KSM_OK : no_memory(fail);
}

/* ---- repositories ----------------------------------------------------- */

static void
text_move(char **to, char **from)
{
	free(*to);
	*to = *from;
	*from = NULL;
}

/* A setting written in ksmpool.xml wins over the one of conf.xml. */
static void
repository_refine(struct conf_repository *r, struct draft *own)
{
	struct conf_repository *o = &own->r;

	r->faulty |= o->faulty;
	if ((own->set & SET_MODULE) != 0)
		text_move(&r->module, &o->module);
	if ((own->set & SET_URI) != 0) {
		text_move(&r->token_uri, &o->token_uri);
		free(r->token_label);
		free(r->token_serial);
		r->token_label = NULL;
		r->token_serial = NULL;
	}
	if ((own->set & SET_LABEL) != 0)
		text_move(&r->token_label, &o->token_label);
	if ((own->set & SET_SERIAL) != 0)
		text_move(&r->token_serial, &o->token_serial);
	if ((own->set & SET_PIN) != 0) {
		if (r->pin_fd >= 0)
			(void)close(r->pin_fd);
		r->pin = o->pin;
		r->pin_fd = o->pin_fd;
		o->pin_fd = -1;
		text_move(&r->pin_path, &o->pin_path);
	}
	if ((own->set & SET_CAPACITY) != 0)
		r->capacity = o->capacity;
	r->require_backup = r->require_backup || o->require_backup;
	r->skip_public_key = r->skip_public_key || o->skip_public_key;
	r->allow_extraction = r->allow_extraction || o->allow_extraction;
	r->search_first = r->search_first || o->search_first;
	if ((own->set & SET_SESSIONS) != 0)
		r->sessions = o->sessions;
	if ((own->set & SET_DEADLINE) != 0)
		r->deadline = o->deadline;
	if ((own->set & SET_OVERDUE) != 0) {
		r->on_overdue = o->on_overdue;
		r->kill_after = o->kill_after;
	}
	if ((own->set & SET_RATE) != 0)
		r->keys_per_minute = o->keys_per_minute;
	if ((own->set & SET_RECYCLE) != 0)
		r->recycle_after = o->recycle_after;
	if ((own->set & SET_SYNC) != 0)
		text_move(&r->sync_path, &o->sync_path);
	if ((own->set & SET_HOOK) != 0) {
		text_move(&r->hook, &o->hook);
		r->hook_timeout = o->hook_timeout;
	}
	if ((own->set & SET_RESERVED) != 0)
		text_move(&r->init_reserved, &o->init_reserved);
	if ((own->set & SET_ENV) != 0) {
		struct conf_env *env = r->env;
		size_t n = r->nenv;

		r->env = o->env;
		r->nenv = o->nenv;
		o->env = env;
		o->nenv = n;
	}
	if ((own->set & SET_ATTRIBUTES) != 0) {
		struct conf_attribute *attributes = r->attributes;
		size_t n = r->nattributes;

		r->attributes = o->attributes;
		r->nattributes = o->nattributes;
		o->attributes = attributes;
		o->nattributes = n;
	}
}

/* Moves the contents of a draft to the end of the conf. */
static enum ksm_err
repository_append(struct conf *c, struct draft *d, struct ksm_fail *fail)
{
	struct conf_repository *r = conf_repository_add(c, d->r.name);

	if (r == NULL)
		return no_memory(fail);
	free(r->name);
	*r = d->r;
	memset(&d->r, 0, sizeof(d->r));
	d->r.pin_fd = -1;
	return KSM_OK;
}

static enum ksm_err
repositories_merge(struct conf *c, struct parts *p, struct ksm_fail *fail)
{
	size_t theirs = p->od.repositories.n;
	enum ksm_err err = KSM_OK;

	for (size_t i = 0; i < theirs && err == KSM_OK; i++)
		err = repository_append(c, &p->od.repositories.items[i], fail);
	for (size_t i = 0; i < p->own.repositories.n && err == KSM_OK; i++) {
		struct draft *own = &p->own.repositories.items[i];
		struct conf_repository *same = NULL;

		/* a second one of the same name is for conf_check to report */
		for (size_t j = 0; j < i; j++) {
			const struct draft *o = &p->own.repositories.items[j];

			if (o->merged && o->r.name != NULL &&
			    strcmp(o->r.name, own->r.name) == 0)
				own->merged = true;
		}
		for (size_t j = 0; j < theirs && !own->merged; j++)
			if (strcmp(c->repositories[j].name, own->r.name) == 0)
				same = &c->repositories[j];
		if (same != NULL) {
			repository_refine(same, own);
			own->merged = true;
		} else {
			err = repository_append(c, own, fail);
		}
	}
	return err;
}

/* ---- the files -------------------------------------------------------- */

static enum ksm_err
settings_default(struct conf *c, struct ksm_fail *fail)
{
	if (c->state_dir == NULL)
		c->state_dir = strdup(KSM_STATEDIR);
	if (c->state_dir == NULL)
		return no_memory(fail);
	if (c->database == NULL &&
	    asprintf(&c->database, "%s/ksmpool.db", c->state_dir) == -1) {
		c->database = NULL;
		return no_memory(fail);
	}
	if (c->handout_journal == NULL &&
	    asprintf(&c->handout_journal, "%s/handout.journal",
		c->state_dir) == -1) {
		c->handout_journal = NULL;
		return no_memory(fail);
	}
	if (c->socket_path == NULL)
		c->socket_path = strdup(KSM_RUNDIR "/control.sock");
	if (c->user == NULL)
		c->user = strdup("ksmpool");
	if (c->socket_path == NULL || c->user == NULL)
		return no_memory(fail);
	return KSM_OK;
}

static enum ksm_err
own_load(const struct inputs *in, struct conf *c, struct parts *p,
    struct ksm_fail *fail)
{
	struct xml_file file = { c, CONF_KSMPOOL, in->config };
	struct xml_result result;
	enum ksm_err err;

	c->log_level = LOGL_INFO;
	if (in->config == NULL)
		return KSM_OK;
	c->file = path_resolve(
	    in->config, in->config[0] == '/' || strrchr(in->config, '/') == NULL
			    ? in->config
			    : strrchr(in->config, '/') + 1);
	if (c->file == NULL)
		return no_memory(fail);
	err = ksmpool_read(&file, &p->own, &result, fail);
	p->own_sound = result.sound;
	if (err == KSM_OK)
		err = settings_default(c, fail);
	if (err == KSM_OK && strcmp(c->handout_journal, c->database) == 0)
		xml_find(&file, CONF_ERROR, p->own.journal_line,
		    "HandoutJournal and Database are the same file",
		    c->handout_journal,
		    "a file of its own, best on another disk");
	return err;
}

static enum ksm_err
opendnssec_load(const struct inputs *in, struct conf *c, struct parts *p,
    struct ksm_fail *fail)
{
	struct xml_file file = { c, CONF_OPENDNSSEC, NULL };
	struct xml_result result;
	enum ksm_err err;

	err = path_choose(
	    &c->opendnssec_file, in->opendnssec, p->own.opendnssec, NULL, fail);
	if (err != KSM_OK || c->opendnssec_file == NULL)
		return err;
	file.path = c->opendnssec_file;
	err = opendnssec_read(&file, &p->od, &result, fail);
	p->od_sound = result.sound;
	return err;
}

static enum ksm_err
kasp_load(const struct inputs *in, struct conf *c, struct parts *p,
    struct ksm_fail *fail)
{
	struct xml_file file = { c, CONF_KASP, NULL };
	struct xml_file own = { c, CONF_KSMPOOL, in->config };
	struct xml_result result;
	enum ksm_err err;

	err = path_choose(&c->kasp_file, in->kasp,
	    in->config != NULL ? p->own.kasp : NULL,
	    in->config != NULL ? p->od.kasp : NULL, fail);
	if (err != KSM_OK)
		return err;
	if (c->kasp_file == NULL) {
		/* without conf.xml the reader of ksmpool.xml has said so */
		if (in->config != NULL && p->od_sound)
			xml_find(&own, CONF_ERROR, 0, "no policy file is named",
			    NULL, "PolicyFile here or in %s",
			    c->opendnssec_file);
		return KSM_OK;
	}
	file.path = c->kasp_file;
	err = kasp_read(&file, &result, fail);
	p->kasp_sound = result.sound;
	if (err == KSM_OK)
		pools_resolve(&p->own, p->od.manual,
		    in->config != NULL && result.sound, &own);
	return err;
}

static enum ksm_err
zonelist_load(const struct inputs *in, struct loaded *l, struct parts *p,
    struct ksm_fail *fail)
{
	struct conf *c = &l->conf;
	struct xml_file file = { c, CONF_ZONELIST, NULL };
	struct xml_file own = { c, CONF_KSMPOOL, in->config };
	struct xml_result result;
	enum ksm_err err;

	err = path_choose(&c->zonelist_file, in->zonelist,
	    in->config != NULL ? p->own.zonelist : NULL,
	    in->config != NULL ? p->od.zonelist : NULL, fail);
	if (err != KSM_OK)
		return err;
	if (c->zonelist_file == NULL) {
		if (in->config != NULL) {
			c->zonelist = ZONELIST_VANISHED;
			if (p->od_sound)
				xml_find(&own, CONF_ERROR, 0,
				    "no zone list is named", NULL,
				    "ZoneListFile here or in %s",
				    c->opendnssec_file);
		}
		return KSM_OK;
	}
	file.path = c->zonelist_file;
	err = zonelist_read(&file, p->kasp_sound, &l->zonelist, &result, fail);
	if (err != KSM_OK)
		return err;
	c->zones = l->zonelist.zones;
	if (!result.opened)
		c->zonelist = ZONELIST_VANISHED;
	else if (!result.sound || c->zonelist_errors > 0)
		c->zonelist = ZONELIST_BAD;
	else if (c->zones == 0)
		c->zonelist = ZONELIST_EMPTY;
	else
		c->zonelist = ZONELIST_OK;
	return KSM_OK;
}

/* After the zone list, whose counts it refines. */
static enum ksm_err
owners_load(struct loaded *l, struct ksm_fail *fail)
{
	struct conf *c = &l->conf;
	struct xml_file file = { c, CONF_OWNERS, c->owner_file };
	struct xml_result result;
	enum ksm_err err;

	if (c->owner_file == NULL || c->zonelist_file == NULL)
		return KSM_OK;
	err = owners_read(&file, &l->zonelist,
	    c->zonelist == ZONELIST_OK || c->zonelist == ZONELIST_EMPTY,
	    &l->owners, &result, fail);
	if (err != KSM_OK)
		return err;
	if (!result.opened)
		c->owners = ZONELIST_VANISHED;
	else if (!result.sound)
		c->owners = ZONELIST_BAD;
	else
		c->owners = l->owners.zones == 0 ? ZONELIST_EMPTY
						 : ZONELIST_OK;
	return KSM_OK;
}

static void
counts_put(struct loaded *l)
{
	struct conf *c = &l->conf;

	for (size_t i = 0; i < l->zonelist.ncounts; i++) {
		const struct zone_count *n = &l->zonelist.counts[i];
		/* of two policies of one name the first has the zones */
		const struct conf_policy *found =
		    conf_policy_find(c, n->policy);
		struct conf_policy *p;

		if (found == NULL)
			continue;
		p = &c->policies[found - c->policies];
		p->zones = n->zones;
		p->owners = n->owners;
	}
}

/* ---- which zone is on which policy ------------------------------------ */

struct walk {
	const struct zonelist *zones;
	const uint32_t *policies; /* where the name of each stands, plus 1 */
	uint32_t at;
};

static void
zone_next(void *ctx, struct zoneindex_zone *out)
{
	struct walk *w = ctx;
	struct zone_row row;

	w->at = nametable_next(&w->zones->names, w->at);
	row = zone_row_get(w->zones, w->at);
	out->name = nametable_name(&w->zones->names, w->at, &out->len);
	/* zonelist_read counts the policies of the conf first, in its order */
	out->policy =
	    row.policy != ZONE_UNLISTED ? w->policies[row.policy] : 0;
	/* the name follows a byte that says how long it is */
	out->owner = row.owner != 0 ? row.owner + 1 : 0;
}

/* The names of all policies, as an index has them, and where each stands. */
static enum ksm_err
policies_name(const struct conf *c, struct zoneindex_names *out,
    uint32_t **where, struct ksm_fail *fail)
{
	size_t bytes = 0;
	char *text;

	for (size_t i = 0; i < c->npolicies; i++)
		bytes += strlen(c->policies[i].name) + 1;
	text = malloc(bytes + 1);
	*where = calloc(c->npolicies + 1, sizeof(**where));
	*out = (struct zoneindex_names){ text, bytes };
	if (text == NULL || *where == NULL)
		return no_memory(fail);
	for (size_t i = 0; i < c->npolicies; i++) {
		size_t len = strlen(c->policies[i].name) + 1;

		(*where)[i] = (uint32_t)(text - out->text) + 1;
		memcpy(text, c->policies[i].name, len);
		text += len;
	}
	return KSM_OK;
}

/* Of lists that are as they should be; another leaves zones_fd at -1. */
static enum ksm_err
index_make(struct loaded *l, struct ksm_fail *fail)
{
	struct conf *c = &l->conf;
	struct walk walk = { .zones = &l->zonelist };
	struct zoneindex_source from = {
		.zones = l->zonelist.names.n,
		.owners = { (const char *)l->owners.names.bytes,
		    l->owners.names.used },
		.next = zone_next,
		.ctx = &walk,
	};
	uint32_t *where = NULL;
	enum ksm_err err;

	if (c->errors > 0 || c->zonelist_file == NULL)
		return KSM_OK;
	for (uint32_t at = 0;
	     (at = nametable_next(&l->zonelist.names, at)) != 0;) {
		size_t len;

		(void)nametable_name(&l->zonelist.names, at, &len);
		from.name_bytes += len;
	}
	err = policies_name(c, &from.policies, &where, fail);
	walk.policies = where;
	if (err == KSM_OK)
		err = zoneindex_make(&from, &c->zones_fd, fail);
	free((char *)(uintptr_t)from.policies.text);
	free(where);
	return err;
}

/* Without ksmpool.xml some checks have nothing to look at. */
static void
unchecked_report(struct conf *c)
{
	struct xml_file file = { .conf = c };

	if (c->kasp_file != NULL && c->opendnssec_file == NULL) {
		file.in = CONF_KASP;
		file.path = c->kasp_file;
		xml_find(&file, CONF_NOTICE, 0,
		    "repositories were not given, so their names, Capacity "
		    "and speed are not checked",
		    NULL, "--opendnssec or --config");
	}
	if (c->kasp_file != NULL && c->zonelist_file == NULL) {
		file.in = CONF_KASP;
		file.path = c->kasp_file;
		xml_find(&file, CONF_NOTICE, 0,
		    "zones were not given, so the pools are counted without "
		    "any",
		    NULL, "--zonelist or --config");
	}
	if (c->zonelist_file != NULL && c->kasp_file == NULL) {
		file.in = CONF_ZONELIST;
		file.path = c->zonelist_file;
		xml_find(&file, CONF_NOTICE, 0,
		    "policies were not given, so the policies of the zones "
		    "are not checked",
		    NULL, "--kasp or --config");
	}
	if (c->opendnssec_file != NULL &&
	    (c->kasp_file == NULL || c->zonelist_file == NULL)) {
		file.in = CONF_OPENDNSSEC;
		file.path = c->opendnssec_file;
		xml_find(&file, CONF_NOTICE, 0,
		    "the policy and zone list that this file names are not "
		    "looked at",
		    NULL, "--kasp and --zonelist, or --config");
	}
}

enum ksm_err
config_load(const struct inputs *in, struct loaded *out, struct ksm_fail *fail)
{
	struct parts p;
	enum ksm_err err;
	struct conf *c = &out->conf;
	struct xml_file own = { c, CONF_KSMPOOL, in->config };

	memset(&p, 0, sizeof(p));
	memset(out, 0, sizeof(*out));
	conf_init(c);
	xml_setup();

	err = own_load(in, c, &p, fail);
	if (in->own)
		goto out;
	if (err == KSM_OK)
		err = opendnssec_load(in, c, &p, fail);
	if (err == KSM_OK && p.own_sound)
		host_check(&own, &p.own);
	if (err == KSM_OK)
		err = repositories_merge(c, &p, fail);
	if (err != KSM_OK)
		goto out;
	if (p.own_sound && c->nrepositories == 0 &&
	    (c->opendnssec_file == NULL || p.od_sound))
		xml_find(&own, CONF_ERROR, 0, "no repository is configured",
		    NULL, "RepositoryList here or in conf.xml");
	repositories_check(c, in->config != NULL);

	err = kasp_load(in, c, &p, fail);
	if (err == KSM_OK)
		err = zonelist_load(in, out, &p, fail);
	if (err == KSM_OK)
		err = owners_load(out, fail);
	if (err == KSM_OK) {
		counts_put(out);
		err = conf_check(c, fail);
	}
	if (err == KSM_OK && in->index)
		err = index_make(out, fail);
	if (err == KSM_OK && in->config == NULL)
		unchecked_report(c);
out:
	ksmpool_clear(&p.own);
	opendnssec_clear(&p.od);
	return err;
}

void
loaded_clear(struct loaded *l)
{
	conf_clear(&l->conf);
	zonelist_clear(&l->zonelist);
	owners_clear(&l->owners);
}
