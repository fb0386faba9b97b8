/* SPDX-License-Identifier: MIT
 *
 * Is the database there, and is it ours? Asked on a connection of its own, so that a busy pool is
 * not mistaken for a database that is away; answered within PROBE_LIMIT_MS; asked at most once in
 * PROBE_CACHE_MS, however many want to know.
 */
#ifndef OPENCLAW_HTTP_PROBE_H
#define OPENCLAW_HTTP_PROBE_H

#include "http/server.h"

/* Together less than two seconds: so late, at most, an answer is wrong. */
#define PROBE_LIMIT_MS 1400
#define PROBE_CACHE_MS 500

struct probe;

struct probe *probe_new(struct http_server *server);

/* OK, SCHEMA (it answers, but the schema is not this program's), READ_ONLY (it takes no writes, or
 * its disk is full), or why it does not answer. */
enum error probe_database(struct probe *probe, struct failure *failure) MUST_CHECK;

/* What was seen of sweepers then: "running", "silent" (none lives, or is heard of within
 * EXECUTOR_LEASE_MS; one that cron runs was not there for two and a half minutes), "unknown"
 * (without the database). */
const char *probe_sweeper(struct probe *probe);

#endif
