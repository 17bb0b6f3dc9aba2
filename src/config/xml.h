/*
 * xml.h - one streaming reader under a table that describes a file.
 *
 * Runs in: ksmpool-config only.
 * Owns:    its buffers while xml_read runs; all of them are wiped.
 * Blocks:  on the file.
 * Bounds:  64 KiB of text in an element or attribute, 64 levels, no DTD, no
 *          entities, no network. Memory does not grow with the file.
 *
 * Every fault becomes a finding with its line; reading goes on unless the
 * file is not well-formed, has a DOCTYPE or another root.
 */
#ifndef KSMPOOL_CONFIG_XML_H
#define KSMPOOL_CONFIG_XML_H

#include <sys/types.h>

#include "ksmpool/policy.h"

#define XML_TEXT_MAX  65536
#define XML_ATTRS_MAX 2
#define XML_RULES_MAX 96

enum xml_type {
	XML_PARENT,   /* elements only */
	XML_TEXT,     /* any text but none; blanks around it are trimmed */
	XML_LOOSE,    /* any text or none */
	XML_NUMBER,   /* lo to hi, decimal */
	XML_DURATION, /* ISO 8601, not negative, lo to hi seconds */
	XML_OFFSET,   /* a duration that may be negative */
	XML_PRESENCE, /* <X/>: there or not */
	XML_WORD,     /* one of `words` */
	XML_SECRET,   /* text that no finding may show */
	XML_SKIP,     /* anything, not looked at */
};

enum xml_flag {
	XML_REQUIRED = 1, /* one must be there */
	XML_MANY = 2,	  /* more than one may be there */
	XML_UNUSED = 4,	  /* named once in a notice: not used here */
	XML_LENIENT = 8,  /* unknown elements in it are warnings */
	XML_QUICK = 16,	  /* seconds to days: P5M is likely meant as PT5M */
	XML_LIFE = 32,	  /* days to years: PT3M is likely meant as P3M */
};

struct xml_attr {
	const char *name;
	bool required;
};

struct xml_rule {
	const char *name;
	int parent; /* index of a rule; -1: the root */
	enum xml_type type;
	unsigned flags;
	struct xml_attr attrs[XML_ATTRS_MAX];
	int64_t lo, hi;		  /* NUMBER, DURATION; hi 0: no bound */
	const char *const *words; /* WORD; ends with NULL */
	const char *superseded;	  /* read, checked, ignored: use this instead */
};

/* What a handler is told. Text is good until it returns. */
struct xml_node {
	int id; /* index of the rule */
	int64_t line;
	bool ok; /* false: a finding says why it is not to be used */
	const char *text;
	size_t len;
	int64_t number; /* NUMBER, DURATION, OFFSET, WORD (its index) */
	const char *attrs[XML_ATTRS_MAX]; /* at open only; NULL: not there */
};

struct xml_file {
	struct conf *conf; /* findings go there */
	enum conf_file in;
	const char *path;
};

struct xml_grammar {
	const char *what;	      /* "a policy file (kasp.xml)" */
	const struct xml_rule *rules; /* rule 0 is the root */
	size_t nrules;
	bool secrets; /* values of unknown places are not shown */
	bool strict;  /* text in a PRESENCE element is an error */
	void (*open)(void *ctx, const struct xml_node *n);
	void (*close)(void *ctx, const struct xml_node *n);
};

struct xml_result {
	bool opened; /* false: a finding says why not */
	bool sound;  /* well-formed, right root, read to its end */
	mode_t mode; /* of the file, when opened */
};

/* Once, before any reading: memory of libxml2 is wiped when it is freed. */
void xml_setup(void);

/*
 * Read `file` by `g`. KSM_OK also with findings; KSM_ENOMEM and KSM_ESYS
 * when reading itself failed.
 */
enum ksm_err xml_read(const struct xml_grammar *g, struct xml_file *file,
    void *ctx, struct xml_result *result, struct ksm_fail *fail);
/* The same from memory. */
enum ksm_err xml_read_bytes(const struct xml_grammar *g, struct xml_file *file,
    const void *bytes, size_t len, void *ctx, struct xml_result *result,
    struct ksm_fail *fail);
/*
 * Open it as xml_read does, for what is no XML. -1: it cannot be, which is a
 * finding by then. Whoever calls closes it.
 */
int xml_open(struct xml_file *file, struct xml_result *result);

/* A finding in `file`; formats `expected`. Values are cut to 200 bytes. */
void xml_find(struct xml_file *file, enum conf_severity sev, int64_t line,
    const char *what, const char *value, const char *expected, ...)
    __attribute__((format(printf, 6, 7)));

#endif
