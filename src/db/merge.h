/* SPDX-License-Identifier: MIT
 *
 * Several calls of one statement made one, so that a parse, a round trip and a commit are shared;
 * and its rows given back to whom each belongs. How its parameters are joined stands in the header
 * of the statement (sql/README.md).
 */
#ifndef OPENCLAW_DB_MERGE_H
#define OPENCLAW_DB_MERGE_H

#include "db/wire.h"

struct merge;

/* Begins with `first`, whose statement must be one that merges. All that is added, its arena with
 * it, must live until the call is done. */
struct merge *merge_new(struct arena *arena, const struct db_call *first);
bool merge_can_begin(const struct db_call *call);
/* False, and nothing is done: another statement, or what must be equal differs, or together they
 * would be more than one call should carry. */
bool merge_add(struct merge *merge, const struct db_call *call);
size_t merge_count(const struct merge *merge);
/* The one call; in the merge's arena. */
void merge_call(const struct merge *merge, struct db_call *ret_call);

/* Finds out whose each row is. ERR_CARDINALITY: a row of none of them. */
enum error merge_split(struct merge *merge, struct db_rows *rows,
                       struct failure *failure) MUST_CHECK;
/* After it: the part of the `index`-th call that was added, as if it had been called alone. */
struct rows_part merge_part(const struct merge *merge, size_t index);

#endif
