/*
 * ksmfake.so - a PKCS#11 module that misbehaves on command.
 *
 * For tests only. Keys are real (OpenSSL), and stored in the clear. It knows
 * RSA, P-256, P-384, Ed25519 and Ed448, and only the calls that a key
 * generator needs; the others are NULL in its function list. Everything is
 * steered by the environment, read once when the module is loaded:
 *
 * KSMFAKE_STORE=PATH     objects live in this file, one a line, so that
 *                        several processes see the same token (PATH.lock is
 *                        locked around each change). Default: memory only.
 * KSMFAKE_LABEL=TEXT     token label, default "fake"
 * KSMFAKE_SERIAL=TEXT    serial, default "0001"
 * KSMFAKE_PIN=TEXT       the right PIN, default "1234"
 * KSMFAKE_TOKENS=N       N tokens with this label; serials get "-2", ...
 * KSMFAKE_ABSENT=K       the token is not seen in the first K rounds of
 *                        C_Initialize of a process
 * KSMFAKE_GONE=PATH      while this file exists no token is seen, and
 *                        calls in open sessions say CKR_DEVICE_REMOVED
 * KSMFAKE_LOGINS=PATH    every C_Login appends one byte: its size counts
 *                        tries; after 3 wrong ones CKR_PIN_LOCKED
 * KSMFAKE_CAPACITY=N     objects that fit; then CKR_DEVICE_MEMORY
 * KSMFAKE_DELAY_MS=N     each key pair takes so long
 * KSMFAKE_PRINT=1        chatter on standard output and standard error
 * KSMFAKE_NO_MECH=LIST   mechanisms it does not have: "0x40,0x1055"
 * KSMFAKE_CURVES=FORM    "oid" or "name": the only form of Edwards curves
 *                        taken; the other is CKR_CURVE_NOT_SUPPORTED
 * KSMFAKE_WHOLE=1        C_GetAttributeValue fills nothing when one
 *                        attribute is bad
 * KSMFAKE_LIE=LIST       how C_GenerateKeyPair (CKR_OK) cheats; each item
 *                        may end in @N: only the N-th pair of the process
 *     wrong-id           another CKA_ID on both halves
 *     short-id           ids cut to 8 bytes
 *     wrong-label        another label
 *     wrong-size         RSA: half the bits asked for
 *     not-sensitive, extractable, not-private, not-token
 *     other-public       the public half of another pair
 *     bad-signature      signatures have a flipped bit
 *     no-public          only the private half is stored
 *     no-private         only the public half is stored
 *     half-full          (with CAPACITY) a public half is left behind
 *     half-no            a public half is left behind by a refusal (FAULT
 *                        generate:N:ckr=...)
 *     empty              every search finds nothing, with CKR_OK
 * KSMFAKE_FAULT=LIST     items CALL:WHEN:WHAT. CALL: initialize finalize
 *                        slots tokeninfo opensession login mechanisms
 *                        generate sign signinit find getattr destroy.
 *                        WHEN: N the N-th call of the process, N+ from
 *                        then on, * always. WHAT:
 *     hang=S             sleep S seconds, then go on
 *     ckr=CODE           return this code (0x30), nothing done
 *     ckr-after=CODE     do it, then return this code
 *     abort segv exit    die before
 *     abort-after ...    die after it is done
 *     abort-between ...  generate: die after the first half is stored
 * KSMFAKE_MUTE=PATH      while this file exists every C_GetAttributeValue is
 *                        KSMFAKE_MUTE_CKR, CKR_GENERAL_ERROR by default
 * KSMFAKE_REFUSES=TYPE   a template that names this attribute (0x105) is
 *                        CKR_ATTRIBUTE_TYPE_INVALID
 * KSMFAKE_TEMPLATES=PATH every C_GenerateKeyPair appends its templates, an
 *                        attribute a line: "public 0x106=00"
 * KSMFAKE_CALLS=PATH     C_Finalize writes how often each call was made, one
 *                        a line: "getattr 12"; find is C_FindObjectsInit
 * KSMFAKE_HEALED=PATH    faults end with the process: the first one that
 *                        strikes makes this file, and a process that finds
 *                        it when it loads the module has no faults
 *
 * Example: hang 3 s in the second pair, and crash in the fifth:
 *   KSMFAKE_FAULT=generate:2:hang=3,generate:5:segv-between
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <p11-kit/pkcs11.h>

#define nitems(a)	(sizeof(a) / sizeof((a)[0]))
#define BLOB_MAX	4096
#define ID_MAX		128
#define LINE_MAX_	12288
#define SESSION_OBJECTS 1000000000UL
#define NO_CLASS	99 /* SoftHSM's objects that were never finished */

enum call {
	C_INITIALIZE,
	C_FINALIZE,
	C_SLOTS,
	C_TOKENINFO,
	C_OPENSESSION,
	C_LOGIN,
	C_MECHANISMS,
	C_GENERATE,
	C_SIGNINIT,
	C_SIGN,
	C_FIND,
	C_GETATTR,
	C_DESTROY,
	C__CALLS
};

static const char *const call_names[C__CALLS] = { "initialize", "finalize",
	"slots", "tokeninfo", "opensession", "login", "mechanisms", "generate",
	"signinit", "sign", "find", "getattr", "destroy" };

enum moment { BEFORE, BETWEEN, AFTER };

struct object {
	CK_OBJECT_HANDLE handle;
	CK_ULONG class, type;
	bool token, private, sensitive, extractable, sign, verify, bad_sig;
	uint8_t id[ID_MAX], label[ID_MAX];
	size_t idlen, labellen;
	uint8_t *der; /* SubjectPublicKeyInfo or PKCS #8 */
	size_t derlen;
};

static struct {
	bool loaded, initialized, logged_in, healthy;
	int rounds; /* of C_Initialize */
	long calls[C__CALLS];
	CK_SESSION_HANDLE sessions; /* last one given */
	struct object *objects;
	size_t n;
	struct stat seen; /* of the store, when it was read last */
	/* the running search and signature */
	CK_OBJECT_HANDLE *found;
	size_t nfound, foundpos;
	bool finding, signing;
	CK_OBJECT_HANDLE sign_key;
	CK_MECHANISM_TYPE sign_mech;
} fake;

