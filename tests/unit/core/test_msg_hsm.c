#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ksmpool/msg_hsm.h"

#define ID_A "0001020304050607f8f9fafbfcfdfeff"

static struct key_id some_ids[PAGE_IDS];

static void
fill_text(char *at, size_t size, char with)
{
	memset(at, with, size - 1);
	at[size - 1] = '\0';
}

#define FILL(field) fill_text((field), sizeof(field), 'a')

static void
fill_evidence(struct hsm_evidence *e)
{
	e->is_private = e->is_sensitive = e->is_token = e->can_sign = true;
	e->label_ok = e->public_ok = true;
	e->key_type = 3;
	e->bits = 4096;
	FILL(e->modulus);
	FILL(e->exponent);
	FILL(e->point);
	FILL(e->mechanism);
	FILL(e->signature);
	FILL(e->sign_ckr);
}

static struct hsm_object some_objects[PAGE_OBJECTS];

/* A message of each type with every buffer full to the last byte. */
static void
full_message(enum hsm_type type, struct hsm_msg *m)
{
	struct key_id id;

	memset(m, 0, sizeof(*m));
	m->type = type;
	assert_true(key_id_parse(ID_A, &id));
	switch (type) {
	case HSM_START:
		m->u.start.purpose = PURPOSE_SETTLER;
		FILL(m->u.start.repository);
		FILL(m->u.start.module);
		FILL(m->u.start.label);
		FILL(m->u.start.serial);
		FILL(m->u.start.uri);
		FILL(m->u.start.reserved);
		FILL(m->u.start.refused_pin);
		m->u.start.extractable = true;
		m->u.start.nattributes = ATTRIBUTES_MAX;
		for (size_t i = 0; i < ATTRIBUTES_MAX; i++) {
			m->u.start.attributes[i].remove = i % 2 == 0;
			FILL(m->u.start.attributes[i].name);
			FILL(m->u.start.attributes[i].value);
		}
		break;
	case HSM_GENERATE:
		m->u.generate.job = INT64_MAX;
		m->u.generate.id = id;
		m->u.generate.alg = 8;
		m->u.generate.bits = 4096;
		memset(m->u.generate.challenge, 0xa5, CHALLENGE_LEN);
		break;
	case HSM_ENUMERATE:
		m->u.enumerate.job = 1;
		FILL(m->u.enumerate.sync_path);
		break;
	case HSM_PROVE:
		m->u.prove.job = 2;
		m->u.prove.id = id;
		m->u.prove.alg = 13;
		memset(m->u.prove.challenge, 0x5a, CHALLENGE_LEN);
		break;
	case HSM_DESTROY:
		m->u.destroy.id = id;
		m->u.destroy.half = HALF_PUBLIC;
		break;
	case HSM_REMOVE:
		m->u.remove.id = id;
		break;
	case HSM_INSPECT:
		m->u.inspect.job = 3;
		break;
	case HSM_SWEEP:
		m->u.sweep.debris = 12;
		break;
	case HSM_OBJECTS:
		m->u.objects.objects = some_objects;
		m->u.objects.nobjects = PAGE_OBJECTS;
		for (size_t i = 0; i < PAGE_OBJECTS; i++) {
			some_objects[i].class = OBJECT_UNREADABLE;
			some_objects[i].idlen = 1000;
			some_objects[i].key_type = -1;
			some_objects[i].bits = 4096;
			some_objects[i].debris = true;
			FILL(some_objects[i].id);
			FILL(some_objects[i].label);
		}
		break;
	case HSM_SWEPT:
		m->u.swept.n = 12;
		break;
	case HSM_HELLO:
		FILL(m->u.hello.label);
		FILL(m->u.hello.serial);
		FILL(m->u.hello.manufacturer);
		FILL(m->u.hello.model);
		FILL(m->u.hello.module);
		m->u.hello.starts = 3;
		break;
	case HSM_FAILED:
		FILL(m->u.failed.stage);
		m->u.failed.ckr = 0xa0;
		FILL(m->u.failed.name);
		m->u.failed.group = CKRG_PIN;
		FILL(m->u.failed.text);
		FILL(m->u.failed.pin_print);
		break;
	case HSM_GENERATED:
		m->u.generated.id = id;
		m->u.generated.started = 1732500000;
		m->u.generated.ended = INT64_C(4294967296); /* after 2106 */
		m->u.generated.took = 130;
		fill_evidence(&m->u.generated.evidence);
		break;
	case HSM_REFUSED:
	case HSM_UNKNOWN:
		m->u.no.id = id;
		FILL(m->u.no.stage);
		m->u.no.ckr = INT64_MIN; /* a vendor's code with bit 63 */
		FILL(m->u.no.name);
		m->u.no.group = CKRG_OTHER;
		FILL(m->u.no.text);
		break;
	case HSM_PAGE:
		m->u.page.privates = some_ids;
		m->u.page.nprivates = PAGE_IDS - 1;
		m->u.page.publics = some_ids;
		m->u.page.npublics = 1;
		break;
	case HSM_LISTED:
		m->u.listed.privates = 100000;
		m->u.listed.nameless = 7;
		break;
	case HSM_PROOF:
		m->u.proof.id = id;
		m->u.proof.privates = 1;
		m->u.proof.publics = 2;
		fill_evidence(&m->u.proof.evidence);
		break;
	case HSM_DESTROYED:
		m->u.destroyed.id = id;
		break;
	case HSM__TYPES:
		break;
	}
}

