/*
 * token_dump - every object of a token, looked at without ksmpool.
 *
 *   token_dump [-u] MODULE TOKEN-LABEL PIN-FILE
 *
 * One line an object: CLASS ID LABEL STATE; with -u also USAGE
 *   CLASS   private, public, other, or none (class unreadable)
 *   ID      CKA_ID in hex, - when empty
 *   LABEL   CKA_LABEL, - when empty, every byte that is not a graphic one as ?
 *   STATE   private: signs or mute; public: value or hollow; else -
 *   USAGE   what its attributes permit: sign+decrypt+unwrap; - when nothing
 *
 * It looks without a filter, because the remains of a killed module have
 * neither id nor label and no search with a template finds them.
 */
#include <ctype.h>
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <p11-kit/pkcs11.h>

#define TEXT_MAX 512

static CK_FUNCTION_LIST *f;
static CK_SESSION_HANDLE session;
static bool with_usage;

static void
check(CK_RV rv, const char *call)
{
	if (rv == CKR_OK)
		return;
	fprintf(stderr, "token_dump: %s: 0x%lx\n", call, rv);
	exit(1);
}

static void
module_open(const char *path)
{
	CK_RV (*get_list)(CK_FUNCTION_LIST **);
	CK_C_INITIALIZE_ARGS args = { .flags = CKF_OS_LOCKING_OK };
	void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL), *symbol;

	if (module == NULL ||
	    (symbol = dlsym(module, "C_GetFunctionList")) == NULL) {
		fprintf(stderr, "token_dump: %s\n", dlerror());
		exit(1);
	}
	memcpy(&get_list, &symbol, sizeof(get_list));
	check(get_list(&f), "C_GetFunctionList");
	check(f->C_Initialize(&args), "C_Initialize");
}

/* SoftHSM may miss a token that somebody logs in to just now: look again. */
static void
token_open(const char *label, const char *pin_file)
{
	CK_SLOT_ID slots[64];
	CK_TOKEN_INFO info;
	CK_C_INITIALIZE_ARGS args = { .flags = CKF_OS_LOCKING_OK };
	char pin[256];
	size_t len = strlen(label);
	FILE *file;

	for (int round = 0; round < 5 && session == 0; round++) {
		CK_ULONG n = 64;

		if (round > 0) {
			check(f->C_Finalize(NULL), "C_Finalize");
			check(f->C_Initialize(&args), "C_Initialize");
		}
		check(f->C_GetSlotList(CK_TRUE, slots, &n), "C_GetSlotList");
		for (CK_ULONG i = 0; i < n && session == 0; i++) {
			if (f->C_GetTokenInfo(slots[i], &info) != CKR_OK ||
			    strncmp((char *)info.label, label, len) != 0 ||
			    (len < 32 && info.label[len] != ' '))
				continue;
			check(f->C_OpenSession(slots[i], CKF_SERIAL_SESSION,
				  NULL, NULL, &session),
			    "C_OpenSession");
		}
	}
	file = fopen(pin_file, "r");
	if (session == 0 || file == NULL ||
	    fgets(pin, sizeof(pin), file) == NULL) {
		fprintf(stderr, "token_dump: no token %s or no PIN in %s\n",
		    label, pin_file);
		exit(1);
	}
	fclose(file);
	pin[strcspn(pin, "\r\n")] = '\0';
	check(f->C_Login(session, CKU_USER, (CK_UTF8CHAR *)pin, strlen(pin)),
	    "C_Login");
}

/* Length of the attribute in buf, 0 when there is none or it is unreadable. */
static size_t
attribute(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, void *buf,
    size_t size)
{
	CK_ATTRIBUTE a = { type, buf, size };

	if (f->C_GetAttributeValue(session, object, &a, 1) != CKR_OK ||
	    a.ulValueLen == CK_UNAVAILABLE_INFORMATION)
		return 0;
	return a.ulValueLen;
}