static const char *
knob(const char *name)
{
	const char *v = getenv(name);

	return v != NULL && v[0] != '\0' ? v : NULL;
}

static long
knob_long(const char *name, long otherwise)
{
	const char *v = knob(name);

	return v != NULL ? strtol(v, NULL, 0) : otherwise;
}

static void
sleep_ms(long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000L };

	while (nanosleep(&ts, &ts) == -1 && errno == EINTR)
		;
}

static void
chatter(const char *what)
{
	if (knob("KSMFAKE_PRINT") == NULL)
		return;
	(void)printf("ksmfake: %s on standard output\n", what);
	(void)fflush(stdout);
	(void)fprintf(stderr, "ksmfake: %s on standard error\n", what);
}

/* Is `item`, or "item@N" with the N-th pair, in KSMFAKE_LIE? */
static bool
lies(const char *item)
{
	const char *list = knob("KSMFAKE_LIE");
	size_t len = strlen(item), n;

	while (list != NULL && *list != '\0') {
		n = strcspn(list, ",");
		if (n == len && strncmp(list, item, len) == 0)
			return true;
		if (n > len && strncmp(list, item, len) == 0 &&
		    list[len] == '@' &&
		    strtol(list + len + 1, NULL, 10) == fake.calls[C_GENERATE])
			return true;
		list += n + (list[n] == ',');
	}
	return false;
}

static void
struck(void)
{
	const char *path = knob("KSMFAKE_HEALED");
	int fd;

	if (path == NULL)
		return;
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	if (fd != -1)
		(void)close(fd);
}

static void
die(const char *how)
{
	struck();
	if (strncmp(how, "abort", 5) == 0)
		abort();
	if (strncmp(how, "segv", 4) == 0) {
		(void)signal(SIGSEGV, SIG_DFL); /* sanitizers catch it */
		(void)raise(SIGSEGV);
	}
	_exit(97);
}

/*
 * The faults of this call at this moment. True: *rv is to be returned. The
 * counter was moved by the caller.
 */
static bool
fault(enum call call, enum moment moment, CK_RV *rv)
{
	static const char *const tails[] = { "", "-between", "-after" };
	char copy[1024], what[64], tail[16];
	char *save = NULL;
	long nth;

	if (knob("KSMFAKE_FAULT") == NULL || fake.healthy)
		return false;
	(void)snprintf(copy, sizeof(copy), "%s", knob("KSMFAKE_FAULT"));
	for (char *item = strtok_r(copy, ",", &save); item != NULL;
	     item = strtok_r(NULL, ",", &save)) {
		char *when = strchr(item, ':'), *end;
		char *act = when != NULL ? strchr(when + 1, ':') : NULL;
		size_t len;

		if (act == NULL)
			continue;
		*when++ = '\0';
		*act++ = '\0';
		if (strcmp(item, call_names[call]) != 0)
			continue;
		nth = strtol(when, &end, 10);
		if (strcmp(when, "*") != 0 &&
		    (*end == '+' ? fake.calls[call] < nth
				 : fake.calls[call] != nth))
			continue;
		len = strcspn(act, "=");
		if (len >= sizeof(what))
			continue;
		memcpy(what, act, len);
		what[len] = '\0';
		(void)snprintf(tail, sizeof(tail), "%s", tails[moment]);
		if (moment == BEFORE && strcmp(what, "hang") == 0) {
			struck();
			sleep_ms(1000 * strtol(act + len + 1, NULL, 10));
		} else if (strncmp(what, "ckr", 3) == 0 &&
			   strcmp(what + 3, tail) == 0 && act[len] == '=') {
			struck();
			*rv = strtoul(act + len + 1, NULL, 0);
			return true;
		} else {
			static const char *const deaths[] = { "abort", "segv",
				"exit" };

			for (size_t i = 0; i < nitems(deaths); i++) {
				size_t n = strlen(deaths[i]);

				if (strncmp(what, deaths[i], n) == 0 &&
				    strcmp(what + n, tail) == 0)
					die(what);
			}
		}
	}
	return false;
}

/* ---- the store -------------------------------------------------------- */

static void
object_free(struct object *o)
{
	free(o->der);
	memset(o, 0, sizeof(*o));
}

static struct object *
object_add(const struct object *o)
{
	struct object *more;

	more = reallocarray(fake.objects, fake.n + 1, sizeof(*more));
	if (more == NULL)
		abort();
	fake.objects = more;
	fake.objects[fake.n] = *o;
	return &fake.objects[fake.n++];
}

static struct object *
object_find(CK_OBJECT_HANDLE handle)
{
	for (size_t i = 0; i < fake.n; i++)
		if (fake.objects[i].handle == handle)
			return &fake.objects[i];
	return NULL;
}

static void
hex_put(FILE *f, const uint8_t *p, size_t n)
{
	(void)fputs(n == 0 ? " -" : " ", f);
	for (size_t i = 0; i < n; i++)
		(void)fprintf(f, "%02x", p[i]);
}

static size_t
hex_get(const char *text, uint8_t *out, size_t size)
{
	size_t n = 0;
	unsigned int byte;

	while (n < size && text[0] != '-' && text[0] != '\0' &&
	       sscanf(text, "%2x", &byte) == 1) {
		out[n++] = (uint8_t)byte;
		text += 2;
	}
	return n;
}

static void
object_write(FILE *f, const struct object *o)
{
	(void)fprintf(f, "%lu %lu %lu %d%d%d%d%d%d%d", o->handle, o->class,
	    o->type, o->token, o->private, o->sensitive, o->extractable,
	    o->sign, o->verify, o->bad_sig);
	hex_put(f, o->id, o->idlen);
	hex_put(f, o->label, o->labellen);
	hex_put(f, o->der, o->derlen);
	(void)fputc('\n', f);
}

