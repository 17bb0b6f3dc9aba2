#include "ksmpool/msg_ctl.h"

#include <stdlib.h>
#include <string.h>

static const char *const type_text[] = {
	[CTL_ITEM] = "item",
	[CTL_PROGRESS] = "progress",
	[CTL_RESULT] = "result",
	[CTL_ERROR] = "error",
};

/*
 * Bytes of the UTF-8 character that starts at `s`, 0 if none does (RFC 3629:
 * no overlong forms, no surrogates, nothing above U+10FFFF). `s` ends with a
 * NUL, so a character that is cut off fails at its missing byte.
 */
static size_t
utf8_length(const unsigned char *s)
{
	static const struct {
		unsigned char first, last; /* of the first byte */
		unsigned char low, high;   /* of the second */
		size_t length;
	} forms[] = {
		{ 0x01, 0x7f, 0, 0, 1 },
		{ 0xc2, 0xdf, 0x80, 0xbf, 2 },
		{ 0xe0, 0xe0, 0xa0, 0xbf, 3 },
		{ 0xe1, 0xec, 0x80, 0xbf, 3 },
		{ 0xed, 0xed, 0x80, 0x9f, 3 },
		{ 0xee, 0xef, 0x80, 0xbf, 3 },
		{ 0xf0, 0xf0, 0x90, 0xbf, 4 },
		{ 0xf1, 0xf3, 0x80, 0xbf, 4 },
		{ 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};

	for (size_t i = 0; i < nitems(forms); i++) {
		if (s[0] < forms[i].first || s[0] > forms[i].last)
			continue;
		if (forms[i].length == 1)
			return 1;
		if (s[1] < forms[i].low || s[1] > forms[i].high)
			return 0;
		for (size_t k = 2; k < forms[i].length; k++)
			if (s[k] < 0x80 || s[k] > 0xbf)
				return 0;
		return forms[i].length;
	}
	return 0;
}

/* At most `max` bytes, never half a character. */
static json_t *
text_cut(const char *text, size_t max)
{
	const unsigned char *s = (const unsigned char *)text;
	char buf[CTL_TEXT];
	size_t used = 0, n;

	while (*s != '\0') {
		n = utf8_length(s);
		if (used + (n == 0 ? 1 : n) > max)
			break;
		if (n == 0) {
			buf[used++] = '?';
			s++;
			continue;
		}
		memcpy(buf + used, s, n);
		used += n;
		s += n;
	}
	return json_stringn(buf, used);
}

json_t *
ctl_text(const char *text)
{
	return text_cut(text, CTL_TEXT);
}

/* Takes `root` over; NULL is fine. */
static char *
line_make(json_t *root)
{
	char *line = NULL;
	size_t len;

	if (root == NULL)
		return NULL;
	len = json_dumpb(root, NULL, 0, JSON_COMPACT);
	if (len == 0 || len + 1 > MSG_CTL_LINE)
		goto out;
	line = malloc(len + 2);
	if (line == NULL)
		goto out;
	if (json_dumpb(root, line, len, JSON_COMPACT) != len) {
		free(line);
		line = NULL;
		goto out;
	}
	line[len] = '\n';
	line[len + 1] = '\0';
out:
	json_decref(root);
	return line;
}

char *
ctl_request_encode(const struct ctl_request *r)
{
	json_t *args = r->args != NULL ? json_incref(r->args) : json_object();

	return line_make(json_pack("{s:i, s:s, s:o}", "v", MSG_CTL_VERSION,
	    "command", r->command, "args", args));
}

char *
ctl_reply_encode(const struct ctl_reply *r)
{
	const char *type;
	json_t *root = NULL;

	if (r->type < CTL_ITEM || r->type > CTL_ERROR)
		return NULL;
	type = type_text[r->type];
	switch (r->type) {
	case CTL_ITEM:
		if (!json_is_object(r->body))
			return NULL;
		root = json_pack("{s:i, s:s, s:O}", "v", MSG_CTL_VERSION,
		    "type", type, "item", r->body);
		break;
	case CTL_PROGRESS:
		root = json_pack("{s:i, s:s, s:I, s:I, s:o}", "v",
		    MSG_CTL_VERSION, "type", type, "done", (json_int_t)r->done,
		    "total", (json_int_t)r->total, "text",
		    text_cut(r->text, sizeof(r->text) - 1));
		break;
	case CTL_RESULT:
		if (!json_is_object(r->body))
			return NULL;
		root = json_pack("{s:i, s:s, s:i, s:O}", "v", MSG_CTL_VERSION,
		    "type", type, "exit", r->exit, "result", r->body);
		break;
	case CTL_ERROR:
		root = json_pack("{s:i, s:s, s:i, s:s, s:o, s:o}", "v",
		    MSG_CTL_VERSION, "type", type, "exit", r->exit, "code",
		    r->code, "text", text_cut(r->text, sizeof(r->text) - 1),
		    "hint", text_cut(r->hint, sizeof(r->hint) - 1));
		break;
	}
	return line_make(root);
}

/* One line, one object, our version. */
static enum ksm_err
line_open(const char *what, const char *line, size_t len, json_t **out,
    struct ksm_fail *fail)
{
	enum ksm_err err = KSM_OK;
	json_t *root = NULL, *version;
	json_error_t where;

	if (len > 0 && line[len - 1] == '\n')
		len--;
	if (len + 1 > MSG_CTL_LINE)
		return ksm_failf(fail, KSM_EPROTO, "%s: longer than %d bytes",
		    what, MSG_CTL_LINE);
	if (len == 0)
		return ksm_failf(fail, KSM_EPROTO, "%s: empty line", what);
	if (memchr(line, '\n', len) != NULL)
		return ksm_failf(
		    fail, KSM_EPROTO, "%s: more than one line", what);
	root = json_loadb(line, len, JSON_REJECT_DUPLICATES, &where);
	if (root == NULL) {
		err = ksm_failf(fail, KSM_EPROTO, "%s: not JSON: %s (byte %d)",
		    what, where.text, where.position);
		goto out;
	}
	if (!json_is_object(root)) {
		err =
		    ksm_failf(fail, KSM_EPROTO, "%s: not a JSON object", what);
		goto out;
	}
	/* First, so that a newer peer hears of the version, not of fields. */
	version = json_object_get(root, "v");
	if (!json_is_integer(version)) {
		err = ksm_failf(fail, KSM_EPROTO,
		    "%s: \"v\" is not a version number", what);
		goto out;
	}
	if (json_integer_value(version) != MSG_CTL_VERSION) {
		err = ksm_failf(fail, KSM_EPROTO,
		    "%s: version %" JSON_INTEGER_FORMAT
		    " is not known, only %d",
		    what, json_integer_value(version), MSG_CTL_VERSION);
		goto out;
	}
	*out = root;
	root = NULL;
out:
	json_decref(root);
	return err;
}

static enum ksm_err
text_put(const char *what, const char *field, const char *text, char *out,
    size_t size, struct ksm_fail *fail)
{
	size_t len = strlen(text);

	if (len >= size)
		return ksm_failf(fail, KSM_EPROTO,
		    "%s: \"%s\" is longer than %zu bytes", what, field,
		    size - 1);
	memcpy(out, text, len + 1);
	return KSM_OK;
}

enum ksm_err
ctl_request_decode(const char *line, size_t len, struct ctl_request *out,
    struct ksm_fail *fail)
{
	static const char what[] = "request";
	enum ksm_err err = KSM_OK;
	struct ctl_request tmp = { .args = NULL };
	const char *command;
	json_t *root = NULL, *args;
	json_error_t where;
	int version;

	err = line_open(what, line, len, &root, fail);
	if (err != KSM_OK)
		goto out;
	if (json_unpack_ex(root, &where, JSON_STRICT, "{s:i, s:s, s:o !}", "v",
		&version, "command", &command, "args", &args) == -1) {
		err = ksm_failf(fail, KSM_EPROTO, "%s: %s", what, where.text);
		goto out;
	}
	if (command[0] == '\0') {
		err = ksm_failf(
		    fail, KSM_EPROTO, "%s: \"command\" is empty", what);
		goto out;
	}
	err = text_put(
	    what, "command", command, tmp.command, sizeof(tmp.command), fail);
	if (err != KSM_OK)
		goto out;
	if (!json_is_object(args)) {
		err = ksm_failf(
		    fail, KSM_EPROTO, "%s: \"args\" is not an object", what);
		goto out;
	}
	tmp.args = json_incref(args);
	*out = tmp;
out:
	json_decref(root);
	return err;
}

static enum ksm_err
body_take(const char *field, json_t *body, struct ctl_reply *out,
    struct ksm_fail *fail)
{
	if (!json_is_object(body))
		return ksm_failf(
		    fail, KSM_EPROTO, "reply: \"%s\" is not an object", field);
	out->body = json_incref(body);
	return KSM_OK;
}

enum ksm_err
ctl_reply_decode(
    const char *line, size_t len, struct ctl_reply *out, struct ksm_fail *fail)
{
	static const char what[] = "reply";
	enum ksm_err err = KSM_OK;
	struct ctl_reply tmp = { .type = CTL_ERROR };
	const char *type, *code, *text = "", *hint = "";
	json_t *root = NULL, *body = NULL;
	json_error_t where;
	json_int_t status = 0, done = 0, total = 0;
	size_t kind;
	int version, bad = 0;

	err = line_open(what, line, len, &root, fail);
	if (err != KSM_OK)
		goto out;
	type = json_string_value(json_object_get(root, "type"));
	if (type == NULL) {
		err = ksm_failf(
		    fail, KSM_EPROTO, "%s: \"type\" is not a string", what);
		goto out;
	}
	for (kind = 0; kind < nitems(type_text); kind++)
		if (strcmp(type, type_text[kind]) == 0)
			break;
	if (kind == nitems(type_text)) {
		err = ksm_failf(fail, KSM_EPROTO,
		    "%s: type \"%.32s\" is not known", what, type);
		goto out;
	}
	tmp.type = (enum ctl_type)kind;
	switch (tmp.type) {
	case CTL_ITEM:
		bad = json_unpack_ex(root, &where, JSON_STRICT,
		    "{s:i, s:s, s:o !}", "v", &version, "type", &type, "item",
		    &body);
		break;
	case CTL_PROGRESS:
		bad = json_unpack_ex(root, &where, JSON_STRICT,
		    "{s:i, s:s, s:I, s:I, s:s !}", "v", &version, "type", &type,
		    "done", &done, "total", &total, "text", &text);
		break;
	case CTL_RESULT:
		bad = json_unpack_ex(root, &where, JSON_STRICT,
		    "{s:i, s:s, s:I, s:o !}", "v", &version, "type", &type,
		    "exit", &status, "result", &body);
		break;
	case CTL_ERROR:
		bad = json_unpack_ex(root, &where, JSON_STRICT,
		    "{s:i, s:s, s:I, s:s, s:s, s:s !}", "v", &version, "type",
		    &type, "exit", &status, "code", &code, "text", &text,
		    "hint", &hint);
		break;
	}
	if (bad == -1) {
		err = ksm_failf(fail, KSM_EPROTO, "%s: %s", what, where.text);
		goto out;
	}
	if (status < 0 || status > 255) {
		err = ksm_failf(fail, KSM_EPROTO,
		    "%s: \"exit\" %" JSON_INTEGER_FORMAT
		    " is not an exit status",
		    what, status);
		goto out;
	}
	if (done < 0 || total < 0) {
		err = ksm_failf(fail, KSM_EPROTO,
		    "%s: \"done\" and \"total\" are not counts", what);
		goto out;
	}
	tmp.exit = (int)status;
	tmp.done = done;
	tmp.total = total;
	err = text_put(what, "text", text, tmp.text, sizeof(tmp.text), fail);
	if (err == KSM_OK)
		err = text_put(
		    what, "hint", hint, tmp.hint, sizeof(tmp.hint), fail);
	if (err == KSM_OK && tmp.type == CTL_ERROR)
		err = text_put(
		    what, "code", code, tmp.code, sizeof(tmp.code), fail);
	if (err == KSM_OK && tmp.type == CTL_ITEM)
		err = body_take("item", body, &tmp, fail);
	if (err == KSM_OK && tmp.type == CTL_RESULT)
		err = body_take("result", body, &tmp, fail);
	if (err != KSM_OK)
		goto out;
	*out = tmp;
out:
	json_decref(root);
	return err;
}

void
ctl_request_clear(struct ctl_request *r)
{
	json_decref(r->args);
	r->args = NULL;
}

void
ctl_reply_clear(struct ctl_reply *r)
{
	json_decref(r->body);
	r->body = NULL;
}
