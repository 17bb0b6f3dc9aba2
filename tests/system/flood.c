/*
 * flood - what a control socket should survive.
 *
 *   flood idle  SOCKET N        N connections that say nothing, until end of
 *                               file on standard input
 *   flood half  SOCKET N        the same, each with half a request
 *   flood fat   SOCKET N        the same, each with 60,000 bytes of a line
 *   flood slow  SOCKET N LINE   the same, each asks and does not read
 *   flood ask   SOCKET N LINE   N at once; all must be answered with a result
 *   flood kill  SOCKET N LINE   N, one after the other, gone somewhere in the
 *                               middle
 *   flood long  SOCKET N        N lines of 100 KB; each must get an error line
 *   flood noise SOCKET SECONDS LINE  random bytes, and LINE with bytes changed
 *   flood tell  SOCKET          one datagram
 *   flood listen SOCKET         print the datagrams that come (NOTIFY_SOCKET)
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 20000

static long
millis(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void
die(const char *what)
{
	(void)fprintf(stderr, "flood: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void
address(const char *path, struct sockaddr_un *addr)
{
	memset(addr, 0, sizeof(*addr));
	addr->sun_family = AF_UNIX;
	(void)snprintf(addr->sun_path, sizeof(addr->sun_path), "%s", path);
}

static int
join(const char *path)
{
	struct sockaddr_un addr;
	struct timeval patience = { .tv_sec = PATIENCE_MS / 1000 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address(path, &addr);
	if (fd == -1 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience,
		sizeof(patience)) == -1 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience,
		sizeof(patience)) == -1 ||
	    connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == -1)
		die(path);
	return fd;
}

static void
say(int fd, const char *bytes, size_t len)
{
	size_t sent = 0;
	ssize_t n;

	while (sent < len) {
		n = send(fd, bytes + sent, len - sent, MSG_NOSIGNAL);
		if (n == -1)
			return; /* it hung up, which is its right */
		sent += (size_t)n;
	}
}

static void
hold(const char *path, int n, const char *bytes, size_t len)
{
	char c;

	for (int i = 0; i < n; i++)
		say(join(path), bytes, len);
	(void)printf("open\n");
	(void)fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
}

static void
ask(const char *path, int n, const char *line)
{
	struct pollfd *fds = calloc((size_t)n, sizeof(*fds));
	char *ends = calloc((size_t)n, 4096), buf[4096];
	long begin = millis(), slowest = 0;
	int open = n, answered = 0;

	if (fds == NULL || ends == NULL)
		die("memory");
	for (int i = 0; i < n; i++) {
		fds[i] = (struct pollfd){ .fd = join(path), .events = POLLIN };
		say(fds[i].fd, line, strlen(line));
		say(fds[i].fd, "\n", 1);
	}
	while (open > 0) {
		if (poll(fds, (nfds_t)n, PATIENCE_MS) <= 0)
			break;
		for (int i = 0; i < n; i++) {
			char *end = ends + 4096 * (size_t)i;
			ssize_t got;

			if (fds[i].fd < 0 || fds[i].revents == 0)
				continue;
			got = recv(fds[i].fd, buf, sizeof(buf) - 1, 0);
			if (got > 0) {
				buf[got] = '\0';
				if (strstr(buf, "\"result\"") != NULL)
					end[0] = 1;
				continue;
			}
			answered += end[0];
			(void)close(fds[i].fd);
			fds[i].fd = -1;
			open--;
			slowest = millis() - begin;
		}
	}
	(void)printf(
	    "%d of %d answered, the last after %ld ms\n", answered, n, slowest);
	if (answered != n)
		exit(1);
}

static void
kill_midway(const char *path, int n, const char *line)
{
	size_t len = strlen(line);
	char buf[64];

	for (int i = 0; i < n; i++) {
		int fd = join(path);

		say(fd, line, (size_t)random() % (len + 1));
		if (random() % 2 == 0) {
			say(fd, line, len);
			say(fd, "\n", 1);
			if (random() % 2 == 0)
				(void)recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
		}
		(void)close(fd);
	}
}

