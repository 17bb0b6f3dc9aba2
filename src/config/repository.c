#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ksmpool/fd.h"

#include "config.h"

struct draft *
draft_add(struct drafts *d, const char *name, const char *file, int64_t line)
{
	struct draft *grown, *item;
	struct conf scratch;

	grown = reallocarray(d->items, d->n + 1, sizeof(*grown));
	if (grown == NULL)
		return NULL;
	d->items = grown;
	item = &grown[d->n];
	memset(item, 0, sizeof(*item));

	/* the defaults are those of every repository */
	conf_init(&scratch);
	if (conf_repository_add(&scratch, name) == NULL) {
		conf_clear(&scratch);
		return NULL;
	}
	item->r = scratch.repositories[0];
	free(scratch.repositories);
	item->r.line = line;
	item->r.file = strdup(file);
	if (item->r.file == NULL) {
		conf_repository_clear(&item->r);
		return NULL;
	}
	d->n++;
	return item;
}

void
drafts_clear(struct drafts *d)
{
	for (size_t i = 0; i < d->n; i++)
		conf_repository_clear(&d->items[i].r);
	free(d->items);
	memset(d, 0, sizeof(*d));
}

char *
path_resolve(const char *file, const char *text)
{
	const char *slash = strrchr(file, '/');
	char *cwd = NULL, *out = NULL;
	int n;

	if (text[0] == '/')
		return strdup(text);
	if (file[0] != '/') {
		cwd = getcwd(NULL, 0);
		if (cwd == NULL)
			return NULL;
	}
	n = asprintf(&out, "%s%s%.*s%s", cwd != NULL ? cwd : "",
	    cwd != NULL ? "/" : "", slash != NULL ? (int)(slash - file + 1) : 0,
	    file, text);
	free(cwd);
	return n == -1 ? NULL : out;
}

enum ksm_err
pin_seal(struct draft *d, struct xml_file *file, const struct xml_node *n,
    struct ksm_fail *fail)
{
	enum ksm_err err = KSM_OK;
	int fd = -1;

	if (n->len > PIN_BYTES_MAX) {
		d->r.faulty |= SET_PIN;
		xml_find(file, CONF_ERROR, n->line, "the PIN is too long", NULL,
		    "1 to %d bytes", PIN_BYTES_MAX);
		return KSM_OK;
	}
	if (n->text[0] == '/')
		xml_find(file, CONF_WARNING, n->line,
		    "the PIN looks like a path; it is used as it stands", NULL,
		    "the PIN itself, or PINFile in ksmpool.xml");
	else if (n->text[0] == '$' || (n->len > 2 && n->text[0] == '@' &&
					  n->text[n->len - 1] == '@'))
		xml_find(file, CONF_WARNING, n->line,
		    "the PIN looks like a template that was not filled in",
		    NULL, "the PIN itself");

	fd = memfd_create("pin", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd == -1) {
		err = ksm_failf(
		    fail, KSM_ESYS, "memfd_create: %s", strerror(errno));
		goto out;
	}
	err = fd_write_all(fd, n->text, n->len, fail);
	if (err != KSM_OK)
		goto out;
	if (lseek(fd, 0, SEEK_SET) == -1 ||
	    fcntl(fd, F_ADD_SEALS,
		F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) ==
		-1) {
		err = ksm_failf(
		    fail, KSM_ESYS, "seal the PIN: %s", strerror(errno));
		goto out;
	}
	fd_close(&d->r.pin_fd);
	d->r.pin_fd = fd;
	fd = -1;
	d->r.pin = PIN_INLINE;
	d->pin_line = n->line;
	d->set |= SET_PIN;
out:
	fd_close(&fd);
	return err;
}

/* ---- checks ----------------------------------------------------------- */

static enum conf_file
where_of(const struct conf *c, const struct conf_repository *r)
{
	if (c->opendnssec_file != NULL &&
	    strcmp(c->opendnssec_file, r->file) == 0)
		return CONF_OPENDNSSEC;
	return CONF_KSMPOOL;
}

static void
module_check(struct xml_file *file, const struct conf_repository *r, bool here)
{
	struct stat st;
	char what[160];

	if (r->module == NULL) {
		if (file->in == CONF_OPENDNSSEC || (r->faulty & SET_MODULE))
			return; /* the reader has said so */
		xml_find(file, CONF_ERROR, r->line,
		    "repository without a Module", r->name,
		    "the path of a PKCS#11 module");
		return;
	}
	if (stat(r->module, &st) == -1) {
		if (errno == EACCES) {
			xml_find(file, CONF_NOTICE, r->line,
			    "the module cannot be looked at by this user",
			    r->module, NULL);
			return;
		}
		(void)snprintf(what, sizeof(what),
		    "the module is not on this host: %s", strerror(errno));
		xml_find(file, here ? CONF_ERROR : CONF_WARNING, r->line, what,
		    r->module, "the path of a PKCS#11 module");
	} else if (!S_ISREG(st.st_mode)) {
		xml_find(file, here ? CONF_ERROR : CONF_WARNING, r->line,
		    "the module is not a file", r->module,
		    "the path of a PKCS#11 module");
	}
}

