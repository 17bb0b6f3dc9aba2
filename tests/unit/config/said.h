/* said.h - what the readers said, for their tests. */
#ifndef TESTS_CONFIG_SAID_H
#define TESTS_CONFIG_SAID_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "config.h"

/* The finding whose sentence, value or expectation holds `words`. */
static inline const struct conf_finding *
said(const struct conf *c, const char *words)
{
	for (size_t i = 0; i < c->nfindings; i++) {
		const struct conf_finding *f = &c->findings[i];

		if (strstr(f->what, words) != NULL ||
		    (f->value != NULL && strstr(f->value, words) != NULL) ||
		    (f->expected != NULL && strstr(f->expected, words) != NULL))
			return f;
	}
	return NULL;
}

static inline size_t
said_times(const struct conf *c, const char *words)
{
	size_t n = 0;

	for (size_t i = 0; i < c->nfindings; i++)
		n += strstr(c->findings[i].what, words) != NULL ? 1 : 0;
	return n;
}

/* Every finding on standard error, for when a test fails. */
static inline void
said_show(const struct conf *c)
{
	for (size_t i = 0; i < c->nfindings; i++) {
		const struct conf_finding *f = &c->findings[i];

		(void)fprintf(stderr, "    %s:%lld: %s: %s: '%s'; expected %s\n",
		    f->file != NULL ? f->file : "-", (long long)f->line,
		    conf_severity_text(f->severity), f->what,
		    f->value != NULL ? f->value : "",
		    f->expected != NULL ? f->expected : "");
	}
}

/* One finding, with its severity and line. */
struct expect {
	const char *what, *text; /* the case; its file */
	enum conf_severity severity;
	int64_t line;
	const char *words;
};

static inline void
expect_said(const struct expect *e, const struct conf *c)
{
	const struct conf_finding *f = said(c, e->words);

	if (f == NULL || f->severity != e->severity || f->line != e->line) {
		said_show(c);
		fail_msg("%s: no %s '%s' at line %lld", e->what,
		    conf_severity_text(e->severity), e->words,
		    (long long)e->line);
	}
}

#endif
