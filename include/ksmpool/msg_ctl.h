/*
 * msg_ctl.h - what ksmctl and ksmpoold say to each other.
 *
 * Runs in: both ends (core: jansson, no I/O).
 * Wire:    Unix stream socket, one JSON object per line, at most 64 KiB.
 *
 *   ksmctl:   {"v":1,"command":"status","args":{...}}        one per connection
 *   ksmpoold: {"v":1,"type":"item","item":{...}}             0..n, streamed
 *             {"v":1,"type":"progress","done":N,"total":N,"text":"..."} 0..n
 *             {"v":1,"type":"result","exit":0,"result":{...}} exactly one, last
 *          or {"v":1,"type":"error","exit":2,"code":"...","text":"...",
 *              "hint":"..."}                                  last
 *
 * An item names the list it belongs to: {"keys":{...}}. What ksmctl --json
 * prints is these lists, then the members of the result, in one document.
 */
#ifndef KSMPOOL_MSG_CTL_H
#define KSMPOOL_MSG_CTL_H

#include <stdbool.h>

#include <jansson.h>

#include "ksmpool/err.h"

#define MSG_CTL_VERSION 1
#define MSG_CTL_LINE	65536 /* with the newline */

/* Exit statuses of ksmctl; documented in ksmctl(1). */
enum ctl_exit {
	CTL_OK = 0,
	CTL_ATTENTION = 1, /* the answer is "look at this" */
	CTL_FAILED = 2,	   /* refused, failed, faults found */
	CTL_USAGE = 64,
	CTL_UNREACHABLE = 69, /* no daemon on the socket */
	CTL_TIMEOUT = 75,
	CTL_DENIED = 77,
};

enum ctl_type { CTL_ITEM, CTL_PROGRESS, CTL_RESULT, CTL_ERROR };

struct ctl_request {
	char command[64]; /* "key list" */
	json_t *args;	  /* an object, owned */
};

struct ctl_reply {
	enum ctl_type type;
	int exit;
	int64_t done, total;
	char code[32];	/* "denied", "unknown-command", "bad-argument", ... */
	char text[1024];
	char hint[512];
	json_t *body; /* item or result, owned; NULL otherwise */
};

/*
 * A JSON string of any bytes: what is not UTF-8 (a token's label may be
 * anything) becomes '?', and what is longer than CTL_TEXT bytes is cut.
 */
#define CTL_TEXT 4096
json_t *ctl_text(const char *text);

/* malloc'd line with its newline, or NULL (no memory or over the limit). */
char *ctl_request_encode(const struct ctl_request *r);
char *ctl_reply_encode(const struct ctl_reply *r);
/* Strict: unknown, missing, surplus and oversized fields are KSM_EPROTO. */
enum ksm_err ctl_request_decode(const char *line, size_t len,
    struct ctl_request *out, struct ksm_fail *fail);
enum ksm_err ctl_reply_decode(const char *line, size_t len,
    struct ctl_reply *out, struct ksm_fail *fail);
void ctl_request_clear(struct ctl_request *r);
void ctl_reply_clear(struct ctl_reply *r);

#endif
