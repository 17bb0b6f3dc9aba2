/*
 * print.h - answers of the daemon, for people.
 *
 * Runs in: ksmctl. Reads the same document that --json would print.
 *
 * Text from outside (names, labels of tokens) may hold anything; what could
 * steer a terminal is shown as '?'.
 */
#ifndef KSMPOOL_PRINT_H
#define KSMPOOL_PRINT_H

#include <stdbool.h>
#include <stdio.h>

#include "ksmpool/msg_ctl.h"

/* A table with aligned columns. A head that starts with '>' aligns right. */
struct table {
	const char *const *heads;
	size_t columns;
	char **cells;
	size_t ncells, room;
	bool failed; /* no memory: printed as such */
};
void table_init(struct table *t, const char *const *heads, size_t columns);
void table_cell(struct table *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void table_print(struct table *t, FILE *out); /* and clear */

/* Control characters become '?'. */
void text_print(FILE *out, const char *text);

/* One printer per command; see struct ctl_command. */
void print_status(FILE *out, const json_t *doc);
void print_plan(FILE *out, const json_t *doc);
void print_explain(FILE *out, const json_t *doc);
void print_key_row(FILE *out, const json_t *key, bool first);
void print_key_count(FILE *out, const json_t *doc);
void note_key_list(FILE *err, const json_t *doc);
void print_key(FILE *out, const json_t *doc);
void print_key_results(FILE *out, const json_t *doc);
void print_inventory(FILE *out, const json_t *doc);
void print_adopted(FILE *out, const json_t *doc);
void print_cleaned(FILE *out, const json_t *doc);
void print_event(FILE *out, const json_t *event, bool first);
void print_history_count(FILE *out, const json_t *doc);
void print_verified(FILE *out, const json_t *doc);
void print_backup(FILE *out, const json_t *doc);
void print_database(FILE *out, const json_t *doc);
void print_paused(FILE *out, const json_t *doc);
void print_unpaused(FILE *out, const json_t *doc);
void print_clock(FILE *out, const json_t *doc);
void print_log_level(FILE *out, const json_t *doc);
void print_topup(FILE *out, const json_t *doc);
void print_repositories(FILE *out, const json_t *doc);
void print_resumed(FILE *out, const json_t *doc);
void print_reload(FILE *out, const json_t *doc);
void print_stopping(FILE *out, const json_t *doc);
void print_version(FILE *out, const json_t *doc);

void trouble_status(FILE *out, const json_t *doc);
void trouble_key_list(FILE *out, const json_t *doc);
void print_backup_begun(FILE *out, const json_t *doc);
void print_backup_committed(FILE *out, const json_t *doc);
void print_backup_undone(FILE *out, const json_t *doc);
void print_backup_row(FILE *out, const json_t *backup, bool first);
void print_backup_count(FILE *out, const json_t *doc);
void print_backup_key(FILE *out, const json_t *key, bool first);
void print_backup_shown(FILE *out, const json_t *doc);
void print_uncovered_row(FILE *out, const json_t *key, bool first);
void print_uncovered(FILE *out, const json_t *doc);
void note_backup_check(FILE *err, const json_t *doc);
void trouble_backup(FILE *out, const json_t *doc);
void print_taken(FILE *out, const json_t *doc);
void print_handout(FILE *out, const json_t *handout, bool first);
void print_handout_count(FILE *out, const json_t *doc);
void print_handout_status(FILE *out, const json_t *doc);
void print_handout_accepted(FILE *out, const json_t *doc);
void print_impact(FILE *out, const json_t *doc);
void trouble_handout(FILE *out, const json_t *doc);
void trouble_impact(FILE *out, const json_t *doc);
void trouble_topup(FILE *out, const json_t *doc);
void trouble_inventory(FILE *out, const json_t *doc);
void trouble_verified(FILE *out, const json_t *doc);

/* "\r[####....] 12/40  30 %  8 s left" without a newline. */
void print_progress(FILE *out, int64_t done, int64_t total, ksm_msec elapsed);

#endif
