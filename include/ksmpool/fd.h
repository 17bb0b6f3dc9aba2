/*
 * fd.h - descriptors: close once, packets whole, children with exactly the
 * descriptors of the map.
 *
 * Runs in: every program (base). POSIX and Linux only.
 */
#ifndef KSMPOOL_FD_H
#define KSMPOOL_FD_H

#include <sys/types.h>

#include "ksmpool/err.h"

/* Close and forget; -1 is accepted. errno is kept. */
void fd_close(int *fdp);

/* CLOEXEC SEQPACKET pair with room for one 64 KiB packet each way. */
enum ksm_err fd_packet_pair(int pair[2], struct ksm_fail *fail);

/*
 * One packet, with `fd` attached unless -1. KSM_EBUSY: would block.
 * KSM_ESYS: the peer is gone or worse. Never raises SIGPIPE.
 */
enum ksm_err fd_packet_send(int sock, const void *buf, size_t len, int fd,
    struct ksm_fail *fail);
/*
 * One packet into buf (`size`), its length in *len, an attached descriptor
 * in *fd (else -1; `fd` NULL: any that come are closed). KSM_ENOENT: end of
 * file. KSM_EBUSY: would block. KSM_EPROTO: cut or too many descriptors.
 */
enum ksm_err fd_packet_recv(int sock, void *buf, size_t size, size_t *len,
    int *fd, struct ksm_fail *fail);

/*
 * Start argv[0] with descriptors 0..n-1 taken from fds[] (-1: /dev/null) and
 * nothing else open, default signals, RLIMIT_CORE 0. `env` NULL: inherited.
 * *pidfd is CLOEXEC.
 */
enum ksm_err fd_spawn(char *const argv[], char *const env[], const int *fds,
    size_t nfds, pid_t *pid, int *pidfd, struct ksm_fail *fail);
/* The same, and what it starts is of its process group: kill(-*pid, ...). */
enum ksm_err fd_spawn_group(char *const argv[], char *const env[],
    const int *fds, size_t nfds, pid_t *pid, int *pidfd,
    struct ksm_fail *fail);

/* Whole buffer, retried on EINTR. */
enum ksm_err fd_write_all(int fd, const void *buf, size_t len,
    struct ksm_fail *fail);

/*
 * rename(2) below a directory (or AT_FDCWD), never over what has the name: -1
 * with EEXIST then. A file system that cannot promise it is asked beforehand.
 */
int fd_rename_new(int dirfd, const char *from, const char *to);

#endif
