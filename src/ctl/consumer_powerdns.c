#include "consumer_parts.h"

#include <stdlib.h>
#include <string.h>

#define ENGINE_ROOM 256

/* A line of a file has no way to say these. */
static enum ksm_err
line_check(const char *what, const char *text, struct ksm_fail *fail)
{
	for (const char *p = text; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return ksm_failf(fail, KSM_EREFUSED,
			    "PowerDNS takes no %s with control characters, and "
			    "this one has some", what);
	if (text[0] == '\0' || text[0] == ' ' || text[strlen(text) - 1] == ' ')
		return ksm_failf(fail, KSM_EREFUSED,
		    "PowerDNS needs a %s without blanks at either end, and "
		    "\"%.100s\" is none", what, text);
	return KSM_OK;
}

/*
 * The name under which p11-kit knows the module: by custom that of the file,
 * without lib and .so (/usr/lib/softhsm/libsofthsm2.so is softhsm2).
 */
static void
engine_name(const char *path, char out[ENGINE_ROOM])
{
	const char *base = strrchr(path, '/');
	char *dot;

	base = base != NULL ? base + 1 : path;
	if (strncmp(base, "lib", 3) == 0)
		base += 3;
	(void)snprintf(out, ENGINE_ROOM, "%s", base);
	dot = strstr(out, ".so");
	if (dot != NULL && dot != out)
		*dot = '\0';
}

static enum ksm_err
put_file(FILE *out, const struct consumer_key *k, struct ksm_fail *fail)
{
	char engine[ENGINE_ROOM];
	enum ksm_err err;

	engine_name(k->module, engine);
	err = line_check("name of a module", engine, fail);
	if (err == KSM_OK)
		err = line_check("label of a token", k->token_label, fail);
	if (err == KSM_OK)
		err = line_check("label of a key", k->label, fail);
	if (err != KSM_OK)
		return err;
	(void)fprintf(out,
	    "Private-key-format: v1.2\nAlgorithm: %d\nEngine: %s\nSlot: %s\n"
	    "PIN: \nLabel: %s\nPubLabel: %s\n", k->alg->number, engine,
	    k->token_label, k->label, k->label);
	return KSM_OK;
}

/*
 * With a directory the file goes there, and what is printed is the command
 * that imports it; without one the file is printed.
 */
enum ksm_err
write_powerdns(const struct consumer_key *k, const struct consumer_where *w,
    FILE *out, struct ksm_fail *fail)
{
	char *text = NULL, *name = NULL, *path = NULL;
	size_t len = 0, name_len = 0, path_len = 0;
	FILE *mem;
	enum ksm_err err;

	if (w->directory == NULL)
		return put_file(out, k, fail);

	mem = open_memstream(&text, &len);
	if (mem == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "no memory");
	err = put_file(mem, k, fail);
	if (fclose(mem) != 0 && err == KSM_OK)
		err = ksm_failf(fail, KSM_ENOMEM, "no memory");
	if (err != KSM_OK)
		goto out;
	mem = open_memstream(&name, &name_len);
	if (mem != NULL) {
		put_zone_file(mem, k);
		(void)fprintf(mem, "+%03d+%05d.pdns", k->alg->number, k->tag);
	}
	if (mem == NULL || fclose(mem) != 0) {
		err = ksm_failf(fail, KSM_ENOMEM, "no memory");
		goto out;
	}
	const struct key_file file = { name, text, len, 0600 };

	err = key_files_write(w->directory, &file, 1, fail);
	if (err != KSM_OK)
		goto out;
	mem = open_memstream(&path, &path_len);
	if (mem != NULL)
		(void)fprintf(mem, "%s/%s", w->directory, name);
	if (mem == NULL || fclose(mem) != 0) {
		err = ksm_failf(fail, KSM_ENOMEM, "no memory");
		goto out;
	}
	(void)fputs("pdnsutil import-zone-key ", out);
	put_word(out, k->owner);
	(void)fputc(' ', out);
	put_word(out, path);
	(void)fprintf(out, " inactive %s unpublished\n",
	    k->role == ROLE_ZSK ? "zsk" : "ksk");
out:
	free(path);
	free(name);
	free(text);
	return err;
}