static char *
encode(const struct hsm_msg *m)
{
	struct ksm_fail fail;
	char *text = NULL;
	size_t len = 0;

	assert_int_equal(hsm_msg_encode(m, &text, &len, &fail), KSM_OK);
	assert_int_equal(strlen(text), len);
	assert_null(strchr(text, '\n'));
	return text;
}

/* `root` as a packet must be refused, and the words must name `what`. */
static void
refused_naming(const json_t *root, const char *what)
{
	struct ksm_fail fail = { KSM_OK, "" };
	struct hsm_msg m;
	char *text = json_dumps(root, JSON_COMPACT);

	assert_non_null(text);
	assert_int_equal(
	    hsm_msg_decode(text, strlen(text), &m, &fail), KSM_EPROTO);
	if (strstr(fail.text, what) == NULL)
		fail_msg("\"%s\" does not name %s", fail.text, what);
	free(text);
}

static void
refused_text(const char *text, const char *what)
{
	struct ksm_fail fail = { KSM_OK, "" };
	struct hsm_msg m;

	assert_int_equal(
	    hsm_msg_decode(text, strlen(text), &m, &fail), KSM_EPROTO);
	if (strstr(fail.text, what) == NULL)
		fail_msg("\"%s\" does not say %s", fail.text, what);
}

static void
every_type_comes_back_as_it_was_sent(void **ctx)
{
	(void)ctx;
	for (int t = 0; t < HSM__TYPES; t++) {
		struct hsm_msg sent, got;
		struct ksm_fail fail;
		char *text, *again;

		full_message((enum hsm_type)t, &sent);
		text = encode(&sent);
		assert_true(strlen(text) < MSG_HSM_MAX);
		if (hsm_msg_decode(text, strlen(text), &got, &fail) != KSM_OK)
			fail_msg("%s", fail.text);
		assert_int_equal(got.type, t);
		again = encode(&got);
		assert_string_equal(text, again);
		hsm_msg_clear(&got);
		free(text);
		free(again);
	}
}

static void
an_empty_page_comes_back(void **ctx)
{
	struct hsm_msg sent, got;
	struct ksm_fail fail;
	char *text;

	(void)ctx;
	memset(&sent, 0, sizeof(sent));
	sent.type = HSM_PAGE;
	text = encode(&sent);
	assert_int_equal(
	    hsm_msg_decode(text, strlen(text), &got, &fail), KSM_OK);
	assert_int_equal(got.u.page.nprivates, 0);
	assert_int_equal(got.u.page.npublics, 0);
	hsm_msg_clear(&got);
	free(text);
}

/* Call `damage` for every field, of the evidence too, on a fresh copy. */
static void
each_field(void (*damage)(json_t *object, const char *field, json_t *root))
{
	for (int t = 0; t < HSM__TYPES; t++) {
		struct hsm_msg m;
		json_t *whole, *copy, *v;
		const char *name;
		char *text;

		full_message((enum hsm_type)t, &m);
		text = encode(&m);
		whole = json_loads(text, 0, NULL);
		assert_non_null(whole);
		json_object_foreach(whole, name, v)
		{
			copy = json_deep_copy(whole);
			damage(copy, name, copy);
			json_decref(copy);
			if (!json_is_object(v))
				continue;
			const char *inner;
			json_t *unused;
			json_object_foreach(v, inner, unused)
			{
				(void)unused;
				copy = json_deep_copy(whole);
				damage(
				    json_object_get(copy, name), inner, copy);
				json_decref(copy);
			}
		}
		json_decref(whole);
		free(text);
	}
}

static void
remove_field(json_t *object, const char *field, json_t *root)
{
	assert_int_equal(json_object_del(object, field), 0);
	refused_naming(root, field);
}

