#include "consumer_parts.h"

#include <stdlib.h>
#include <string.h>

static void
put_file(FILE *out, const struct consumer_key *k)
{
	char engine[MODULE_NAME];

	consumer_module_name(k->module, engine);
	(void)fprintf(out,
	    "Private-key-format: v1.2\nAlgorithm: %d\nEngine: %s\nSlot: %s\n"
	    "PIN: \nLabel: %s\nPubLabel: %s\n", k->alg->number, engine,
	    k->token_label, k->label, k->label);
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

	if (w->directory == NULL) {
		put_file(out, k);
		return KSM_OK;
	}

	mem = open_memstream(&text, &len);
	if (mem == NULL)
		return ksm_failf(fail, KSM_ENOMEM, "no memory");
	put_file(mem, k);
	if (fclose(mem) != 0) {
		err = ksm_failf(fail, KSM_ENOMEM, "no memory");
		goto out;
	}
	mem = open_memstream(&name, &name_len);
	if (mem != NULL) {
		put_zone_file(mem, k->wire);
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