static void
longer(const char *path, int n)
{
	static char fat[100000];
	char buf[512];
	ssize_t got;

	memset(fat, 'a', sizeof(fat));
	for (int i = 0; i < n; i++) {
		int fd = join(path);

		say(fd, fat, sizeof(fat));
		got = recv(fd, buf, sizeof(buf) - 1, 0);
		if (got <= 0 && errno != ECONNRESET)
			die("no answer to a long line");
		buf[got > 0 ? got : 0] = '\0';
		if (got > 0 && strstr(buf, "bad-request") == NULL) {
			(void)fprintf(stderr, "flood: answered: %s\n", buf);
			exit(1);
		}
		(void)close(fd);
	}
}

static void
noise(const char *path, long seconds, const char *line)
{
	long until = millis() + seconds * 1000, rounds = 0;
	size_t len;
	char buf[70000];

	for (; millis() < until; rounds++) {
		int fd = join(path);

		if (random() % 2 == 0) {
			len = (size_t)random() % 2000 + 1;
			for (size_t i = 0; i < len; i++)
				buf[i] = (char)random();
		} else {
			len = (size_t)snprintf(buf, sizeof(buf), "%s\n", line);
			for (long i = random() % 4; i >= 0; i--)
				buf[(size_t)random() % len] = (char)random();
		}
		say(fd, buf, len);
		if (random() % 4 != 0) {
			(void)shutdown(fd, SHUT_WR);
			while (recv(fd, buf, sizeof(buf), 0) > 0)
				;
		}
		(void)close(fd);
	}
	(void)printf("%ld requests of noise\n", rounds);
}

static void
tell(const char *path)
{
	struct sockaddr_un addr;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	address(path, &addr);
	if (fd == -1 ||
	    sendto(fd, "1", 1, 0, (struct sockaddr *)&addr, sizeof(addr)) == -1)
		die(path);
}

static void
hear(const char *path)
{
	struct sockaddr_un addr;
	char buf[4096];
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ssize_t n;

	address(path, &addr);
	if (fd == -1 ||
	    bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == -1)
		die(path);
	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0) {
		(void)fwrite(buf, 1, (size_t)n, stdout);
		(void)putchar('\n');
		(void)fflush(stdout);
	}
}

int
main(int argc, char *argv[])
{
	static char fat[60000];
	struct rlimit files;
	const char *mode, *path, *line;
	int n;

	if (argc < 3) {
		(void)fprintf(stderr, "usage: flood MODE SOCKET [N [LINE]]\n");
		return 2;
	}
	mode = argv[1];
	path = argv[2];
	n = argc > 3 ? atoi(argv[3]) : 1;
	line = argc > 4 ? argv[4] : "";
	(void)signal(SIGPIPE, SIG_IGN);
	srandom((unsigned int)(time(NULL) ^ getpid()));
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	memset(fat, 'a', sizeof(fat));
	if (strcmp(mode, "idle") == 0)
		hold(path, n, "", 0);
	else if (strcmp(mode, "half") == 0)
		hold(path, n, "{\"v\":1,", 7);
	else if (strcmp(mode, "fat") == 0)
		hold(path, n, fat, sizeof(fat));
	else if (strcmp(mode, "slow") == 0)
		hold(path, n, line, strlen(line));
	else if (strcmp(mode, "ask") == 0)
		ask(path, n, line);
	else if (strcmp(mode, "kill") == 0)
		kill_midway(path, n, line);
	else if (strcmp(mode, "long") == 0)
		longer(path, n);
	else if (strcmp(mode, "noise") == 0)
		noise(path, n, line);
	else if (strcmp(mode, "tell") == 0)
		tell(path);
	else if (strcmp(mode, "listen") == 0)
		hear(path);
	else
		return 2;
	return 0;
}