static void
a_missing_field_is_named(void **ctx)
{
	(void)ctx;
	each_field(remove_field);
}

static void
mistype_field(json_t *object, const char *field, json_t *root)
{
	(void)json_object_set_new(object, field, json_null());
	refused_naming(root, field);
	(void)json_object_set_new(object, field, json_real(1.5));
	refused_naming(root, field);
}

static void
a_field_of_another_type_is_named(void **ctx)
{
	(void)ctx;
	each_field(mistype_field);
}

static void
lengthen_field(json_t *object, const char *field, json_t *root)
{
	json_t *v = json_object_get(object, field);
	char longer[8192];

	if (!json_is_string(v))
		return;
	/* two more, so that hex stays hex */
	(void)snprintf(longer, sizeof(longer), "%saa", json_string_value(v));
	(void)json_object_set_new(object, field, json_string(longer));
	refused_naming(root, strcmp(field, "type") == 0 ? longer : field);
}

static void
a_string_that_does_not_fit_is_named(void **ctx)
{
	(void)ctx;
	each_field(lengthen_field);
}

static void
surplus_beside(json_t *object, const char *field, json_t *root)
{
	(void)field;
	(void)json_object_set_new(object, "surplus_x", json_true());
	refused_naming(root, "surplus_x");
}

static void
a_surplus_field_is_named(void **ctx)
{
	(void)ctx;
	each_field(surplus_beside);
}

static void
numbers_out_of_range_are_refused(void **ctx)
{
	(void)ctx;
	refused_text("{\"v\":1,\"type\":\"generate\",\"job\":-1,\"id\":\"" ID_A
		     "\",\"alg\":8,\"bits\":2048,\"challenge\":\"\"}",
	    "job");
	refused_text("{\"v\":1,\"type\":\"generate\",\"job\":1,\"id\":\"" ID_A
		     "\",\"alg\":256,\"bits\":2048,\"challenge\":\"\"}",
	    "alg is 256");
	refused_text("{\"v\":1,\"type\":\"listed\",\"job\":1,"
		     "\"privates\":-1,\"publics\":0,\"foreign\":0,"
		     "\"nameless\":0,\"other\":0,\"pages\":0}",
	    "privates is -1");
}

static void
words_that_do_not_exist_are_refused(void **ctx)
{
	(void)ctx;
	refused_text("{\"v\":1,\"type\":\"destroy\",\"job\":1,\"id\":\"" ID_A
		     "\",\"half\":\"both\"}",
	    "half has no value \"both\"");
	refused_text("{\"v\":1,\"type\":\"shutdown\"}", "shutdown");
	refused_text("{\"v\":2,\"type\":\"enumerate\",\"job\":1,"
		     "\"sync_path\":\"\"}",
	    "version 2");
}

static void
what_is_no_message_is_refused(void **ctx)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
		{ "", "not JSON" },
		{ "[]", "not an object" },
		{ "{", "not JSON" },
		{ "{}", "v is missing" },
		{ "{\"v\":1}", "type is missing" },
		{ "{\"v\":1,\"v\":1,\"type\":\"page\"}", "not JSON" },
		{ "{\"v\":1,\"type\":\"page\"} x", "not JSON" },
		{ "{\"v\":1,\"type\":\"enumerate\",\"job\":1,"
		  "\"sync_path\":\"a\\u0000b\"}",
		    "not JSON" },
		{ "\xff\xfe", "not JSON" },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++)
		refused_text(cases[i].text, cases[i].says);
}

static void
a_packet_over_the_limit_is_refused_unread(void **ctx)
{
	struct ksm_fail fail;
	struct hsm_msg m;
	char *text;

	(void)ctx;
	text = malloc(MSG_HSM_MAX + 1);
	assert_non_null(text);
	memset(text, ' ', MSG_HSM_MAX + 1);
	memcpy(text, "{}", 2);
	assert_int_equal(
	    hsm_msg_decode(text, MSG_HSM_MAX + 1, &m, &fail), KSM_EPROTO);
	assert_non_null(strstr(fail.text, "at most 65536"));
	free(text);
}