static bool
object_parse(const char *line, struct object *o)
{
	static char id[2 * ID_MAX + 2], label[2 * ID_MAX + 2];
	static char der[2 * BLOB_MAX + 2];
	static uint8_t raw[BLOB_MAX];
	char flags[16];

	memset(o, 0, sizeof(*o));
	if (sscanf(line, "%lu %lu %lu %15s %257s %257s %8193s", &o->handle,
		&o->class, &o->type, flags, id, label, der) != 7 ||
	    strlen(flags) != 7)
		return false;
	o->token = flags[0] == '1';
	o->private = flags[1] == '1';
	o->sensitive = flags[2] == '1';
	o->extractable = flags[3] == '1';
	o->sign = flags[4] == '1';
	o->verify = flags[5] == '1';
	o->bad_sig = flags[6] == '1';
	o->idlen = hex_get(id, o->id, sizeof(o->id));
	o->labellen = hex_get(label, o->label, sizeof(o->label));
	o->derlen = hex_get(der, raw, sizeof(raw));
	o->der = malloc(o->derlen + 1);
	if (o->der == NULL)
		abort();
	memcpy(o->der, raw, o->derlen);
	return true;
}

static int
store_lock(void)
{
	char path[1024];
	int fd;

	if (knob("KSMFAKE_STORE") == NULL)
		return -1;
	(void)snprintf(path, sizeof(path), "%s.lock", knob("KSMFAKE_STORE"));
	fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	if (fd != -1)
		(void)flock(fd, LOCK_EX);
	return fd;
}

static void
store_unlock(int fd)
{
	if (fd != -1)
		(void)close(fd);
}

/* Lives in the file: also what a line there says is no token object. */
static bool
stored(const struct object *o)
{
	return o->handle < SESSION_OBJECTS;
}

/* Session objects stay, token objects come anew from the file. */
static void
store_read(void)
{
	static char line[LINE_MAX_];
	struct object o;
	struct stat st;
	size_t keep = 0;
	FILE *f;

	if (knob("KSMFAKE_STORE") == NULL)
		return;
	memset(&st, 0, sizeof(st));
	f = fopen(knob("KSMFAKE_STORE"), "re");
	if (f != NULL)
		(void)fstat(fileno(f), &st);
	if (st.st_size == fake.seen.st_size &&
	    st.st_mtim.tv_sec == fake.seen.st_mtim.tv_sec &&
	    st.st_mtim.tv_nsec == fake.seen.st_mtim.tv_nsec) {
		if (f != NULL)
			(void)fclose(f);
		return;
	}
	fake.seen = st;
	for (size_t i = 0; i < fake.n; i++) {
		if (stored(&fake.objects[i]))
			object_free(&fake.objects[i]);
		else
			fake.objects[keep++] = fake.objects[i];
	}
	fake.n = keep;
	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (strchr(line, '\n') != NULL && object_parse(line, &o))
			(void)object_add(&o);
	if (f != NULL)
		(void)fclose(f);
}

/* All token objects, after a removal; a killed writer leaves the old file. */
static void
store_rewrite(void)
{
	char path[1024];
	FILE *f;

	if (knob("KSMFAKE_STORE") == NULL)
		return;
	(void)snprintf(path, sizeof(path), "%s.new", knob("KSMFAKE_STORE"));
	f = fopen(path, "we");
	if (f == NULL)
		return;
	for (size_t i = 0; i < fake.n; i++)
		if (stored(&fake.objects[i]))
			object_write(f, &fake.objects[i]);
	(void)fclose(f);
	(void)rename(path, knob("KSMFAKE_STORE"));
	(void)stat(knob("KSMFAKE_STORE"), &fake.seen);
}

/* Called with the lock held, after store_read. */
static struct object *
store_add(struct object *o)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f;
	int fd;

	/* session objects have a range of their own: other processes do not
	   see them, and would give the number again */
	o->handle = o->token ? 1 : SESSION_OBJECTS;
	for (size_t i = 0; i < fake.n; i++)
		if (stored(&fake.objects[i]) == o->token &&
		    fake.objects[i].handle >= o->handle)
			o->handle = fake.objects[i].handle + 1;
	if (o->token && knob("KSMFAKE_STORE") != NULL) {
		f = open_memstream(&text, &len);
		if (f == NULL)
			abort();
		object_write(f, o);
		(void)fclose(f);
		fd = open(knob("KSMFAKE_STORE"),
		    O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
		if (fd == -1 || write(fd, text, len) != (ssize_t)len)
			(void)fprintf(stderr, "ksmfake: cannot store: %s\n",
			    strerror(errno));
		if (fd != -1) {
			(void)fstat(fd, &fake.seen);
			(void)close(fd);
		}
		free(text);
	}
	return object_add(o);
}

static size_t
store_count(void)
{
	size_t n = 0;

	for (size_t i = 0; i < fake.n; i++)
		n += fake.objects[i].token;
	return n;
}

/* ---- general ---------------------------------------------------------- */

static bool
gone(void)
{
	return (knob("KSMFAKE_GONE") != NULL &&
		   access(knob("KSMFAKE_GONE"), F_OK) == 0) ||
	       fake.rounds <= knob_long("KSMFAKE_ABSENT", 0);
}

static CK_RV
ready(CK_SESSION_HANDLE session)
{
	if (!fake.initialized)
		return CKR_CRYPTOKI_NOT_INITIALIZED;
	if (session == 0 || session > fake.sessions)
		return CKR_SESSION_HANDLE_INVALID;
	if (gone())
		return CKR_DEVICE_REMOVED;
	return CKR_OK;
}

#define ENTER(call)                                \
	do {                                       \
		CK_RV forced_;                     \
		fake.calls[call]++;                \
		if (fault(call, BEFORE, &forced_)) \
			return forced_;            \
	} while (0)

static void
pad(unsigned char *field, size_t size, const char *text)
{
	size_t n = strlen(text);

	memset(field, ' ', size);
	memcpy(field, text, n < size ? n : size);
}

static CK_RV
f_initialize(void *args)
{
	(void)args;
	ENTER(C_INITIALIZE);
	chatter("C_Initialize");
	if (fake.initialized)
		return CKR_CRYPTOKI_ALREADY_INITIALIZED;
	fake.initialized = true;
	fake.rounds++;
	return CKR_OK;
}

static void
calls_write(void)
{
	FILE *f;

	if (knob("KSMFAKE_CALLS") == NULL)
		return;
	f = fopen(knob("KSMFAKE_CALLS"), "we");
	for (int i = 0; f != NULL && i < C__CALLS; i++)
		(void)fprintf(f, "%s %ld\n", call_names[i], fake.calls[i]);
	if (f != NULL)
		(void)fclose(f);
}

