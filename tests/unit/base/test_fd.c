#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ksmpool/fd.h"

static void
a_packet_arrives_whole_with_its_descriptor(void **ctx)
{
	struct ksm_fail fail;
	char buf[16];
	int pair[2], pipefd[2], got = -1;
	size_t len;

	(void)ctx;
	assert_int_equal(fd_packet_pair(pair, &fail), KSM_OK);
	assert_int_equal(pipe(pipefd), 0);
	assert_int_equal(fd_packet_send(pair[0], "hello", 5, pipefd[0], &fail),
	    KSM_OK);
	assert_int_equal(fd_packet_recv(pair[1], buf, sizeof(buf), &len, &got,
	    &fail), KSM_OK);
	assert_int_equal(len, 5);
	assert_memory_equal(buf, "hello", 5);
	assert_true(got >= 0);
	assert_true((fcntl(got, F_GETFD) & FD_CLOEXEC) != 0);
	assert_int_equal(write(pipefd[1], "x", 1), 1);
	assert_int_equal(read(got, buf, 1), 1);
	fd_close(&got);
	fd_close(&pipefd[0]);
	fd_close(&pipefd[1]);
	fd_close(&pair[0]);
	assert_int_equal(fd_packet_recv(pair[1], buf, sizeof(buf), &len, &got,
	    &fail), KSM_ENOENT);
	fd_close(&pair[1]);
}

static void
a_packet_that_does_not_fit_is_a_protocol_error(void **ctx)
{
	struct ksm_fail fail;
	char buf[4];
	int pair[2], got = -1;
	size_t len;

	(void)ctx;
	assert_int_equal(fd_packet_pair(pair, &fail), KSM_OK);
	assert_int_equal(fd_packet_send(pair[0], "too long", 8, -1, &fail),
	    KSM_OK);
	assert_int_equal(fd_packet_recv(pair[1], buf, sizeof(buf), &len, &got,
	    &fail), KSM_EPROTO);
	assert_int_equal(got, -1);
	fd_close(&pair[0]);
	fd_close(&pair[1]);
}

static void
sending_to_a_dead_peer_is_an_error_and_no_signal(void **ctx)
{
	struct ksm_fail fail;
	int pair[2];

	(void)ctx;
	assert_int_equal(fd_packet_pair(pair, &fail), KSM_OK);
	fd_close(&pair[1]);
	assert_int_equal(fd_packet_send(pair[0], "x", 1, -1, &fail), KSM_ESYS);
	fd_close(&pair[0]);
}

static void
a_child_has_exactly_the_descriptors_of_the_map(void **ctx)
{
	char *argv[] = { "/bin/sh", "-c",
		"n=0; for f in /proc/$$/fd/*; do "
		"[ -e $f ] && n=$((n+1)); done; "
		"echo $n; echo three >&3; ulimit -c", NULL };
	struct ksm_fail fail;
	char buf[64] = "";
	int out[2], three[2], pidfd, status;
	pid_t pid;
	ssize_t n;

	(void)ctx;
	assert_int_equal(pipe(out), 0);
	assert_int_equal(pipe(three), 0);
	assert_int_equal(fd_spawn(argv, NULL,
	    (int[]){ -1, out[1], STDERR_FILENO, three[1] }, 4, &pid, &pidfd,
	    &fail), KSM_OK);
	fd_close(&out[1]);
	fd_close(&three[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 0);
	n = read(out[0], buf, sizeof(buf) - 1);
	assert_true(n > 0);
	assert_string_equal(buf, "4\n0\n");
	memset(buf, 0, sizeof(buf));
	assert_int_equal(read(three[0], buf, sizeof(buf) - 1), 6);
	assert_string_equal(buf, "three\n");
	fd_close(&pidfd);
	fd_close(&out[0]);
	fd_close(&three[0]);
}

static void
a_program_that_is_not_there_is_named(void **ctx)
{
	char *argv[] = { "/nonexistent/program", NULL };
	struct ksm_fail fail;
	pid_t pid;
	int pidfd;

	(void)ctx;
	assert_int_equal(fd_spawn(argv, NULL, NULL, 0, &pid, &pidfd, &fail),
	    KSM_ESYS);
	assert_non_null(strstr(fail.text, "/nonexistent/program"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_packet_arrives_whole_with_its_descriptor),
		cmocka_unit_test(a_packet_that_does_not_fit_is_a_protocol_error),
		cmocka_unit_test(
		    sending_to_a_dead_peer_is_an_error_and_no_signal),
		cmocka_unit_test(
		    a_child_has_exactly_the_descriptors_of_the_map),
		cmocka_unit_test(a_program_that_is_not_there_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
