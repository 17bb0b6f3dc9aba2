#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "completion.h"
#include "metrics.h"

static char *
printed(const char *text)
{
	json_t *doc = text != NULL ? json_loads(text, 0, NULL) : NULL;
	char *out = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&out, &len);

	if (text != NULL)
		assert_non_null(doc);
	metrics_print(f, doc);
	(void)fclose(f);
	json_decref(doc);
	return out;
}

static void
has(const char *out, const char *line)
{
	char whole_line[512];

	(void)snprintf(whole_line, sizeof(whole_line), "\n%s\n", line);
	if (strstr(out, whole_line) == NULL)
		fail_msg("no line %s in\n%s", line, out);
}

static void
no_daemon_is_still_a_whole_answer(void **ctx)
{
	char *out = printed(NULL);

	(void)ctx;
	assert_string_equal(out,
	    "# HELP ksmpool_up 1 if the daemon answered.\n"
	    "# TYPE ksmpool_up gauge\nksmpool_up 0\n");
	free(out);
}

#define LABELS                                                              \
	"{policy=\"a\\\"b\\\\c\\nd\",role=\"ZSK\",repository=\"r\","        \
	"algorithm=\"ED25519\",size=\"256\""

static const char whole[] =
    "{\"daemon_version\":\"1.2\",\"started_s\":7,\"last_topup_s\":8,"
    "\"newest_key_s\":9,\"zones\":3,\"older_zonelist\":true,\"paused\":false,"
    "\"clock\":\"it is behind\",\"database\":null,"
    "\"handouts\":{\"number\":12,\"locked\":true},\"bounds_ms\":[5,2500],"
    "\"pools\":[{\"policy\":\"a\\\"b\\\\c\\nd\",\"role\":\"ZSK\","
    "\"repository\":\"r\",\"algorithm\":\"ED25519\",\"size\":256,"
    "\"level\":\"low\",\"required\":10,\"critical\":3,\"low_water\":8,"
    "\"target\":11,\"deficit\":5,\"held\":1,\"covered\":4,\"usable\":4,"
    "\"stock\":{\"ready\":6,\"taken\":2}}],"
    "\"repositories\":[{\"name\":\"r\",\"status\":\"parked\",\"debris\":4}],"
    "\"backups\":[{\"repository\":\"r\",\"required\":true,\"suffices\":false,"
    "\"uncovered_in_use\":0},{\"repository\":\"s\",\"suffices\":true,"
    "\"uncovered_in_use\":2}],"
    "\"tokens\":[{\"repository\":\"r\",\"capacity\":null,\"pairs_held\":8}],"
    "\"generated\":[{\"repository\":\"r\",\"algorithm\":\"ED25519\","
    "\"size\":256,\"keys\":6,\"buckets\":[1,2,3],\"sum_ms\":12050}],"
    "\"errors\":[{\"repository\":\"r\",\"reasons\":{\"full\":2},"
    "\"deaths\":1}]}";

static void
every_number_has_its_line(void **ctx)
{
	static const char *const lines[] = {
		"ksmpool_up 1",
		"ksmpool_backed_up_keys_suffice{repository=\"r\"} 0",
		"ksmpool_backed_up_keys_suffice{repository=\"s\"} 1",
		"ksmpool_keys_in_use_without_backup{repository=\"s\"} 2",
		"ksmpool_backup_required{repository=\"r\"} 1",
		"ksmpool_pool_usable_keys" LABELS "} 4",
		"ksmpool_build_info{version=\"1.2\"} 1",
		"ksmpool_start_time_seconds 7",
		"ksmpool_last_topup_timestamp_seconds 8",
		"ksmpool_newest_key_timestamp_seconds 9",
		"ksmpool_zonelist_outdated 1",
		"ksmpool_paused 0",
		"ksmpool_clock_trouble 1",
		"ksmpool_database_trouble 0",
		"ksmpool_handouts_total 12",
		"ksmpool_handouts_locked 1",
		"ksmpool_pool_keys" LABELS ",state=\"ready\"} 6",
		"ksmpool_pool_keys" LABELS ",state=\"taken\"} 2",
		"ksmpool_pool_required_keys" LABELS "} 10",
		"ksmpool_pool_critical_keys" LABELS "} 3",
		"ksmpool_pool_low_water_keys" LABELS "} 8",
		"ksmpool_pool_target_keys" LABELS "} 11",
		"ksmpool_pool_deficit_keys" LABELS "} 5",
		"ksmpool_pool_level" LABELS ",state=\"low\"} 1",
		"ksmpool_pool_level" LABELS ",state=\"full\"} 0",
		"ksmpool_repository_status{repository=\"r\",state=\"ok\"} 0",
		"ksmpool_repository_status{repository=\"r\",state=\"parked\"} 1",
		"ksmpool_repository_debris_objects{repository=\"r\"} 4",
		"ksmpool_token_pairs{repository=\"r\"} 8",
		"ksmpool_generate_errors_total{repository=\"r\",reason=\"full\"} 2",
		"ksmpool_worker_deaths_total{repository=\"r\"} 1",
	};
	char *out = printed(whole);

	(void)ctx;
	for (size_t i = 0; i < nitems(lines); i++)
		has(out, lines[i]);
	assert_null(strstr(out, "ksmpool_token_capacity_keys{"));
	free(out);
}