static CK_RV
f_finalize(void *reserved)
{
	(void)reserved;
	ENTER(C_FINALIZE);
	calls_write();
	if (!fake.initialized)
		return CKR_CRYPTOKI_NOT_INITIALIZED;
	fake.initialized = fake.logged_in = false;
	fake.sessions = 0;
	return CKR_OK;
}

static CK_RV
f_get_info(CK_INFO *info)
{
	memset(info, 0, sizeof(*info));
	info->cryptokiVersion.major = 2;
	info->cryptokiVersion.minor = 40;
	pad(info->manufacturerID, sizeof(info->manufacturerID), "ksmpool");
	pad(info->libraryDescription, sizeof(info->libraryDescription),
	    "ksmpool fake module");
	info->libraryVersion.major = 1;
	return CKR_OK;
}

static CK_RV
f_slot_list(unsigned char present, CK_SLOT_ID *slots, CK_ULONG *count)
{
	CK_ULONG n, room = *count;

	(void)present;
	ENTER(C_SLOTS);
	if (!fake.initialized)
		return CKR_CRYPTOKI_NOT_INITIALIZED;
	n = gone() ? 0 : (CK_ULONG)knob_long("KSMFAKE_TOKENS", 1);
	*count = n;
	if (slots == NULL)
		return CKR_OK;
	if (room < n)
		return CKR_BUFFER_TOO_SMALL;
	for (CK_ULONG i = 0; i < n; i++)
		slots[i] = 7 + i;
	return CKR_OK;
}

static CK_RV
f_slot_info(CK_SLOT_ID slot, CK_SLOT_INFO *info)
{
	(void)slot;
	memset(info, 0, sizeof(*info));
	pad(info->slotDescription, sizeof(info->slotDescription), "fake slot");
	pad(info->manufacturerID, sizeof(info->manufacturerID), "ksmpool");
	info->flags = gone() ? 0 : CKF_TOKEN_PRESENT;
	return CKR_OK;
}

static CK_RV
f_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
	const char *serial = knob("KSMFAKE_SERIAL");
	char text[32];

	ENTER(C_TOKENINFO);
	if (!fake.initialized)
		return CKR_CRYPTOKI_NOT_INITIALIZED;
	if (slot < 7 || slot >= 7 + (CK_ULONG)knob_long("KSMFAKE_TOKENS", 1))
		return CKR_SLOT_ID_INVALID;
	if (gone())
		return CKR_TOKEN_NOT_PRESENT;
	memset(info, 0, sizeof(*info));
	pad(info->label, sizeof(info->label),
	    knob("KSMFAKE_LABEL") != NULL ? knob("KSMFAKE_LABEL") : "fake");
	(void)snprintf(
	    text, sizeof(text), "%.20s", serial != NULL ? serial : "0001");
	if (slot > 7)
		(void)snprintf(text + strlen(text), 8, "-%d", (int)(slot - 6));
	pad(info->serialNumber, sizeof(info->serialNumber), text);
	pad(info->manufacturerID, sizeof(info->manufacturerID), "ksmpool");
	pad(info->model, sizeof(info->model), "fake");
	pad(info->utcTime, sizeof(info->utcTime), "");
	info->flags = CKF_RNG | CKF_LOGIN_REQUIRED | CKF_USER_PIN_INITIALIZED |
		      CKF_TOKEN_INITIALIZED;
	info->ulMaxPinLen = 255;
	info->ulMinPinLen = 1;
	info->ulMaxSessionCount = info->ulMaxRwSessionCount = 0;
	info->ulSessionCount = info->ulRwSessionCount =
	    CK_UNAVAILABLE_INFORMATION;
	info->ulTotalPublicMemory = info->ulFreePublicMemory =
	    CK_UNAVAILABLE_INFORMATION;
	info->ulTotalPrivateMemory = info->ulFreePrivateMemory =
	    CK_UNAVAILABLE_INFORMATION;
	return CKR_OK;
}

static const CK_MECHANISM_TYPE mechanisms[] = { CKM_RSA_PKCS_KEY_PAIR_GEN,
	CKM_RSA_PKCS, CKM_SHA256_RSA_PKCS, CKM_EC_KEY_PAIR_GEN, CKM_ECDSA,
	CKM_EC_EDWARDS_KEY_PAIR_GEN, CKM_EDDSA };

static bool
has_mechanism(CK_MECHANISM_TYPE m)
{
	const char *list = knob("KSMFAKE_NO_MECH");
	char *end;

	while (list != NULL && *list != '\0') {
		if (strtoul(list, &end, 0) == m)
			return false;
		list = *end == ',' ? end + 1 : NULL;
	}
	for (size_t i = 0; i < nitems(mechanisms); i++)
		if (mechanisms[i] == m)
			return true;
	return false;
}

static CK_RV
f_mechanism_list(CK_SLOT_ID slot, CK_MECHANISM_TYPE *list, CK_ULONG *count)
{
	CK_ULONG n = 0, room = *count;

	(void)slot;
	ENTER(C_MECHANISMS);
	for (size_t i = 0; i < nitems(mechanisms); i++) {
		if (!has_mechanism(mechanisms[i]))
			continue;
		if (list != NULL && n < room)
			list[n] = mechanisms[i];
		n++;
	}
	*count = n;
	return list != NULL && room < n ? CKR_BUFFER_TOO_SMALL : CKR_OK;
}

static CK_RV
f_mechanism_info(
    CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info)
{
	(void)slot;
	if (!has_mechanism(type))
		return CKR_MECHANISM_INVALID;
	memset(info, 0, sizeof(*info));
	info->ulMinKeySize = 256;
	info->ulMaxKeySize = 4096;
	return CKR_OK;
}

static CK_RV
f_open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *app, CK_NOTIFY notify,
    CK_SESSION_HANDLE *session)
{
	(void)slot;
	(void)flags;
	(void)app;
	(void)notify;
	ENTER(C_OPENSESSION);
	if (!fake.initialized)
		return CKR_CRYPTOKI_NOT_INITIALIZED;
	if (gone())
		return CKR_TOKEN_NOT_PRESENT;
	*session = ++fake.sessions;
	return CKR_OK;
}

static CK_RV
f_close_session(CK_SESSION_HANDLE session)
{
	(void)session;
	return CKR_OK;
}

static CK_RV
f_close_all(CK_SLOT_ID slot)
{
	(void)slot;
	fake.sessions = 0;
	fake.logged_in = false;
	return CKR_OK;
}

