#include "session.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <p11-kit/p11-kit.h>
#include <p11-kit/uri.h>

#include "ckr.h"
#include "pin.h"
#include "text.h"

#define ROUNDS	       5
#define ROUND_PAUSE_MS 50 /* doubles */
#define PATH_SHOWN     72 /* bytes of a path in a message */

static enum ksm_err
say_failed(struct hsm_failed *f, const char *stage, CK_RV rv, const char *text)
{
	text_format(f->stage, sizeof(f->stage), "%s", stage);
	text_format(f->text, sizeof(f->text), "%s", text);
	f->ckr = (int64_t)rv;
	f->group = rv == CKR_OK ? CKRG_OTHER : ckr_group(rv);
	if (rv != CKR_OK)
		ckr_name(rv, f->name);
	return KSM_EREFUSED;
}

/* Whoever reads it sees the stage and the name of the code before it. */
static enum ksm_err
say_call(struct hsm_failed *f, const char *stage, const char *call, CK_RV rv)
{
	char text[MSG_TEXT];

	text_format(text, sizeof(text), "%s failed", call);
	return say_failed(f, stage, rv, text);
}

/* C_Login (PKCS#11 v3.0 5.6.8): what the code means for the operator. */
static const char *
pin_words(CK_RV rv)
{
	switch (rv) {
	case CKR_PIN_INCORRECT:
		return "the token refuses the PIN";
	case CKR_PIN_LOCKED:
		return "the token has locked its PIN";
	case CKR_PIN_EXPIRED:
		return "the PIN has expired";
	case CKR_PIN_INVALID:
	case CKR_PIN_LEN_RANGE:
		return "no PIN of this token looks like that";
	case CKR_USER_PIN_NOT_INITIALIZED:
		return "the token has no user PIN yet";
	default:
		return "the token does not let us log in with the PIN";
	}
}

/*
 * p11-kit repeats the path, twice at times, and what is long is cut further
 * on: the path once, its end if it is long, and the words without it.
 */
static void
module_text(const char *path, const char *message, char *out, size_t size)
{
	size_t len = strlen(path), used = 0;
	char words[MSG_TEXT] = "";
	bool cut = len > PATH_SHOWN;

	for (const char *s = message; *s != '\0';) {
		if (strncmp(s, path, len) == 0 &&
		    strncmp(s + len, ": ", 2) == 0)
			s += len + 2;
		else if (used + 1 < sizeof(words))
			words[used++] = *s++;
		else
			break;
	}
	words[used] = '\0';
	text_format(out, size, "%s%s: %s", cut ? "..." : "",
	    cut ? path + len - PATH_SHOWN : path, words);
}

static void
pause_ms(long ms)
{
	struct timespec ts = { .tv_sec = ms / 1000,
		.tv_nsec = ms % 1000 * 1000000L };

	while (nanosleep(&ts, &ts) == -1)
		;
}

/* ---- which token ------------------------------------------------------ */

struct wanted {
	const struct hsm_start *start;
	P11KitUri *uri; /* NULL: by label */
};

static bool
field_is(const unsigned char *field, size_t size, const char *want)
{
	size_t len = strlen(want);

	if (len > size || memcmp(field, want, len) != 0)
		return false;
	for (; len < size && field[len] != '\0'; len++)
		if (field[len] != ' ')
			return false;
	return true;
}

static bool
token_matches(const struct wanted *w, const CK_TOKEN_INFO *info)
{
	if (w->uri != NULL)
		return p11_kit_uri_match_token_info(w->uri, info) == 1;
	return field_is(info->label, sizeof(info->label), w->start->label) &&
	       (w->start->serial[0] == '\0' ||
		   field_is(info->serialNumber, sizeof(info->serialNumber),
		       w->start->serial));
}

