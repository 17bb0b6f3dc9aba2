#include "said.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <stdlib.h>
#include <unistd.h>

static struct opendnssec od;

static struct xml_result
read_text(struct conf *c, const char *text)
{
	struct xml_file file = { c, CONF_OPENDNSSEC, "/etc/x/conf.xml" };
	struct xml_result result;
	struct ksm_fail fail;

	xml_setup();
	conf_init(c);
	assert_int_equal(opendnssec_read_bytes(&file, text, strlen(text), &od,
	    &result, &fail), KSM_OK);
	return result;
}

static struct xml_result
read_fixture(struct conf *c, const char *path)
{
	struct xml_file file = { c, CONF_OPENDNSSEC, path };
	struct xml_result result;
	struct ksm_fail fail;

	xml_setup();
	conf_init(c);
	assert_int_equal(opendnssec_read(&file, &od, &result, &fail), KSM_OK);
	return result;
}

static void
done(struct conf *c)
{
	opendnssec_clear(&od);
	conf_clear(c);
}

static void
expect_pin(int fd, const char *pin)
{
	char got[64];
	ssize_t n = pread(fd, got, sizeof(got), 0);

	assert_int_equal(n, strlen(pin));
	assert_memory_equal(got, pin, (size_t)n);
}

static void
a_file_of_1x_with_crlf_is_read(void **ctx)
{
	const struct conf_repository *r;
	struct conf c;

	(void)ctx;
	assert_true(read_fixture(&c, KSM_FIXTURES "/conf/good-1x.xml").sound);
	assert_int_equal(c.errors, 0);
	assert_int_equal(od.repositories.n, 1);
	r = &od.repositories.items[0].r;
	assert_string_equal(r->name, "SoftHSM");
	assert_string_equal(r->module, "/usr/lib/softhsm/libsofthsm2.so");
	assert_string_equal(r->token_label, "OpenDNSSEC");
	assert_int_equal(r->capacity, 1);
	assert_int_equal(r->pin, PIN_INLINE);
	expect_pin(r->pin_fd, "user:1234");
	assert_string_equal(od.kasp, "/etc/opendnssec/kasp.xml");
	assert_string_equal(od.zonelist, KSM_FIXTURES "/conf/zonelist.xml");
	assert_false(od.manual);
	assert_int_equal(said_times(&c, "is ignored"), 3);
	assert_non_null(said(&c, "Horizon"));
	assert_null(said(&c, "hidden-word"));
	assert_null(said(&c, "1234"));
	done(&c);
}

static void
a_file_of_2x_in_any_order_is_read(void **ctx)
{
	const struct conf_repository *r;
	struct conf c;

	(void)ctx;
	assert_true(read_fixture(&c, KSM_FIXTURES "/conf/good-2x.xml").sound);
	assert_int_equal(c.errors, 0);
	assert_true(od.manual);
	assert_int_equal(od.repositories.n, 2);
	r = &od.repositories.items[0].r;
	assert_true(r->require_backup);
	assert_true(r->skip_public_key);
	assert_false(r->allow_extraction);
	assert_int_equal(r->capacity, -1);
	r = &od.repositories.items[1].r;
	assert_true(r->allow_extraction);
	assert_int_equal(r->pin, PIN_NONE);
	done(&c);
}

static void
a_pin_is_sealed(void **ctx)
{
	struct conf c;
	int fd;

	(void)ctx;
	(void)read_fixture(&c, KSM_FIXTURES "/conf/good-2x.xml");
	fd = od.repositories.items[0].r.pin_fd;
	assert_int_equal(fcntl(fd, F_GET_SEALS), F_SEAL_SEAL | F_SEAL_SHRINK |
	    F_SEAL_GROW | F_SEAL_WRITE);
	assert_int_equal(write(fd, "x", 1), -1);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	done(&c);
}

#define REPO(in) "<Configuration>\n<RepositoryList>\n<Repository name='r'>\n" \
	in "</Repository></RepositoryList></Configuration>"
#define BASE "<Module>/m.so</Module><TokenLabel>t</TokenLabel>"