static CK_RV
f_session_info(CK_SESSION_HANDLE session, CK_SESSION_INFO *info)
{
	CK_RV rv = ready(session);

	memset(info, 0, sizeof(*info));
	info->slotID = 7;
	info->state =
	    fake.logged_in ? CKS_RW_USER_FUNCTIONS : CKS_RW_PUBLIC_SESSION;
	return rv;
}

/* How often C_Login was tried with a wrong PIN, over all processes. */
static off_t
logins_note(bool wrong)
{
	struct stat st;
	int fd;

	if (knob("KSMFAKE_LOGINS") == NULL)
		return 0;
	memset(&st, 0, sizeof(st));
	fd = open(knob("KSMFAKE_LOGINS"),
	    O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
	if (fd == -1)
		return 0;
	if (write(fd, wrong ? "w" : "r", 1) == 1)
		(void)fstat(fd, &st);
	(void)close(fd);
	return st.st_size;
}

static CK_RV
f_login(CK_SESSION_HANDLE session, CK_USER_TYPE user, unsigned char *pin,
    CK_ULONG len)
{
	const char *right = knob("KSMFAKE_PIN");
	bool wrong;
	off_t tries;
	CK_RV rv;

	(void)user;
	ENTER(C_LOGIN);
	chatter("C_Login");
	rv = ready(session);
	if (rv != CKR_OK)
		return rv;
	if (fake.logged_in)
		return CKR_USER_ALREADY_LOGGED_IN;
	if (right == NULL)
		right = "1234";
	wrong = len != strlen(right) || memcmp(pin, right, len) != 0;
	tries = logins_note(wrong);
	if (wrong)
		return tries >= 3 ? CKR_PIN_LOCKED : CKR_PIN_INCORRECT;
	fake.logged_in = true;
	return CKR_OK;
}

static CK_RV
f_logout(CK_SESSION_HANDLE session)
{
	(void)session;
	fake.logged_in = false;
	return CKR_OK;
}

/* ---- objects ---------------------------------------------------------- */

static EVP_PKEY *
object_key(const struct object *o)
{
	const uint8_t *p = o->der;

	return o->class == CKO_PRIVATE_KEY
		   ? d2i_AutoPrivateKey(NULL, &p, (long)o->derlen)
		   : d2i_PUBKEY(NULL, &p, (long)o->derlen);
}

static size_t
bn_get(const struct object *o, const char *name, uint8_t *out)
{
	EVP_PKEY *key = object_key(o);
	BIGNUM *bn = NULL;
	size_t n = 0;

	if (key != NULL && EVP_PKEY_get_bn_param(key, name, &bn) == 1)
		n = (size_t)BN_bn2bin(bn, out);
	BN_free(bn);
	EVP_PKEY_free(key);
	return n;
}

/* CKA_EC_POINT: a DER OCTET STRING around the point. */
static size_t
point_get(const struct object *o, uint8_t *out)
{
	EVP_PKEY *key = object_key(o);
	uint8_t raw[256];
	size_t n = 0, head;

	if (key == NULL)
		return 0;
	if (o->type == CKK_EC_EDWARDS) {
		n = sizeof(raw);
		if (EVP_PKEY_get_raw_public_key(key, raw, &n) != 1)
			n = 0;
	} else if (EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY,
		       raw, sizeof(raw), &n) != 1) {
		n = 0;
	}
	EVP_PKEY_free(key);
	if (n == 0 || n > 255)
		return 0;
	out[0] = 0x04;
	head = n < 128 ? 2 : 3;
	if (head == 3)
		out[1] = 0x81;
	out[head - 1] = (uint8_t)n;
	memcpy(out + head, raw, n);
	return head + n;
}

static CK_RV
attr_get(const struct object *o, CK_ATTRIBUTE *a)
{
	bool private = o->class == CKO_PRIVATE_KEY;
	bool rsa = o->type == CKK_RSA;
	uint8_t buf[1024];
	CK_BBOOL flag = CK_FALSE;
	const void *from = &flag;
	size_t len = sizeof(flag);
	CK_RV rv = CKR_OK;

	switch (a->type) {
	case CKA_CLASS:
		from = &o->class;
		len = sizeof(o->class);
		break;
	case CKA_KEY_TYPE:
		from = &o->type;
		len = sizeof(o->type);
		break;
	case CKA_TOKEN:
		flag = o->token;
		break;
	case CKA_PRIVATE:
		flag = o->private;
		break;
	case CKA_SENSITIVE:
		flag = o->sensitive;
		if (!private)
			rv = CKR_ATTRIBUTE_TYPE_INVALID;
		break;
	case CKA_EXTRACTABLE:
		flag = o->extractable;
		if (!private)
			rv = CKR_ATTRIBUTE_TYPE_INVALID;
		break;
	case CKA_SIGN:
		flag = o->sign;
		break;
	case CKA_VERIFY:
		flag = o->verify;
		break;
	case CKA_ID:
		from = o->id;
		len = o->idlen;
		break;
	case CKA_LABEL:
		from = o->label;
		len = o->labellen;
		break;
	case CKA_MODULUS:
		from = buf;
		len = rsa ? bn_get(o, OSSL_PKEY_PARAM_RSA_N, buf) : 0;
		if (!rsa)
			rv = CKR_ATTRIBUTE_TYPE_INVALID;
		break;
	case CKA_PUBLIC_EXPONENT:
		from = buf;
		len = rsa ? bn_get(o, OSSL_PKEY_PARAM_RSA_E, buf) : 0;
		if (!rsa)
			rv = CKR_ATTRIBUTE_TYPE_INVALID;
		break;
	case CKA_EC_POINT:
		from = buf;
		len = !rsa && !private ? point_get(o, buf) : 0;
		if (rsa || private)
			rv = CKR_ATTRIBUTE_TYPE_INVALID;
		break;
	default:
		rv = CKR_ATTRIBUTE_TYPE_INVALID;
	}
	if (rv == CKR_OK && a->pValue != NULL && a->ulValueLen < len)
		rv = CKR_BUFFER_TOO_SMALL;
	if (rv != CKR_OK) {
		a->ulValueLen = CK_UNAVAILABLE_INFORMATION;
		return rv;
	}
	if (a->pValue != NULL)
		memcpy(a->pValue, from, len);
	a->ulValueLen = len;
	return CKR_OK;
}

