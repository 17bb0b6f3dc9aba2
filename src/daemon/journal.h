/*
 * journal.h - the hand-out journal: a file that says who was given which key.
 *
 * Runs in: ksmpoold only. Knows no database: engine and store_handout.h do.
 * Owns:    the open file and its lock (flock).
 * Blocks:  on disk, once for each journal_append (fsync).
 *
 * Lines of JSON, each ended by a newline. The first names the installation:
 *
 *   {"journal":"ksmpool hand-outs","v":1,"installation":"4b534d50"}
 *   {"n":1,"prev":"9f...","time":"2026-11-25T03:00:00Z","key":"4b53...", ...}
 *
 * `prev` is SHA-256 of the line before it, without its newline. A line that
 * was only begun (its writer was killed, or the machine went down) has no
 * newline; nobody was told of it, and it is cut off when the file is opened.
 *
 * The journal is the truth about hand-outs: it is written and synced before
 * the database says `taken` and before anybody is answered. It should lie on
 * another disk or host than the database.
 */
#ifndef KSMPOOL_JOURNAL_H
#define KSMPOOL_JOURNAL_H

#include "store_handout.h"

struct journal;

/*
 * A line that was read; KSM_OK to go on. Handout, text and hash are borrowed.
 */
typedef enum ksm_err (*journal_fn)(void *ctx, const struct handout *h,
    const struct handout_line *line, struct ksm_fail *fail);

/*
 * Open or create (0640), lock, and read from its beginning to its end: each line
 * must be the one that the next one names. Up to number `known` that is all that
 * is looked at, and `fn` gets number and mark alone. `path` is copied. KSM_EREFUSED: it is not a journal, is of another installation, or
 * a line is not what was written ("PATH:LINE: ..."); KSM_EBUSY: another process
 * holds it; KSM_ESYS: the system says no, with path and uid. What `fn` answers
 * but KSM_OK ends it, too; of KSM_EREFUSED file and line are named. *cut: bytes of a torn last line that were removed.
 */
enum ksm_err journal_open(const char *path, const uint8_t tag[KEY_TAG_LEN],
    int64_t known, journal_fn fn, void *ctx, struct journal **out, int64_t *cut,
    struct ksm_fail *fail);
void journal_close(struct journal *j); /* NULL is fine */

/* What hand-out 1 has as `prev`: the hash of the first line. */
enum ksm_err journal_first_hash(const uint8_t tag[KEY_TAG_LEN],
    uint8_t hash[DIGEST_LEN], struct ksm_fail *fail);
/* Number of the last line, 0 for none; hash may be NULL. */
int64_t journal_head(const struct journal *j, uint8_t hash[DIGEST_LEN]);

/*
 * KSM_OK, or why nothing can be written: its file was removed, replaced or
 * changed by somebody else. One stat(2), two.
 */
enum ksm_err journal_look(const struct journal *j, struct ksm_fail *fail);

/*
 * Write n lines and sync them, numbered on from the head; h[].number is given
 * here. Texts and hashes come back in lines[] (free each text). KSM_ESYS:
 * nothing of it is in the file. KSM_EUNKNOWN: what was written could not be
 * taken back and may be on disk, so nobody may say that it is not, and nothing
 * more can be written before it was opened anew.
 */
enum ksm_err journal_append(struct journal *j, struct handout *h, size_t n,
    struct handout_line *lines, struct ksm_fail *fail);
/*
 * For one line as it stands in a database, to write a journal again; it may be
 * in the file only after journal_sync. KSM_EREFUSED: it does not follow what is there.
 */
enum ksm_err journal_append_text(struct journal *j, const char *text,
    struct ksm_fail *fail);
enum ksm_err journal_sync(struct journal *j, struct ksm_fail *fail);

/*
 * Give the file another name, beside the old one, which it keeps for ever;
 * `aside` is that name, "" when there was no file. It must not be open here.
 */
enum ksm_err journal_set_aside(const char *path, char aside[512],
    struct ksm_fail *fail);
/*
 * A new one without lines under another name (PATH.new, an older one of that
 * name goes), then, when all is in it and synced, in the place of the old one,
 * which is set aside. When journal_place fails the old one is there, or beside
 * it, and a `j` that did not get its name keeps the other.
 */
enum ksm_err journal_new_remove(const char *path, struct ksm_fail *fail);
enum ksm_err journal_create(const char *path, const uint8_t tag[KEY_TAG_LEN],
    struct journal **out, struct ksm_fail *fail);
enum ksm_err journal_place(struct journal *j, const char *path,
    char aside[512], struct ksm_fail *fail);

/*
 * Every line of a file that can be read, whatever stands around it. KSM_ESYS,
 * KSM_EREFUSED: the file itself cannot be read, or is none.
 */
typedef enum ksm_err (*salvage_fn)(void *ctx, const struct handout *h,
    struct ksm_fail *fail);
enum ksm_err journal_salvage(const char *path, salvage_fn fn, void *ctx,
    struct ksm_fail *fail);
/*
 * Of the file itself; no file is no error. KSM_EBUSY: it is not `ours`, not open
 * here, and another process holds it.
 */
enum ksm_err journal_salvage_old(const char *path, bool ours, salvage_fn fn,
    void *ctx, struct ksm_fail *fail);
/* Of all that were ever set aside. */
enum ksm_err journal_salvage_asides(const char *path, salvage_fn fn, void *ctx,
    struct ksm_fail *fail);

/* One line <-> what it says. `prev` is the hash of the line before it. */
char *handout_encode(const struct handout *h, const uint8_t prev[DIGEST_LEN]);
enum ksm_err handout_decode(const char *text, size_t len, struct handout *h,
    uint8_t prev[DIGEST_LEN], struct ksm_fail *fail);

#endif