static void
seen_add(char *seen, size_t size, const CK_TOKEN_INFO *info)
{
	char label[64], serial[32];
	size_t used = strlen(seen);

	/* SoftHSM always shows one more slot, for the next token */
	if ((info->flags & CKF_TOKEN_INITIALIZED) == 0)
		return;
	text_field(info->label, sizeof(info->label), label, sizeof(label));
	text_field(info->serialNumber, sizeof(info->serialNumber), serial,
	    sizeof(serial));
	text_format(seen + used, size - used, "%s\"%s\" (serial %s)",
	    used > 0 ? ", " : "", label, serial[0] != '\0' ? serial : "none");
}

/* *n tokens match; the first of them is in s->slot and s->token. */
static CK_RV
token_look(
    struct session *s, const struct wanted *w, int *n, char *seen, size_t size)
{
	CK_RV rv, last = CKR_OK;
	CK_SLOT_ID *slots = NULL;
	CK_ULONG count = 0;
	CK_TOKEN_INFO info;

	*n = 0;
	seen[0] = '\0';
	rv = s->fn->C_GetSlotList(CK_TRUE, NULL, &count);
	if (rv != CKR_OK || count == 0)
		return rv;
	if (count > 65536)
		return CKR_GENERAL_ERROR;
	count += 8; /* some appear between the two calls */
	slots = calloc(count, sizeof(*slots));
	if (slots == NULL)
		return CKR_HOST_MEMORY;
	rv = s->fn->C_GetSlotList(CK_TRUE, slots, &count);
	for (CK_ULONG i = 0; rv == CKR_OK && i < count; i++) {
		CK_RV one;

		memset(&info, 0, sizeof(info));
		one = s->fn->C_GetTokenInfo(slots[i], &info);
		if (one != CKR_OK) {
			last = one; /* one bad reader hides no good one */
			continue;
		}
		seen_add(seen, size, &info);
		if (!token_matches(w, &info))
			continue;
		if ((*n)++ == 0) {
			s->slot = slots[i];
			s->token = info;
		}
	}
	free(slots);
	return rv != CKR_OK ? rv : last;
}

static void
wanted_text(const struct wanted *w, char *out, size_t size)
{
	/* the query part of a URI may hold a PIN (RFC 7512, pin-value) */
	if (w->uri != NULL)
		text_format(out, size, "%.*s", (int)strcspn(w->start->uri, "?"),
		    w->start->uri);
	else if (w->start->serial[0] != '\0')
		text_format(out, size, "label \"%s\" and serial %s",
		    w->start->label, w->start->serial);
	else
		text_format(out, size, "label \"%s\"", w->start->label);
}

/* ---- C_Initialize ----------------------------------------------------- */

static CK_RV
initialize(struct session *s)
{
	CK_C_INITIALIZE_ARGS args;
	CK_RV rv;

	memset(&args, 0, sizeof(args));
	args.flags = CKF_OS_LOCKING_OK;
	if (s->start.reserved[0] != '\0')
		args.pReserved = s->start.reserved;
	rv = s->fn->C_Initialize(&args);
	if (rv == CKR_CANT_LOCK) {
		/* we have one thread, and can do without */
		args.flags = 0;
		rv = s->fn->C_Initialize(&args);
	}
	s->initialized = rv == CKR_OK;
	return rv == CKR_CRYPTOKI_ALREADY_INITIALIZED ? CKR_OK : rv;
}

static void
finalize(struct session *s)
{
	if (s->initialized)
		(void)s->fn->C_Finalize(NULL);
	s->initialized = false;
}

/*
 * Rounds of initialise and look, until one token is seen. A module that
 * cannot initialise is asked again as well: tpm2-pkcs11 says
 * CKR_GENERAL_ERROR while another process has its database locked.
 */
static enum ksm_err
token_find(struct session *s, const struct wanted *w, int *starts,
    struct hsm_failed *failed)
{
	char want[160], seen[MSG_TEXT], text[MSG_TEXT];
	const char *call = "C_Initialize";
	CK_RV rv = CKR_OK;
	long pause = ROUND_PAUSE_MS;
	int n = 0;