static CK_RV
f_get_attribute(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
    CK_ATTRIBUTE *attrs, CK_ULONG n)
{
	const struct object *o;
	CK_RV rv, bad = CKR_OK;

	ENTER(C_GETATTR);
	rv = ready(session);
	if (rv != CKR_OK)
		return rv;
	if (knob("KSMFAKE_MUTE") != NULL &&
	    access(knob("KSMFAKE_MUTE"), F_OK) == 0)
		return (CK_RV)knob_long("KSMFAKE_MUTE_CKR", CKR_GENERAL_ERROR);
	store_read();
	o = object_find(object);
	if (o == NULL)
		return CKR_OBJECT_HANDLE_INVALID;
	if (o->class == NO_CLASS)
		return CKR_ATTRIBUTE_VALUE_INVALID;
	for (CK_ULONG i = 0; i < n; i++) {
		rv = attr_get(o, &attrs[i]);
		if (rv != CKR_OK)
			bad = rv;
	}
	for (CK_ULONG i = 0; bad != CKR_OK && i < n; i++)
		if (knob("KSMFAKE_WHOLE") != NULL)
			attrs[i].ulValueLen = CK_UNAVAILABLE_INFORMATION;
	return bad;
}

static bool
object_matches(const struct object *o, const CK_ATTRIBUTE *want, CK_ULONG n)
{
	uint8_t room[1024];
	CK_ATTRIBUTE a;

	if (o->private && !fake.logged_in)
		return false;
	for (CK_ULONG i = 0; i < n; i++) {
		a.type = want[i].type;
		a.pValue = room;
		a.ulValueLen = sizeof(room);
		if (attr_get(o, &a) != CKR_OK ||
		    a.ulValueLen != want[i].ulValueLen ||
		    memcmp(room, want[i].pValue, a.ulValueLen) != 0)
			return false;
	}
	return true;
}

static CK_RV
f_find_init(CK_SESSION_HANDLE session, CK_ATTRIBUTE *want, CK_ULONG n)
{
	CK_RV rv;

	ENTER(C_FIND);
	rv = ready(session);
	if (rv != CKR_OK)
		return rv;
	if (fake.finding)
		return CKR_OPERATION_ACTIVE;
	store_read();
	free(fake.found);
	fake.found = calloc(fake.n + 1, sizeof(*fake.found));
	if (fake.found == NULL)
		return CKR_HOST_MEMORY;
	fake.nfound = fake.foundpos = 0;
	for (size_t i = 0; i < fake.n && !lies("empty"); i++)
		if (object_matches(&fake.objects[i], want, n))
			fake.found[fake.nfound++] = fake.objects[i].handle;
	fake.finding = true;
	return CKR_OK;
}

static CK_RV
f_find(
    CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *out, CK_ULONG max, CK_ULONG *n)
{
	CK_RV rv = ready(session);

	if (rv != CKR_OK)
		return rv;
	if (!fake.finding)
		return CKR_OPERATION_NOT_INITIALIZED;
	for (*n = 0; *n < max && fake.foundpos < fake.nfound; (*n)++)
		out[*n] = fake.found[fake.foundpos++];
	return CKR_OK;
}

static CK_RV
f_find_final(CK_SESSION_HANDLE session)
{
	(void)session;
	if (!fake.finding)
		return CKR_OPERATION_NOT_INITIALIZED;
	fake.finding = false;
	return CKR_OK;
}

static CK_RV
f_destroy(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
	CK_RV rv, late;
	struct object *o;
	bool kept;
	int lock;

	ENTER(C_DESTROY);
	rv = ready(session);
	if (rv != CKR_OK)
		return rv;
	lock = store_lock();
	store_read();
	o = object_find(object);
	if (o == NULL) {
		store_unlock(lock);
		return CKR_OBJECT_HANDLE_INVALID;
	}
	kept = stored(o);
	object_free(o);
	*o = fake.objects[--fake.n];
	if (kept)
		store_rewrite();
	store_unlock(lock);
	return fault(C_DESTROY, AFTER, &late) ? late : CKR_OK;
}

/* ---- keys ------------------------------------------------------------- */

static const CK_ATTRIBUTE *
want_find(const CK_ATTRIBUTE *attrs, CK_ULONG n, CK_ATTRIBUTE_TYPE type)
{
	for (CK_ULONG i = 0; i < n; i++)
		if (attrs[i].type == type)
			return &attrs[i];
	return NULL;
}

static bool
want_true(const CK_ATTRIBUTE *attrs, CK_ULONG n, CK_ATTRIBUTE_TYPE type)
{
	const CK_ATTRIBUTE *a = want_find(attrs, n, type);

	return a != NULL && a->ulValueLen == 1 &&
	       *(const CK_BBOOL *)a->pValue != CK_FALSE;
}

static void
object_describe(struct object *o, const CK_ATTRIBUTE *attrs, CK_ULONG n)
{
	const CK_ATTRIBUTE *a;

	o->token = want_true(attrs, n, CKA_TOKEN);
	o->private = want_true(attrs, n, CKA_PRIVATE);
	o->sensitive = want_true(attrs, n, CKA_SENSITIVE);
	o->extractable = want_true(attrs, n, CKA_EXTRACTABLE);
	o->sign = want_true(attrs, n, CKA_SIGN);
	o->verify = want_true(attrs, n, CKA_VERIFY);
	a = want_find(attrs, n, CKA_ID);
	if (a != NULL && a->ulValueLen <= sizeof(o->id)) {
		o->idlen = a->ulValueLen;
		memcpy(o->id, a->pValue, o->idlen);
	}
	a = want_find(attrs, n, CKA_LABEL);
	if (a != NULL && a->ulValueLen <= sizeof(o->label)) {
		o->labellen = a->ulValueLen;
		memcpy(o->label, a->pValue, o->labellen);
	}
	if (lies("short-id") && o->idlen > 8)
		o->idlen = 8;
	if (lies("wrong-id") && o->idlen > 0)
		o->id[o->idlen - 1] ^= 0xff;
	if (lies("wrong-label") && o->labellen > 0)
		o->label[0] = '!';
	o->token = o->token && !lies("not-token");
	o->private = o->private && !lies("not-private");
	o->sensitive = o->sensitive && !lies("not-sensitive");
	o->extractable = o->extractable || lies("extractable");
	o->bad_sig = lies("bad-signature");
}

