/*
 * msg_conf.h - what ksmpool-config tells its reader.
 *
 * Runs in: ksmpool-config sends; ksmpoold receives (core: jansson, no I/O).
 * Wire:    SOCK_SEQPACKET on descriptor 3; one packet is one JSON object
 *          under 64 KiB: "v":1, "type" and exactly the fields of that type.
 *          Settings may carry one descriptor (SCM_RIGHTS): the index of
 *          zones (zoneindex.h). So does a repository packet with an inline
 *          PIN: a sealed memfd that holds the PIN.
 * Order:   settings, repository*, policy* (each with its keys inside),
 *          finding*, end. `end` counts what came before; a stream without
 *          `end`, or with other counts, is not used.
 */
#ifndef KSMPOOL_MSG_CONF_H
#define KSMPOOL_MSG_CONF_H

#include "ksmpool/policy.h"

#define MSG_CONF_VERSION 1
#define MSG_CONF_MAX	 65536

/* Called once per packet; `fd` is -1 or stays the caller's. */
typedef enum ksm_err (*conf_emit_fn)(void *ctx, const char *text, size_t len,
    int fd, struct ksm_fail *fail);

/* The whole of `c` as packets, in order. */
enum ksm_err conf_encode(const struct conf *c, conf_emit_fn emit, void *ctx,
    struct ksm_fail *fail);

struct conf_decoder {
	struct conf *conf;
	int64_t packets;
	bool ended;
};

void conf_decoder_init(struct conf_decoder *d, struct conf *into);
/*
 * One packet. Takes `fd` over in every case. KSM_EPROTO with words; the conf
 * is then to be cleared.
 */
enum ksm_err conf_decode(struct conf_decoder *d, const char *text, size_t len,
    int fd, struct ksm_fail *fail);
/* At end of file: KSM_EPROTO unless `end` came and its counts agree. */
enum ksm_err conf_decode_end(struct conf_decoder *d, struct ksm_fail *fail);

#endif
