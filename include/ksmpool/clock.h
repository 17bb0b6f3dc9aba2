/* clock.h - the two clocks. Runs in: every program (base). */
#ifndef KSMPOOL_CLOCK_H
#define KSMPOOL_CLOCK_H

#include "ksmpool/err.h"

ksm_time clock_wall(void);   /* seconds UTC */
ksm_msec clock_steady(void); /* CLOCK_MONOTONIC, milliseconds */

#endif