static void
a_page_holds_so_many_ids_and_no_more(void **ctx)
{
	struct ksm_fail fail;
	struct hsm_msg m;
	json_t *root, *privates, *publics;
	char *text = NULL;
	size_t len;

	(void)ctx;
	full_message(HSM_PAGE, &m);
	m.u.page.npublics = 2;
	assert_int_equal(hsm_msg_encode(&m, &text, &len, &fail), KSM_EPROTO);
	assert_non_null(strstr(fail.text, "1001 ids"));
	assert_null(text);

	privates = json_array();
	publics = json_array();
	root = json_pack("{s:i, s:s, s:i, s:o, s:o}", "v", 1, "type", "page",
	    "job", 1, "privates", privates, "publics", publics);
	for (int i = 0; i < PAGE_IDS; i++)
		(void)json_array_append_new(privates, json_string(ID_A));
	(void)json_array_append_new(publics, json_string(ID_A));
	refused_naming(root, "1001 ids");
	(void)json_array_append_new(privates, json_string(ID_A));
	refused_naming(root, "privates has 1001");
	json_decref(root);

	refused_text("{\"v\":1,\"type\":\"page\",\"job\":1,\"privates\":[],"
		     "\"publics\":[\"" ID_A "\",\"00\"]}",
	    "publics, item 2");
}

static void
what_cannot_be_said_is_not_encoded(void **ctx)
{
	struct ksm_fail fail;
	struct hsm_msg m;
	char *text = NULL;
	size_t len;

	(void)ctx;
	full_message(HSM_HELLO, &m);
	memset(m.u.hello.label, 'a', sizeof(m.u.hello.label));
	assert_int_equal(hsm_msg_encode(&m, &text, &len, &fail), KSM_EPROTO);
	assert_non_null(strstr(fail.text, "label is not terminated"));

	full_message(HSM_HELLO, &m);
	m.u.hello.serial[0] = '\xff';
	assert_int_equal(hsm_msg_encode(&m, &text, &len, &fail), KSM_EPROTO);
	assert_non_null(strstr(fail.text, "serial is not UTF-8"));

	full_message(HSM_PROOF, &m);
	m.u.proof.evidence.point[1] = 'x';
	assert_int_equal(hsm_msg_encode(&m, &text, &len, &fail), KSM_EPROTO);
	assert_non_null(strstr(fail.text, "point is not hex"));

	m.type = HSM__TYPES;
	assert_int_equal(hsm_msg_encode(&m, &text, &len, &fail), KSM_EPROTO);
	assert_null(text);
}

static void
each_purpose_may_be_asked_its_own_things_only(void **ctx)
{
	static const struct {
		enum worker_purpose purpose;
		enum hsm_type may[5];
		size_t n;
	} cases[] = {
		{ PURPOSE_GENERATOR, { HSM_START, HSM_GENERATE }, 2 },
		{ PURPOSE_VERIFIER, { HSM_START, HSM_ENUMERATE, HSM_PROVE },
		    3 },
		{ PURPOSE_SETTLER,
		    { HSM_START, HSM_ENUMERATE, HSM_PROVE, HSM_DESTROY }, 4 },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		for (int t = 0; t <= HSM__TYPES; t++) {
			bool may = false;

			for (size_t k = 0; k < cases[i].n; k++)
				may = may || (int)cases[i].may[k] == t;
			assert_int_equal(hsm_type_allowed(cases[i].purpose,
					     (enum hsm_type)t),
			    may);
		}
	}
	assert_false(hsm_type_allowed(PURPOSE__COUNT, HSM_START));
}

static void
every_type_and_group_has_a_word(void **ctx)
{
	(void)ctx;
	for (int t = 0; t < HSM__TYPES; t++)
		assert_string_not_equal(hsm_type_text((enum hsm_type)t), "?");
	for (int g = 0; g < CKRG__COUNT; g++)
		assert_string_not_equal(ckr_group_text((enum ckr_group)g), "?");
	assert_string_equal(hsm_type_text(HSM__TYPES), "?");
	assert_string_equal(ckr_group_text(CKRG__COUNT), "?");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_type_comes_back_as_it_was_sent),
		cmocka_unit_test(an_empty_page_comes_back),
		cmocka_unit_test(a_missing_field_is_named),
		cmocka_unit_test(a_field_of_another_type_is_named),
		cmocka_unit_test(a_string_that_does_not_fit_is_named),
		cmocka_unit_test(a_surplus_field_is_named),
		cmocka_unit_test(numbers_out_of_range_are_refused),
		cmocka_unit_test(words_that_do_not_exist_are_refused),
		cmocka_unit_test(what_is_no_message_is_refused),
		cmocka_unit_test(a_packet_over_the_limit_is_refused_unread),
		cmocka_unit_test(a_page_holds_so_many_ids_and_no_more),
		cmocka_unit_test(what_cannot_be_said_is_not_encoded),
		cmocka_unit_test(each_purpose_may_be_asked_its_own_things_only),
		cmocka_unit_test(every_type_and_group_has_a_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
