/*
 * One key, as the daemon sends it, from standard input; what a signer needs
 * goes to standard output:
 *
 *   consume CONSUMER [DIRECTORY]
 */
#include <stdio.h>
#include <string.h>

#include "consumer.h"

int
main(int argc, char *argv[])
{
	struct consumer_where where = { .directory = NULL };
	struct ksm_fail fail = { .text = "" };
	struct consumer_key key;
	enum consumer c;
	json_error_t at;
	json_t *doc;
	int status = 0;

	if (argc < 2 || argc > 3 || !consumer_find(argv[1], &c)) {
		(void)fprintf(stderr, "usage: consume CONSUMER [DIRECTORY]\n");
		return 64;
	}
	if (argc == 3)
		where.directory = argv[2];
	doc = json_loadf(stdin, 0, &at);
	if (doc == NULL) {
		(void)fprintf(stderr, "consume: %s\n", at.text);
		return 64;
	}
	if (consumer_key_read(doc, &key, &fail) != KSM_OK ||
	    consumer_write(c, &key, &where, stdout, &fail) != KSM_OK) {
		(void)fprintf(stderr, "consume: %s\n", fail.text);
		status = 2;
	}
	json_decref(doc);
	return status;
}
