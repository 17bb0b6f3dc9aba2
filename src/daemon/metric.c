/*
 * metric.c - counters since the daemon started. Their labels come from the
 * configuration and from short lists, never from a token.
 */
#include <stdlib.h>
#include <string.h>

#include "engine_parts.h"

const int64_t metric_bounds_ms[METRIC_BUCKETS] = { 5, 10, 25, 50, 100, 250,
	1000, 2500, 10000, 30000, 120000, 600000 };

static struct engine_metric *
metric_find(struct engine *e, const char *repository, int alg, int bits)
{
	struct engine_metric *m;

	for (size_t i = 0; i < e->nmetrics; i++) {
		m = &e->metrics[i];
		if (m->alg == alg && m->bits == bits &&
		    strcmp(m->repository, repository) == 0)
			return m;
	}
	m = reallocarray(e->metrics, e->nmetrics + 1, sizeof(*m));
	if (m == NULL)
		return NULL;
	e->metrics = m;
	m += e->nmetrics;
	*m = (struct engine_metric){ .repository = strdup(repository),
		.alg = alg,
		.bits = bits };
	if (m->repository == NULL)
		return NULL;
	e->nmetrics++;
	return m;
}

void
metric_made(struct engine *e, const char *repository, int alg, int bits,
    ksm_msec took)
{
	struct engine_metric *m = metric_find(e, repository, alg, bits);
	size_t i = 0;

	if (m == NULL)
		return; /* a counter is worth no key */
	while (i < METRIC_BUCKETS && took > metric_bounds_ms[i])
		i++;
	m->bucket[i]++;
	m->sum_ms += took;
	m->generated++;
}

struct engine_errors *
metric_errors(struct engine *e, const char *repository)
{
	static struct engine_errors nowhere;
	struct engine_errors *c;

	for (size_t i = 0; i < e->nerrors; i++)
		if (strcmp(e->errors[i].repository, repository) == 0)
			return &e->errors[i];
	c = reallocarray(e->errors, e->nerrors + 1, sizeof(*c));
	if (c == NULL)
		return &nowhere;
	e->errors = c;
	c += e->nerrors;
	*c = (struct engine_errors){ .repository = strdup(repository) };
	if (c->repository == NULL)
		return &nowhere;
	e->nerrors++;
	return c;
}

void
metric_clear(struct engine *e)
{
	for (size_t i = 0; i < e->nmetrics; i++)
		free((char *)e->metrics[i].repository);
	for (size_t i = 0; i < e->nerrors; i++)
		free((char *)e->errors[i].repository);
	free(e->metrics);
	free(e->errors);
}

size_t
engine_metrics(const struct engine *e, const struct engine_metric **out)
{
	*out = e->metrics;
	return e->nmetrics;
}

size_t
engine_error_counts(const struct engine *e, const struct engine_errors **out)
{
	*out = e->errors;
	return e->nerrors;
}

ksm_time
engine_last_topup(const struct engine *e)
{
	return e->last_topup;
}