static void
pin_file_check(
    struct xml_file *file, const struct conf_repository *r, bool here)
{
	enum conf_severity bad = here ? CONF_ERROR : CONF_WARNING;
	struct stat st;
	char what[160];

	if (stat(r->pin_path, &st) == -1) {
		if (errno == EACCES) {
			xml_find(file, CONF_NOTICE, r->line,
			    "the PIN file cannot be looked at by this user; "
			    "the daemon's user must be able to read it",
			    r->pin_path, NULL);
			return;
		}
		(void)snprintf(what, sizeof(what),
		    "the PIN file cannot be opened: %s", strerror(errno));
		xml_find(file, bad, r->line, what, r->pin_path,
		    "a file that holds the PIN");
		return;
	}
	if (S_ISDIR(st.st_mode)) {
		xml_find(file, bad, r->line, "the PIN file is a directory",
		    r->pin_path, "a file that holds the PIN");
		return;
	}
	if (S_ISREG(st.st_mode) && st.st_size == 0)
		xml_find(file, bad, r->line, "the PIN file is empty",
		    r->pin_path, "a file that holds the PIN");
	if ((st.st_mode & S_IROTH) != 0)
		xml_find(file, CONF_WARNING, r->line,
		    "everybody can read the PIN file", r->pin_path,
		    "mode 0400 or 0440; it is %04o",
		    (unsigned)(st.st_mode & 07777));
	if (access(r->pin_path, R_OK) == -1)
		xml_find(file, CONF_NOTICE, r->line,
		    "the PIN file cannot be read by this user; the daemon's "
		    "user must be able to",
		    r->pin_path, NULL);
}

/* Two spellings of one module, the same token: conf_check cannot see it. */
static void
module_twice_check(struct xml_file *file, const struct conf *c, size_t i)
{
	const struct conf_repository *r = &c->repositories[i];
	char mine[PATH_MAX], theirs[PATH_MAX];

	if (r->module == NULL || r->token_label == NULL ||
	    realpath(r->module, mine) == NULL)
		return;
	for (size_t j = 0; j < i; j++) {
		const struct conf_repository *o = &c->repositories[j];

		if (o->module == NULL || o->token_label == NULL ||
		    strcmp(o->module, r->module) == 0 ||
		    strcmp(o->token_label, r->token_label) != 0 ||
		    realpath(o->module, theirs) == NULL ||
		    strcmp(mine, theirs) != 0)
			continue;
		if (o->token_serial != NULL && r->token_serial != NULL &&
		    strcmp(o->token_serial, r->token_serial) != 0)
			continue;
		xml_find(file, CONF_ERROR, r->line,
		    "two repositories mean the same token", r->name,
		    "one repository for each token; the module of '%s' is "
		    "the same file (%s)",
		    o->name, mine);
	}
}

static void
token_check(struct xml_file *file, const struct conf_repository *r)
{
	if (r->token_label == NULL && r->token_uri == NULL &&
	    file->in != CONF_OPENDNSSEC &&
	    (r->faulty & (SET_LABEL | SET_URI)) == 0)
		xml_find(file, CONF_ERROR, r->line,
		    r->token_serial != NULL
			? "repository with a TokenSerial and no TokenLabel"
			: "repository without a TokenLabel",
		    r->name, "TokenLabel or TokenURI");
}

/* It runs as the daemon's user: nobody else may choose what it does. */
static void
hook_check(struct xml_file *file, const struct conf_repository *r, bool here)
{
	enum conf_severity bad = here ? CONF_ERROR : CONF_WARNING;
	struct stat st;
	char what[160];

	if (stat(r->hook, &st) == -1) {
		if (errno == EACCES) {
			xml_find(file, CONF_NOTICE, r->line,
			    "the hook cannot be looked at by this user; the "
			    "daemon's user must be able to run it",
			    r->hook, NULL);
			return;
		}
		(void)snprintf(what, sizeof(what),
		    "the hook is not on this host: %s", strerror(errno));
		xml_find(file, bad, r->line, what, r->hook,
		    "a program that is run for each key taken");
	} else if (!S_ISREG(st.st_mode) || (st.st_mode & 0111) == 0) {
		xml_find(file, bad, r->line, "the hook is not a program",
		    r->hook, "a file that can be executed");
	} else if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
		xml_find(file, bad, r->line,
		    "others than its owner can change the hook", r->hook,
		    "mode 0755 or less; it is %04o",
		    (unsigned)(st.st_mode & 07777));
	}
}