	seen[0] = '\0';
	wanted_text(w, want, sizeof(want));
	for (*starts = 1;; (*starts)++) {
		rv = initialize(s);
		call = "C_Initialize";
		if (rv == CKR_OK) {
			rv = token_look(s, w, &n, seen, sizeof(seen));
			call = "C_GetSlotList";
		}
		if (n == 1)
			return KSM_OK;
		if (n > 1) {
			text_format(text, sizeof(text),
			    "%d tokens match %s: %s; give the serial", n, want,
			    seen);
			(void)say_failed(failed, "ambiguous", CKR_OK, text);
			failed->group = CKRG_TOKEN;
			return KSM_EREFUSED;
		}
		if (*starts == ROUNDS)
			break;
		finalize(s);
		pause_ms(pause);
		pause *= 2;
	}
	if (strcmp(call, "C_Initialize") == 0)
		return say_call(failed, "initialize", call, rv);
	text_format(text, sizeof(text), "no token matches %s; seen: %s", want,
	    seen[0] != '\0' ? seen : "none");
	(void)say_failed(failed, "token", rv, text);
	failed->group = CKRG_TOKEN;
	return KSM_EREFUSED;
}

/* ---- login ------------------------------------------------------------ */

static enum ksm_err
login(struct session *s, int pin_fd, struct hsm_failed *failed)
{
	enum ksm_err err = KSM_OK;
	struct ksm_fail why;
	struct pin pin;
	CK_RV rv;

	err = pin_read(pin_fd, &pin, &why);
	if (err != KSM_OK) {
		(void)say_failed(failed, "pin", CKR_OK, why.text);
		failed->group = CKRG_PIN;
		goto out;
	}
	if (s->start.refused_pin[0] != '\0' &&
	    pin_print_matches(&pin, s->start.refused_pin)) {
		err = say_failed(failed, "pin-unchanged", CKR_OK,
		    "the PIN is still the one the token refused");
		failed->group = CKRG_PIN;
		text_format(failed->pin_print, sizeof(failed->pin_print), "%s",
		    s->start.refused_pin);
		goto out;
	}
	rv = s->fn->C_Login(s->handle, CKU_USER, pin.bytes, pin.len);
	if (rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN)
		goto out;
	if (!ckr_pin_refused(rv)) {
		err = say_call(failed, "login", "C_Login", rv);
		goto out;
	}
	err = say_failed(failed, "pin", rv, pin_words(rv));
	if (pin_print(&pin, NULL, failed->pin_print, &why) != KSM_OK)
		failed->pin_print[0] = '\0';
out:
	pin_wipe(&pin);
	return err;
}

static void
mechanisms_get(struct session *s)
{
	CK_ULONG n = 0;
	CK_RV rv;

	rv = s->fn->C_GetMechanismList(s->slot, NULL, &n);
	if (rv != CKR_OK || n == 0 || n > 65536)
		return;
	s->mechs = calloc(n, sizeof(*s->mechs));
	if (s->mechs == NULL)
		return;
	rv = s->fn->C_GetMechanismList(s->slot, s->mechs, &n);
	if (rv == CKR_OK) {
		s->nmechs = n;
		return;
	}
	free(s->mechs);
	s->mechs = NULL;
}

/* C_GetInfo (PKCS#11 3.0, 5.4.3): what the vendor calls it, and its version. */
static void
module_about(struct session *s, char *out, size_t size)
{
	CK_INFO buffer = { .flags = 0 }, *info = &buffer;
	char description[64];

	if (s->fn->C_GetInfo(info) != CKR_OK)
		return;
	text_field(info->libraryDescription, sizeof(info->libraryDescription),
	    description, sizeof(description));
	text_format(out, size, "%s %d.%d", description,
	    info->libraryVersion.major, info->libraryVersion.minor);
}

