/*
 * operation.h - what ksmpool-hsm does on request, one thing at a time.
 *
 * Runs in: ksmpool-hsm.
 *
 * Each fills *reply with exactly one answer. OP_LEAVE: send it, then exit 1;
 * nothing is repaired in here, a fresh process looks at the token again.
 */
#ifndef KSMPOOL_HSM_OPERATION_H
#define KSMPOOL_HSM_OPERATION_H

#include "session.h"

enum op_end { OP_STAY, OP_LEAVE };

enum op_end generate_run(
    struct session *s, const struct hsm_generate *want, struct hsm_msg *reply);

/*
 * What the last enumeration saw: prove and destroy work on its handles, so
 * that no search is made per key.
 */
struct inventory;

/* Send one page; false: the peer is gone, stop. */
typedef bool (*page_fn)(void *ctx, const struct hsm_msg *page);

/*
 * *inv (NULL: none yet) is replaced when the enumeration is complete. A
 * verifier's second enumeration reads only objects whose handle is new.
 */
enum op_end enumerate_run(struct session *s, struct inventory **inv,
    const struct hsm_enumerate *want, page_fn send, void *ctx,
    struct hsm_msg *reply);
/* Remembers the handles and the public value, for remove_run. */
enum op_end prove_run(struct session *s, struct inventory *inv,
    const struct hsm_prove *want, struct hsm_msg *reply);
enum op_end destroy_run(struct session *s, struct inventory *inv,
    const struct hsm_destroy *want, struct hsm_msg *reply);
enum op_end remove_run(struct session *s, struct inventory *inv,
    const struct hsm_remove *want, struct hsm_msg *reply);
void inventory_free(struct inventory *inv);

/* Debris that the last inspect saw; *found NULL: none was made yet. */
struct debris;
enum op_end inspect_run(struct session *s, struct debris **found,
    const struct hsm_inspect *want, page_fn send, void *ctx,
    struct hsm_msg *reply);
enum op_end sweep_run(struct session *s, struct debris *found,
    const struct hsm_sweep *want, struct hsm_msg *reply);
void debris_free(struct debris *d);

/* HSM_REFUSED or HSM_UNKNOWN; `rv` CKR_OK: no PKCS#11 code. */
void reply_no(struct hsm_msg *reply, enum hsm_type type, int64_t job,
    const struct key_id *id, const char *stage, CK_RV rv, enum ckr_group group,
    const char *fmt, ...) __attribute__((format(printf, 8, 9)));

#endif
