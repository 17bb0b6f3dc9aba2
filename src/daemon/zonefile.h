/*
 * zonefile.h - the zones of the last good lists, by name, across a restart.
 *
 * Runs in: ksmpoold. The database has their counts; this has whose each zone
 *          is, so that a start at which the lists cannot be used hands out the
 *          keys of the right owners.
 * Owns:    zones.index in the state directory: the index (zoneindex.h) and its
 *          SHA-256.
 * Blocks:  on disk; a million zones are some 40 MB.
 */
#ifndef KSMPOOL_ZONEFILE_H
#define KSMPOOL_ZONEFILE_H

#include "ksmpool/err.h"

/*
 * The index behind `fd` takes the place of what was kept, whole or not at all.
 * When it cannot be kept nothing is: what is older may be wrong by now.
 */
enum ksm_err zonefile_keep(const char *directory, int fd,
    struct ksm_fail *fail);
/*
 * What was kept, as an index of its own. KSM_ENOENT: nothing was. KSM_EPROTO:
 * it is not what was written.
 */
enum ksm_err zonefile_load(const char *directory, int *fd,
    struct ksm_fail *fail);

#endif