static void
faults_are_found_with_their_lines(void **ctx)
{
	static const struct expect cases[] = {
		{ "name as an element", "<Configuration><RepositoryList>\n"
		  "<Repository>\n<Name>old</Name>" BASE "</Repository>"
		  "</RepositoryList></Configuration>", CONF_ERROR, 3,
		    "is an attribute" },
		{ "no name", "<Configuration><RepositoryList>\n<Repository>"
		  BASE "</Repository></RepositoryList></Configuration>",
		    CONF_ERROR, 2, "<Repository> has no name" },
		{ "no label", REPO("<Module>/m.so</Module>"), CONF_ERROR, 3,
		    "no <TokenLabel>" },
		{ "no module", REPO("<TokenLabel>t</TokenLabel>"), CONF_ERROR,
		    3, "no <Module>" },
		{ "no list", "<Configuration/>", CONF_ERROR, 1,
		    "no <RepositoryList>" },
		{ "capacity of nothing", REPO(BASE "<Capacity>0</Capacity>"),
		    CONF_ERROR, 4, "Capacity" },
		{ "text in a switch",
		    REPO(BASE "<RequireBackup>false</RequireBackup>"),
		    CONF_WARNING, 4, "RequireBackup counts as present" },
		{ "empty PIN", REPO(BASE "<PIN></PIN>"), CONF_ERROR, 4,
		    "PIN is empty" },
		{ "PIN as a path", REPO(BASE "<PIN>/etc/pin</PIN>"),
		    CONF_WARNING, 4, "looks like a path" },
		{ "PIN as a template", REPO(BASE "<PIN>$PIN</PIN>"),
		    CONF_WARNING, 4, "looks like a template" },
		{ "second PIN", REPO(BASE "<PIN>1</PIN>\n<PIN>2</PIN>"),
		    CONF_ERROR, 5, "<PIN> is there more than once" },
		{ "unknown in a repository", REPO(BASE "<Pin>1234</Pin>"),
		    CONF_ERROR, 4, "unknown element in <Repository>" },
		{ "unknown elsewhere", "<Configuration><RepositoryList/>\n"
		  "<Enforcer><New/></Enforcer></Configuration>",
		    CONF_WARNING, 2, "unknown element in <Enforcer>" },
		{ "bad interval", "<Configuration><RepositoryList/>\n"
		  "<Enforcer><Interval>3600</Interval></Enforcer>"
		  "</Configuration>", CONF_ERROR, 2,
		    "Interval is not a duration" },
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		struct conf c;

		(void)read_text(&c, cases[i].text);
		expect_said(&cases[i], &c);
		done(&c);
	}
}

static void
no_finding_shows_a_pin(void **ctx)
{
	static const char *const cases[] = {
		REPO(BASE "<PIN>/s3cret</PIN>"),
		REPO(BASE "<PIN>$s3cret</PIN>"),
		REPO(BASE "<PIN>s3cret</PIN><PIN>s3cret2</PIN>"),
		REPO(BASE "<PIN>s3cret<X/></PIN>"),
		REPO(BASE "<Pin>s3cret</Pin>"),
		REPO(BASE "s3cret"),
		REPO(BASE "<RequireBackup>s3cret</RequireBackup>"),
		REPO(BASE "<PIN>s3cret&s3cret;</PIN>"),
		REPO(BASE "<PIN value='s3cret'/>"),
	};

	(void)ctx;
	for (size_t i = 0; i < nitems(cases); i++) {
		struct conf c;

		(void)read_text(&c, cases[i]);
		assert_true(c.nfindings > 0);
		if (said(&c, "s3cret") != NULL)
			fail_msg("shown: %s", cases[i]);
		done(&c);
	}
}

static void
a_pin_over_255_bytes_is_an_error(void **ctx)
{
	char text[1000];
	struct conf c;

	(void)ctx;
	for (int len = 255; len <= 256; len++) {
		(void)snprintf(text, sizeof(text), REPO(BASE "<PIN>%0*d</PIN>"),
		    len, 1);
		(void)read_text(&c, text);
		assert_int_equal(c.errors, len - 255);
		assert_int_equal(od.repositories.items[0].r.pin,
		    len == 255 ? PIN_INLINE : PIN_NONE);
		done(&c);
	}
}

static void
a_pin_in_a_file_that_all_can_read_is_a_warning(void **ctx)
{
	static const char text[] = REPO(BASE "<PIN>1234</PIN>");
	char path[] = "/tmp/ksm-conf-XXXXXX";
	struct conf c;
	int fd;

	(void)ctx;
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	assert_int_equal(fchmod(fd, 0640), 0);
	(void)read_fixture(&c, path);
	assert_null(said(&c, "everybody can read"));
	done(&c);
	assert_int_equal(fchmod(fd, 0644), 0);
	(void)read_fixture(&c, path);
	assert_non_null(said(&c, "everybody can read"));
	done(&c);
	(void)close(fd);
	(void)unlink(path);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_of_1x_with_crlf_is_read),
		cmocka_unit_test(a_file_of_2x_in_any_order_is_read),
		cmocka_unit_test(a_pin_is_sealed),
		cmocka_unit_test(faults_are_found_with_their_lines),
		cmocka_unit_test(no_finding_shows_a_pin),
		cmocka_unit_test(a_pin_over_255_bytes_is_an_error),
		cmocka_unit_test(
		    a_pin_in_a_file_that_all_can_read_is_a_warning),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