#define MADE "{repository=\"r\",algorithm=\"ED25519\",size=\"256\""

static void
buckets_are_cumulative_and_in_seconds(void **ctx)
{
	char *out = printed(whole);

	(void)ctx;
	has(out, "ksmpool_generate_duration_seconds_bucket" MADE
		 ",le=\"0.005\"} 1");
	has(out, "ksmpool_generate_duration_seconds_bucket" MADE
		 ",le=\"2.5\"} 3");
	has(out, "ksmpool_generate_duration_seconds_bucket" MADE
		 ",le=\"+Inf\"} 6");
	has(out, "ksmpool_generate_duration_seconds_sum" MADE "} 12.05");
	has(out, "ksmpool_generate_duration_seconds_count" MADE "} 6");
	has(out, "ksmpool_keys_generated_total" MADE "} 6");
	free(out);
}

/* A name of it in a scratch directory. */
static void
scratch(char *dir, char *path, size_t size, const char *name)
{
	(void)strcpy(dir, "/tmp/ksmpool-metrics.XXXXXX");
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, size, "%s/%s", dir, name);
}

static int
entries(const char *dir)
{
	DIR *d = opendir(dir);
	int n = 0;

	assert_non_null(d);
	while (readdir(d) != NULL)
		n++;
	(void)closedir(d);
	return n - 2;
}

static void
a_file_is_replaced_whole_and_readable(void **ctx)
{
	char dir[64], path[128], got[16] = "";
	struct ksm_fail fail;
	struct stat sb;
	FILE *f;

	(void)ctx;
	scratch(dir, path, sizeof(path), "k.prom");
	assert_int_equal(metrics_write(path, "one 1\n", 6, &fail), KSM_OK);
	assert_int_equal(metrics_write(path, "two 2\n", 6, &fail), KSM_OK);
	assert_int_equal(stat(path, &sb), 0);
	assert_int_equal(sb.st_mode & 07777, 0644);
	f = fopen(path, "r");
	assert_non_null(fgets(got, sizeof(got), f));
	(void)fclose(f);
	assert_string_equal(got, "two 2\n");
	assert_int_equal(entries(dir), 1);
	(void)unlink(path);
	(void)rmdir(dir);
}

static void
a_file_that_cannot_be_written_leaves_nothing(void **ctx)
{
	char dir[64], path[128];
	struct ksm_fail fail;

	(void)ctx;
	scratch(dir, path, sizeof(path), "k.txt");
	assert_int_equal(metrics_write(path, "x", 1, &fail), KSM_EREFUSED);
	(void)snprintf(path, sizeof(path), "%s/.prom", dir);
	assert_int_equal(metrics_write(path, "x", 1, &fail), KSM_EREFUSED);
	(void)snprintf(path, sizeof(path), "%s/none/k.prom", dir);
	assert_int_equal(metrics_write(path, "x", 1, &fail), KSM_ESYS);
	assert_non_null(strstr(fail.text, "none/k.prom"));
	(void)snprintf(path, sizeof(path), "%s/d.prom", dir);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(metrics_write(path, "x", 1, &fail), KSM_ESYS);
	assert_int_equal(entries(dir), 1);
	(void)rmdir(path);
	(void)rmdir(dir);
}

static void
completions_exist_for_three_shells(void **ctx)
{
	FILE *null = fopen("/dev/null", "w");

	(void)ctx;
	assert_true(completion_print(null, "bash"));
	assert_true(completion_print(null, "zsh"));
	assert_true(completion_print(null, "fish"));
	assert_false(completion_print(null, "csh"));
	(void)fclose(null);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_daemon_is_still_a_whole_answer),
		cmocka_unit_test(every_number_has_its_line),
		cmocka_unit_test(buckets_are_cumulative_and_in_seconds),
		cmocka_unit_test(a_file_is_replaced_whole_and_readable),
		cmocka_unit_test(a_file_that_cannot_be_written_leaves_nothing),
		cmocka_unit_test(completions_exist_for_three_shells),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