void
repositories_check(struct conf *c, bool here)
{
	for (size_t i = 0; i < c->nrepositories; i++) {
		const struct conf_repository *r = &c->repositories[i];
		struct xml_file file = {
			.conf = c,
			.in = where_of(c, r),
			.path = r->file,
		};

		module_check(&file, r, here);
		token_check(&file, r);
		module_twice_check(&file, c, i);
		if (r->hook != NULL)
			hook_check(&file, r, here);
		if (r->pin == PIN_FILE)
			pin_file_check(&file, r, here);
		else if (r->pin == PIN_NONE && (r->faulty & SET_PIN) == 0)
			xml_find(&file, CONF_WARNING, r->line,
			    "repository without a PIN: nobody is asked for "
			    "it, so workers cannot log in",
			    r->name,
			    "PINFile or PINCredential in ksmpool.xml, or PIN");
	}
}

/* ---- what the host lacks ---------------------------------------------- */

/* Sorted out as initgroups(3) does when the daemon becomes that user. */
static bool
is_member(const struct passwd *pw, gid_t gid)
{
	gid_t *groups = NULL;
	int n = 0, room;
	bool found = false;

	(void)getgrouplist(pw->pw_name, pw->pw_gid, NULL, &n);
	room = n;
	groups = calloc((size_t)n + 1, sizeof(*groups));
	if (groups == NULL ||
	    getgrouplist(pw->pw_name, pw->pw_gid, groups, &room) == -1)
		room = 0;
	for (int i = 0; i < room; i++)
		found = found || groups[i] == gid;
	free(groups);
	return found;
}

static void
sync_path_check(struct xml_file *own, const struct draft *d)
{
	const char *path = d->r.sync_path;
	struct stat st;
	char what[160];

	if (path == NULL)
		return;
	if (stat(path, &st) == 0) {
		if (!S_ISDIR(st.st_mode))
			xml_find(own, CONF_WARNING, d->sync_line,
			    "SyncPath is not a directory", path,
			    "a directory on the token's file system");
		return;
	}
	if (errno == EACCES) {
		xml_find(own, CONF_NOTICE, d->sync_line,
		    "SyncPath cannot be looked at by this user; the daemon's "
		    "user must be able to open it",
		    path, NULL);
		return;
	}
	(void)snprintf(what, sizeof(what),
	    "SyncPath is missing on this host: %s", strerror(errno));
	xml_find(own, CONF_WARNING, d->sync_line, what, path,
	    "a directory on the token's file system");
}

static void
readers_check(struct xml_file *own, const struct ksmpool *k)
{
	const struct conf *c = own->conf;
	const struct group *gr;
	gid_t readers;

	if (c->socket_readers == NULL)
		return;
	gr = getgrnam(c->socket_readers);
	if (gr == NULL) {
		xml_find(own, CONF_WARNING, k->readers_line,
		    "the ReadersGroup of the Socket is missing on this host",
		    c->socket_readers, "a group");
		return;
	}
	readers = gr->gr_gid;
	gr = c->socket_group != NULL ? getgrnam(c->socket_group) : NULL;
	if (gr != NULL && gr->gr_gid == readers &&
	    strcmp(c->socket_group, c->socket_readers) != 0)
		xml_find(own, CONF_WARNING, k->readers_line,
		    "ReadersGroup is the Group under another name, so its "
		    "members may act",
		    c->socket_readers, "a group of those who may only look");
}

/*
 * Whoever checks may do so elsewhere, so these are warnings. A user that
 * nobody wrote down is only noticed: a daemon that is not started as root
 * never asks for it.
 */
void
host_check(struct xml_file *own, const struct ksmpool *k)
{
	const struct conf *c = own->conf;
	const struct passwd *pw = getpwnam(c->user);
	const struct group *gr;

	for (size_t i = 0; i < k->repositories.n; i++)
		sync_path_check(own, &k->repositories.items[i]);
	if (pw == NULL)
		xml_find(own, k->user_line > 0 ? CONF_WARNING : CONF_NOTICE,
		    k->user_line,
		    "the User that ksmpoold becomes is missing on this host",
		    c->user, "a user; systemd-sysusers makes 'ksmpool'");
	readers_check(own, k);
	if (c->socket_group == NULL)
		return;
	gr = getgrnam(c->socket_group);
	if (gr == NULL)
		xml_find(own, CONF_WARNING, k->group_line,
		    "the Group of the Socket is missing on this host",
		    c->socket_group, "a group");
	else if (pw != NULL && pw->pw_uid != 0 && !is_member(pw, gr->gr_gid))
		xml_find(own, CONF_WARNING, k->group_line,
		    "the User is no member of the Group, so ksmpoold cannot "
		    "give the socket to it",
		    c->socket_group, "a group that '%s' is in", c->user);
}