static const struct {
	const char *params; /* DER of EC_PARAMS */
	size_t len;
	bool edwards, by_name;
	const char *type, *group;
} curves[] = {
	{ "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", 10, false, false, "EC",
	    "P-256" },
	{ "\x06\x05\x2b\x81\x04\x00\x22", 7, false, false, "EC", "P-384" },
	{ "\x06\x03\x2b\x65\x70", 5, true, false, "ED25519", NULL },
	{ "\x06\x03\x2b\x65\x71", 5, true, false, "ED448", NULL },
	{ "\x13\x0c"
	  "edwards25519",
	    14, true, true, "ED25519", NULL },
	{ "\x13\x0a"
	  "edwards448",
	    12, true, true, "ED448", NULL },
};

static CK_RV
key_make(CK_MECHANISM_TYPE m, const CK_ATTRIBUTE *pub, CK_ULONG npub,
    EVP_PKEY **key, CK_ULONG *type)
{
	const CK_ATTRIBUTE *a;
	const char *form = knob("KSMFAKE_CURVES");
	CK_ULONG bits = 0;

	*key = NULL;
	if (m == CKM_RSA_PKCS_KEY_PAIR_GEN) {
		a = want_find(pub, npub, CKA_MODULUS_BITS);
		if (a == NULL || a->ulValueLen != sizeof(bits))
			return CKR_TEMPLATE_INCOMPLETE;
		memcpy(&bits, a->pValue, sizeof(bits));
		if (bits < 512 || bits > 4096)
			return CKR_KEY_SIZE_RANGE;
		if (lies("wrong-size"))
			bits /= 2;
		*type = CKK_RSA;
		*key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)bits);
		return *key != NULL ? CKR_OK : CKR_FUNCTION_FAILED;
	}
	a = want_find(pub, npub, CKA_EC_PARAMS);
	if (a == NULL)
		return CKR_TEMPLATE_INCOMPLETE;
	for (size_t i = 0; i < nitems(curves); i++) {
		if (curves[i].edwards != (m == CKM_EC_EDWARDS_KEY_PAIR_GEN) ||
		    curves[i].len != a->ulValueLen ||
		    memcmp(curves[i].params, a->pValue, curves[i].len) != 0)
			continue;
		if (curves[i].edwards && form != NULL &&
		    curves[i].by_name != (strcmp(form, "name") == 0))
			continue;
		*type = curves[i].edwards ? CKK_EC_EDWARDS : CKK_EC;
		*key =
		    curves[i].edwards
			? EVP_PKEY_Q_keygen(NULL, NULL, curves[i].type)
			: EVP_PKEY_Q_keygen(NULL, NULL, "EC", curves[i].group);
		return *key != NULL ? CKR_OK : CKR_FUNCTION_FAILED;
	}
	return CKR_CURVE_NOT_SUPPORTED;
}

static void
template_write(const char *half, const CK_ATTRIBUTE *attrs, CK_ULONG n)
{
	FILE *f;

	if (knob("KSMFAKE_TEMPLATES") == NULL)
		return;
	f = fopen(knob("KSMFAKE_TEMPLATES"), "ae");
	if (f == NULL)
		return;
	for (CK_ULONG i = 0; i < n; i++) {
		const uint8_t *p = attrs[i].pValue;

		(void)fprintf(f, "%s 0x%lx=", half, attrs[i].type);
		for (CK_ULONG j = 0; j < attrs[i].ulValueLen; j++)
			(void)fprintf(f, "%02x", p[j]);
		(void)fputc('\n', f);
	}
	(void)fclose(f);
}

static bool
refuses(const CK_ATTRIBUTE *attrs, CK_ULONG n)
{
	long type = knob_long("KSMFAKE_REFUSES", -1);

	return type >= 0 &&
	       want_find(attrs, n, (CK_ATTRIBUTE_TYPE)type) != NULL;
}

static void
half_make(struct object *o, CK_ULONG class, CK_ULONG type, EVP_PKEY *key,
    const CK_ATTRIBUTE *attrs, CK_ULONG n)
{
	uint8_t *der = NULL;
	int len;

	memset(o, 0, sizeof(*o));
	o->class = class;
	o->type = type;
	object_describe(o, attrs, n);
	len = class == CKO_PRIVATE_KEY ? i2d_PrivateKey(key, &der)
				       : i2d_PUBKEY(key, &der);
	if (len <= 0 || len > BLOB_MAX)
		abort();
	o->der = malloc((size_t)len);
	if (o->der == NULL)
		abort();
	memcpy(o->der, der, (size_t)len);
	o->derlen = (size_t)len;
	OPENSSL_free(der);
}

static CK_RV
f_generate(CK_SESSION_HANDLE session, CK_MECHANISM *m, CK_ATTRIBUTE *pub,
    CK_ULONG npub, CK_ATTRIBUTE *priv, CK_ULONG npriv, CK_OBJECT_HANDLE *hpub,
    CK_OBJECT_HANDLE *hpriv)
{
	long capacity = knob_long("KSMFAKE_CAPACITY", -1);
	EVP_PKEY *key = NULL, *other = NULL;
	struct object o;
	CK_ULONG type = 0;
	bool forced, full;
	CK_RV rv, late = CKR_OK;
	int lock;

	fake.calls[C_GENERATE]++;
	chatter("C_GenerateKeyPair");
	forced = fault(C_GENERATE, BEFORE, &late);
	if (forced && !lies("half-no"))
		return late;
	rv = ready(session);
	if (rv != CKR_OK)
		return rv;
	if (!fake.logged_in)
		return CKR_USER_NOT_LOGGED_IN;
	if (!has_mechanism(m->mechanism))
		return CKR_MECHANISM_INVALID;
	template_write("public", pub, npub);
	template_write("private", priv, npriv);
	if (refuses(pub, npub) || refuses(priv, npriv))
		return CKR_ATTRIBUTE_TYPE_INVALID;
	sleep_ms(knob_long("KSMFAKE_DELAY_MS", 0));
	rv = key_make(m->mechanism, pub, npub, &key, &type);
	if (rv != CKR_OK)
		return rv;
	if (lies("other-public"))
		(void)key_make(m->mechanism, pub, npub, &other, &type);

	lock = store_lock();
	store_read();
	full = capacity >= 0 && (long)store_count() + 2 > capacity;
	*hpub = *hpriv = CK_INVALID_HANDLE;
	if (!lies("no-public") && (!full || lies("half-full"))) {
		half_make(&o, CKO_PUBLIC_KEY, type, other != NULL ? other : key,
		    pub, npub);
		*hpub = store_add(&o)->handle;
	}
	if (!full && !forced)
		(void)fault(C_GENERATE, BETWEEN, &late);
	if (!lies("no-private") && !full && !forced) {
		half_make(&o, CKO_PRIVATE_KEY, type, key, priv, npriv);
		*hpriv = store_add(&o)->handle;
	}
	store_unlock(lock);
	EVP_PKEY_free(key);
	EVP_PKEY_free(other);
	if (forced)
		return late;
	if (full)
		return CKR_DEVICE_MEMORY;
	return fault(C_GENERATE, AFTER, &late) ? late : CKR_OK;
}

