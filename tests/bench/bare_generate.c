/*
 * bare_generate - a bare loop of C_GenerateKeyPair, to hold ksmpool against.
 *
 * Nothing but the call: no database, no read-back, no signature, no check.
 * The template is the one ksmpool uses, so the token writes as much.
 *
 *   bare_generate MODULE TOKEN-LABEL PIN-FILE KIND [PROCESSES]
 *   KIND: rsa:BITS ec:p256 ec:p384 ed25519
 *
 * Each line on stdin is a number of keys to make; when all are there, a line
 * "KEYS SECONDS" goes to stdout. Keys are dealt one at a time to whichever
 * process is free, so no process waits for a slower one but at the end.
 */
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <p11-kit/pkcs11.h>

#define ID_LEN 16
#define PROCESSES_MAX 16

struct kind {
	CK_KEY_TYPE type;
	CK_MECHANISM_TYPE mechanism;
	CK_ULONG bits;
	const CK_BYTE *params;
	CK_ULONG nparams;
};

static void die(const char *fmt, ...)
    __attribute__((noreturn, format(printf, 1, 2)));

static void
die(const char *fmt, ...)
{
	va_list ap;

	fputs("bare_generate: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

static void
check(CK_RV rv, const char *call)
{
	if (rv != CKR_OK)
		die("%s: 0x%lx", call, rv);
}

static struct kind
kind_parse(const char *text)
{
	/* OIDs as DER, RFC 5480 and RFC 8410. */
	static const CK_BYTE p256[] = { 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
		0x3d, 0x03, 0x01, 0x07 };
	static const CK_BYTE p384[] = { 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00,
		0x22 };
	static const CK_BYTE ed25519[] = { 0x06, 0x03, 0x2b, 0x65, 0x70 };
	struct kind k = { .type = CKK_EC,
		.mechanism = CKM_EC_KEY_PAIR_GEN };

	if (strncmp(text, "rsa:", 4) == 0) {
		k.type = CKK_RSA;
		k.mechanism = CKM_RSA_PKCS_KEY_PAIR_GEN;
		k.bits = strtoul(text + 4, NULL, 10);
		if (k.bits < 512 || k.bits > 8192)
			die("%s: bits must be 512 to 8192", text);
	} else if (strcmp(text, "ec:p256") == 0) {
		k.params = p256;
		k.nparams = sizeof(p256);
	} else if (strcmp(text, "ec:p384") == 0) {
		k.params = p384;
		k.nparams = sizeof(p384);
	} else if (strcmp(text, "ed25519") == 0) {
		/* PKCS#11 v3.0: CKK_EC_EDWARDS, CKM_EC_EDWARDS_KEY_PAIR_GEN */
		k.type = 0x40;
		k.mechanism = 0x1055;
		k.params = ed25519;
		k.nparams = sizeof(ed25519);
	} else {
		die("%s: not rsa:BITS, ec:p256, ec:p384 or ed25519", text);
	}
	return k;
}

static CK_SESSION_HANDLE
token_login(CK_FUNCTION_LIST *f, const char *label, const char *pin_file)
{
	CK_SLOT_ID slots[64];
	CK_ULONG n = 64;
	CK_TOKEN_INFO info;
	CK_SESSION_HANDLE session = 0;
	char pin[256];
	size_t len = strlen(label);
	FILE *file;
	bool found = false;

	check(f->C_GetSlotList(CK_TRUE, slots, &n), "C_GetSlotList");
	for (CK_ULONG i = 0; i < n && !found; i++) {
		if (f->C_GetTokenInfo(slots[i], &info) != CKR_OK ||
		    strncmp((const char *)info.label, label, len) != 0 ||
		    (len < 32 && info.label[len] != ' '))
			continue;
		check(f->C_OpenSession(slots[i],
			  CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
			  &session),
		    "C_OpenSession");
		found = true;
	}
	if (!found)
		die("no token with label %s", label);
	file = fopen(pin_file, "r");
	if (file == NULL || fgets(pin, sizeof(pin), file) == NULL)
		die("%s: cannot read", pin_file);
	fclose(file);
	pin[strcspn(pin, "\r\n")] = '\0';
	check(f->C_Login(session, CKU_USER, (CK_UTF8CHAR *)pin, strlen(pin)),
	    "C_Login");
	explicit_bzero(pin, sizeof(pin));
	return session;
}

static void
generate(CK_FUNCTION_LIST *f, CK_SESSION_HANDLE session, const struct kind *k)
{
	static const char digits[] = "0123456789abcdef";
	static const CK_BYTE exponent[] = { 1, 0, 1 };
	CK_OBJECT_CLASS public = CKO_PUBLIC_KEY, private = CKO_PRIVATE_KEY;
	CK_KEY_TYPE type = k->type;
	CK_ULONG bits = k->bits;
	CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
	CK_BYTE id[ID_LEN];
	char label[2 * ID_LEN];
	CK_MECHANISM mechanism = { k->mechanism, NULL, 0 };
	CK_OBJECT_HANDLE pub, priv;
	CK_ATTRIBUTE pub_template[] = {
		{ CKA_CLASS, &public, sizeof(public) },
		{ CKA_KEY_TYPE, &type, sizeof(type) },
		{ CKA_TOKEN, &yes, sizeof(yes) },
		{ CKA_PRIVATE, &no, sizeof(no) },
		{ CKA_VERIFY, &yes, sizeof(yes) },
		{ CKA_ID, id, sizeof(id) },
		{ CKA_LABEL, label, sizeof(label) },
		{ CKA_EC_PARAMS, (void *)k->params, k->nparams },
		{ CKA_PUBLIC_EXPONENT, (void *)exponent, sizeof(exponent) },
	};
	CK_ATTRIBUTE priv_template[] = {
		{ CKA_CLASS, &private, sizeof(private) },
		{ CKA_KEY_TYPE, &type, sizeof(type) },
		{ CKA_TOKEN, &yes, sizeof(yes) },
		{ CKA_PRIVATE, &yes, sizeof(yes) },
		{ CKA_SENSITIVE, &yes, sizeof(yes) },
		{ CKA_EXTRACTABLE, &no, sizeof(no) },
		{ CKA_SIGN, &yes, sizeof(yes) },
		{ CKA_ID, id, sizeof(id) },
		{ CKA_LABEL, label, sizeof(label) },
	};
	CK_ULONG npub = 8;

	if (getrandom(id, sizeof(id), 0) != sizeof(id))
		die("getrandom: %s", strerror(errno));
	for (size_t i = 0; i < sizeof(id); i++) {
		label[2 * i] = digits[id[i] >> 4];
		label[2 * i + 1] = digits[id[i] & 15];
	}
	if (k->type == CKK_RSA) {
		pub_template[7] = (CK_ATTRIBUTE){ CKA_MODULUS_BITS, &bits,
			sizeof(bits) };
		npub = 9;
	}
	check(f->C_GenerateKeyPair(session, &mechanism, pub_template, npub,
		  priv_template, sizeof(priv_template) / sizeof(*priv_template),
		  &pub, &priv),
	    "C_GenerateKeyPair");
}

/*
 * One process: a byte from `jobs` is a key to make, a byte to `done` says it
 * is there; the first says that the login is over.
 */
static void
child(char **argv, const struct kind *k, int jobs, int done)
{
	CK_RV (*get_list)(CK_FUNCTION_LIST **);
	CK_FUNCTION_LIST *f;
	CK_SESSION_HANDLE session;
	CK_C_INITIALIZE_ARGS args = { .flags = CKF_OS_LOCKING_OK };
	void *module, *symbol;
	char c = 'k';

	module = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
	if (module == NULL)
		die("%s", dlerror());
	symbol = dlsym(module, "C_GetFunctionList");
	if (symbol == NULL)
		die("%s: no C_GetFunctionList", argv[1]);
	memcpy(&get_list, &symbol, sizeof(get_list));
	check(get_list(&f), "C_GetFunctionList");
	check(f->C_Initialize(&args), "C_Initialize");
	session = token_login(f, argv[2], argv[3]);
	do {
		if (write(done, &c, 1) != 1)
			die("write: %s", strerror(errno));
		if (read(jobs, &c, 1) != 1)
			break;
		generate(f, session, k);
	} while (true);
	f->C_Finalize(NULL);
	exit(0);
}

static void
wait_for(int done, long n)
{
	char c;

	for (; n > 0; n--)
		if (read(done, &c, 1) != 1)
			die("a process died");
}

/* No process may leave before it is told to; what it said is on stderr. */
static void
on_child(int signo)
{
	(void)signo;
	_exit(1);
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int
main(int argc, char **argv)
{
	struct kind kind;
	char line[64];
	int jobs[2], done[2];
	long processes = 1;

	if (argc < 5 || argc > 6)
		die("usage: bare_generate MODULE TOKEN-LABEL PIN-FILE KIND "
		    "[PROCESSES]");
	kind = kind_parse(argv[4]);
	if (argc == 6)
		processes = strtol(argv[5], NULL, 10);
	if (processes < 1 || processes > PROCESSES_MAX)
		die("%s: processes must be 1 to %d", argv[5], PROCESSES_MAX);
	if (pipe(jobs) == -1 || pipe(done) == -1)
		die("pipe: %s", strerror(errno));
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, on_child);

	/* One login at a time: SoftHSM may miss a token that logs in. */
	for (long i = 0; i < processes; i++) {
		switch (fork()) {
		case -1:
			die("fork: %s", strerror(errno));
		case 0:
			signal(SIGCHLD, SIG_DFL);
			close(jobs[1]);
			close(done[0]);
			child(argv, &kind, jobs[0], done[1]);
			break;
		default:
			break;
		}
		wait_for(done[0], 1);
	}
	close(done[1]);
	close(jobs[0]);

	while (fgets(line, sizeof(line), stdin) != NULL) {
		long n = strtol(line, NULL, 10), given;
		double start = now();

		/* The pipe holds 64 KiB; more are dealt as they are done. */
		given = n < 10000 ? n : 10000;
		for (long i = 0; i < given; i++)
			if (write(jobs[1], "k", 1) != 1)
				die("write: %s", strerror(errno));
		for (long i = 0; i < n; i++) {
			wait_for(done[0], 1);
			if (given < n) {
				if (write(jobs[1], "k", 1) != 1)
					die("write: %s", strerror(errno));
				given++;
			}
		}
		printf("%ld %.6f\n", n, now() - start);
		fflush(stdout);
	}
	signal(SIGCHLD, SIG_DFL);
	close(jobs[1]);
	while (wait(NULL) > 0)
		;
	return 0;
}
