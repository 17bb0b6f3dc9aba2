#include "ksmpool/clock.h"

#include <time.h>

ksm_time
clock_wall(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return (ksm_time)ts.tv_sec;
}

ksm_msec
clock_steady(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (ksm_msec)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}