static void
hello_fill(struct session *s, int starts, struct hsm_hello *hello)
{
	const CK_TOKEN_INFO *t = &s->token;

	memset(hello, 0, sizeof(*hello));
	text_field(
	    t->label, sizeof(t->label), hello->label, sizeof(hello->label));
	text_field(t->serialNumber, sizeof(t->serialNumber), hello->serial,
	    sizeof(hello->serial));
	text_field(t->manufacturerID, sizeof(t->manufacturerID),
	    hello->manufacturer, sizeof(hello->manufacturer));
	text_field(
	    t->model, sizeof(t->model), hello->model, sizeof(hello->model));
	hello->starts = starts;
	module_about(s, hello->module, sizeof(hello->module));
}

enum ksm_err
session_open(struct session *s, const struct hsm_start *start, int pin_fd,
    struct hsm_hello *hello, struct hsm_failed *failed)
{
	enum ksm_err err = KSM_OK;
	struct wanted want = { .start = &s->start };
	char text[MSG_TEXT];
	const char *words;
	int parsed, starts = 0;
	CK_RV rv;

	memset(s, 0, sizeof(*s));
	memset(failed, 0, sizeof(*failed));
	s->handle = CK_INVALID_HANDLE;
	s->start = *start;

	if (start->uri[0] != '\0') {
		want.uri = p11_kit_uri_new();
		parsed = p11_kit_uri_parse(
		    start->uri, P11_KIT_URI_FOR_TOKEN, want.uri);
		if (parsed != P11_KIT_URI_OK) {
			text_format(text, sizeof(text), "%.*s: %s",
			    (int)strcspn(start->uri, "?"), start->uri,
			    p11_kit_uri_message(parsed));
			err = say_failed(failed, "token", CKR_OK, text);
			goto out;
		}
	} else if (start->label[0] == '\0') {
		err = say_failed(failed, "token", CKR_OK,
		    "neither a token label nor a URI was given");
		goto out;
	}
	s->fn = p11_kit_module_load(start->module, P11_KIT_MODULE_UNMANAGED);
	if (s->fn == NULL) {
		words = p11_kit_message();
		module_text(start->module,
		    words != NULL ? words : "cannot be loaded", text,
		    sizeof(text));
		err = say_failed(failed, "module", CKR_OK, text);
		goto out;
	}
	err = token_find(s, &want, &starts, failed);
	if (err != KSM_OK)
		goto out;
	rv = s->fn->C_OpenSession(s->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION,
	    NULL, NULL, &s->handle);
	if (rv != CKR_OK) {
		s->handle = CK_INVALID_HANDLE;
		err = say_call(failed, "session", "C_OpenSession", rv);
		goto out;
	}
	err = login(s, pin_fd, failed);
	if (err != KSM_OK)
		goto out;
	mechanisms_get(s);
	hello_fill(s, starts, hello);
out:
	p11_kit_uri_free(want.uri);
	return err;
}

void
session_close(struct session *s)
{
	if (s->fn != NULL && s->handle != CK_INVALID_HANDLE)
		(void)s->fn->C_CloseSession(s->handle);
	if (s->fn != NULL)
		finalize(s);
	free(s->mechs);
	memset(s, 0, sizeof(*s));
	s->handle = CK_INVALID_HANDLE;
}

bool
session_has(const struct session *s, CK_MECHANISM_TYPE mechanism)
{
	if (s->mechs == NULL)
		return true;
	for (CK_ULONG i = 0; i < s->nmechs; i++)
		if (s->mechs[i] == mechanism)
			return true;
	return false;
}

CK_RV
session_check(struct session *s)
{
	CK_TOKEN_INFO now;
	CK_RV rv;

	memset(&now, 0, sizeof(now));
	rv = s->fn->C_GetTokenInfo(s->slot, &now);
	if (rv != CKR_OK)
		return rv;
	if (memcmp(now.label, s->token.label, sizeof(now.label)) != 0 ||
	    memcmp(now.serialNumber, s->token.serialNumber,
		sizeof(now.serialNumber)) != 0)
		return CKR_TOKEN_NOT_RECOGNIZED;
	return CKR_OK;
}
