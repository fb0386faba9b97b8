/* SPDX-License-Identifier: MIT
 *
 * Values of the workflow tables, as an answer shows them: our own and other DBOS applications'.
 */
#ifndef OPENCLAW_GATEWAY_PAYLOAD_H
#define OPENCLAW_GATEWAY_PAYLOAD_H

#include "base/document.h"

/* A step's or workflow's output or error: portable JSON and superjson as the value, anything else
 * as the text that stands there. Absent gives null. */
struct document *payload_value(struct arena *arena, struct text serialization, struct text stored);
/* A workflow's input: its one positional argument where it has one and no other, else all of them.
 */
struct document *payload_input(struct arena *arena, struct text serialization, struct text stored);

#endif