static CK_RV
f_sign_init(CK_SESSION_HANDLE session, CK_MECHANISM *m, CK_OBJECT_HANDLE key)
{
	const struct object *o;
	CK_RV rv;

	ENTER(C_SIGNINIT);
	rv = ready(session);
	if (rv != CKR_OK)
		return rv;
	if (!fake.logged_in)
		return CKR_USER_NOT_LOGGED_IN;
	if (fake.signing)
		return CKR_OPERATION_ACTIVE;
	if (!has_mechanism(m->mechanism))
		return CKR_MECHANISM_INVALID;
	store_read();
	o = object_find(key);
	if (o == NULL || o->class != CKO_PRIVATE_KEY)
		return CKR_KEY_HANDLE_INVALID;
	fake.signing = true;
	fake.sign_key = key;
	fake.sign_mech = m->mechanism;
	return CKR_OK;
}

/* ECDSA: DER to r | s. */
static size_t
raw_signature(const EVP_PKEY *key, const uint8_t *der, size_t len, uint8_t *out)
{
	size_t half = (size_t)(EVP_PKEY_get_bits(key) + 7) / 8;
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)len);

	if (sig == NULL ||
	    BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, (int)half) < 0 ||
	    BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + half, (int)half) < 0)
		half = 0;
	ECDSA_SIG_free(sig);
	return 2 * half;
}

static size_t
key_sign(EVP_PKEY *key, CK_MECHANISM_TYPE m, const uint8_t *data, size_t len,
    uint8_t *out, size_t room)
{
	bool digest = m == CKM_SHA256_RSA_PKCS || m == CKM_EDDSA;
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	EVP_PKEY_CTX *ctx = NULL;
	uint8_t der[256];
	size_t n = room, derlen = sizeof(der);
	bool ok;

	if (digest) {
		ok =
		    EVP_DigestSignInit(md, NULL,
			m == CKM_EDDSA ? NULL : EVP_sha256(), NULL, key) == 1 &&
		    EVP_DigestSign(md, out, &n, data, len) == 1;
	} else {
		ctx = EVP_PKEY_CTX_new(key, NULL);
		ok = ctx != NULL && EVP_PKEY_sign_init(ctx) == 1;
		if (ok && m == CKM_RSA_PKCS)
			ok = EVP_PKEY_CTX_set_rsa_padding(
				 ctx, RSA_PKCS1_PADDING) == 1 &&
			     EVP_PKEY_sign(ctx, out, &n, data, len) == 1;
		else if (ok) {
			ok = EVP_PKEY_sign(ctx, der, &derlen, data, len) == 1;
			n = ok ? raw_signature(key, der, derlen, out) : 0;
		}
	}
	EVP_PKEY_CTX_free(ctx);
	EVP_MD_CTX_free(md);
	return ok ? n : 0;
}

static CK_RV
f_sign(CK_SESSION_HANDLE session, unsigned char *data, CK_ULONG len,
    unsigned char *sig, CK_ULONG *siglen)
{
	const struct object *o;
	EVP_PKEY *key;
	size_t n;
	CK_RV rv;

	fake.calls[C_SIGN]++;
	fake.signing = false;
	if (fault(C_SIGN, BEFORE, &rv))
		return rv;
	rv = ready(session);
	if (rv != CKR_OK)
		return rv;
	o = object_find(fake.sign_key);
	if (o == NULL)
		return CKR_KEY_HANDLE_INVALID;
	key = object_key(o);
	n = key != NULL ? key_sign(key, fake.sign_mech, data, len, sig, *siglen)
			: 0;
	EVP_PKEY_free(key);
	if (n == 0)
		return CKR_GENERAL_ERROR;
	if (o->bad_sig)
		sig[n / 2] ^= 0x01;
	*siglen = n;
	return CKR_OK;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list);

static CK_FUNCTION_LIST functions = {
	.version = { 2, 40 },
	.C_Initialize = f_initialize,
	.C_Finalize = f_finalize,
	.C_GetInfo = f_get_info,
	.C_GetFunctionList = C_GetFunctionList,
	.C_GetSlotList = f_slot_list,
	.C_GetSlotInfo = f_slot_info,
	.C_GetTokenInfo = f_token_info,
	.C_GetMechanismList = f_mechanism_list,
	.C_GetMechanismInfo = f_mechanism_info,
	.C_OpenSession = f_open_session,
	.C_CloseSession = f_close_session,
	.C_CloseAllSessions = f_close_all,
	.C_GetSessionInfo = f_session_info,
	.C_Login = f_login,
	.C_Logout = f_logout,
	.C_DestroyObject = f_destroy,
	.C_GetAttributeValue = f_get_attribute,
	.C_FindObjectsInit = f_find_init,
	.C_FindObjects = f_find,
	.C_FindObjectsFinal = f_find_final,
	.C_SignInit = f_sign_init,
	.C_Sign = f_sign,
	.C_GenerateKeyPair = f_generate,
};

CK_RV
C_GetFunctionList(CK_FUNCTION_LIST **list)
{
	if (!fake.loaded) {
		fake.loaded = true;
		fake.healthy = knob("KSMFAKE_HEALED") != NULL &&
			       access(knob("KSMFAKE_HEALED"), F_OK) == 0;
	}
	*list = &functions;
	return CKR_OK;
}
