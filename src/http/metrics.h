/* SPDX-License-Identifier: MIT
 *
 * GET /metrics: OpenMetrics 1.0 text. What is in tables comes from the database, asked at most once
 * in METRICS_CACHE_MS by each process; what only processes know from the memory that all programs
 * of this host share. So it is the same whichever worker answers, and survives any of them.
 */
#ifndef OPENCLAW_HTTP_METRICS_H
#define OPENCLAW_HTTP_METRICS_H

#include "http/route.h"

#define METRICS_CACHE_MS   1000
#define METRICS_AGENTS_MAX 50 /* inboxes with a depth of their own: the deepest */
#define METRICS_TYPE       "application/openmetrics-text; version=1.0.0; charset=utf-8"

struct metrics;

struct metrics *metrics_new(struct http_server *server);

void metrics_begun(struct metrics *metrics); /* a request */
/* Counts its answer; `route` may be NULL. */
void metrics_answered(struct metrics *metrics, const struct http_route *route, int status,
                      int64_t took_ms);
/* To be called about once a second: shows how busy this process is. */
void metrics_show(struct metrics *metrics);

/* The whole text, in the arena. Without the database what it would have said is left out, and
 * openclaw_database_up is 0. */
struct text metrics_text(struct metrics *metrics, struct arena *arena);

#endif