static bool
signs(CK_OBJECT_HANDLE object)
{
	CK_KEY_TYPE type = 0;
	CK_MECHANISM mechanism = { CKM_RSA_PKCS, NULL, 0 };
	CK_BYTE digest[32] = { 1 }, signature[1024];
	CK_ULONG len = sizeof(signature);

	if (attribute(object, CKA_KEY_TYPE, &type, sizeof(type)) == 0)
		return false;
	if (type == CKK_EC)
		mechanism.mechanism = CKM_ECDSA;
	else if (type == 0x40)
		mechanism.mechanism = 0x1057; /* v3.0: CKM_EDDSA */
	return f->C_SignInit(session, &mechanism, object) == CKR_OK &&
	    f->C_Sign(session, digest, sizeof(digest), signature, &len) ==
	    CKR_OK;
}

static bool
has_value(CK_OBJECT_HANDLE object)
{
	CK_BYTE buf[2048];

	return attribute(object, CKA_MODULUS, buf, sizeof(buf)) > 0 ||
	    attribute(object, CKA_EC_POINT, buf, sizeof(buf)) > 0;
}

static void
usage_print(CK_OBJECT_HANDLE object)
{
	static const struct {
		CK_ATTRIBUTE_TYPE type;
		const char *name;
	} uses[] = { { CKA_SIGN, "sign" }, { CKA_VERIFY, "verify" },
		{ CKA_DECRYPT, "decrypt" }, { CKA_ENCRYPT, "encrypt" },
		{ CKA_UNWRAP, "unwrap" }, { CKA_WRAP, "wrap" },
		{ CKA_DERIVE, "derive" } };
	bool any = false;

	putchar(' ');
	for (size_t i = 0; i < sizeof(uses) / sizeof(uses[0]); i++) {
		CK_BBOOL yes = CK_FALSE;

		if (attribute(object, uses[i].type, &yes, sizeof(yes)) == 0 ||
		    yes == CK_FALSE)
			continue;
		printf("%s%s", any ? "+" : "", uses[i].name);
		any = true;
	}
	if (!any)
		putchar('-');
}

static void
object_print(CK_OBJECT_HANDLE object)
{
	CK_OBJECT_CLASS class = 0;
	unsigned char text[TEXT_MAX];
	size_t n;

	if (attribute(object, CKA_CLASS, &class, sizeof(class)) == 0)
		fputs("none ", stdout);
	else if (class == CKO_PRIVATE_KEY)
		fputs("private ", stdout);
	else
		fputs(class == CKO_PUBLIC_KEY ? "public " : "other ", stdout);

	n = attribute(object, CKA_ID, text, sizeof(text));
	for (size_t i = 0; i < n; i++)
		printf("%02x", text[i]);
	fputs(n == 0 ? "- " : " ", stdout);

	n = attribute(object, CKA_LABEL, text, sizeof(text));
	for (size_t i = 0; i < n; i++)
		putchar(isgraph(text[i]) ? text[i] : '?');
	fputs(n == 0 ? "- " : " ", stdout);

	if (class == CKO_PRIVATE_KEY)
		fputs(signs(object) ? "signs" : "mute", stdout);
	else if (class == CKO_PUBLIC_KEY)
		fputs(has_value(object) ? "value" : "hollow", stdout);
	else
		fputs("-", stdout);
	if (with_usage)
		usage_print(object);
	putchar('\n');
}

int
main(int argc, char **argv)
{
	CK_OBJECT_HANDLE *objects = NULL;
	CK_ULONG n = 0, got;

	if (argc == 5 && strcmp(argv[1], "-u") == 0) {
		with_usage = true;
		argv++;
		argc--;
	}
	if (argc != 4) {
		fputs("usage: token_dump [-u] MODULE TOKEN-LABEL PIN-FILE\n",
		    stderr);
		return 2;
	}
	module_open(argv[1]);
	token_open(argv[2], argv[3]);
	check(f->C_FindObjectsInit(session, NULL, 0), "C_FindObjectsInit");
	do {
		objects = realloc(objects, (n + 1000) * sizeof(*objects));
		if (objects == NULL)
			return 1;
		check(f->C_FindObjects(session, objects + n, 1000, &got),
		    "C_FindObjects");
		n += got;
	} while (got > 0);
	check(f->C_FindObjectsFinal(session), "C_FindObjectsFinal");
	for (CK_ULONG i = 0; i < n; i++)
		object_print(objects[i]);
	free(objects);
	f->C_Finalize(NULL);
	return 0;
}
