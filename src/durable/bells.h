/* SPDX-License-Identifier: MIT
 *
 * Bells for executors of other hosts, until somebody with a connection says them: one NOTIFY for
 * each host, in a statement of its own after the commit that it tells of. So are deliveries given
 * back that were to be handed over, and nobody was there. Lost ones cost a delay. design.md,
 * section 7.
 */
#ifndef OPENCLAW_DURABLE_BELLS_H
#define OPENCLAW_DURABLE_BELLS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"
#include "db/db.h"

#define BELLS_OWED_MAX 100 /* of one process; a payload carries 8000 bytes, an executor has 36 */

/* Remembers one, of "host/executor"; one that is owed already, or one too many, is not added. */
void bells_owe(struct text bell);
/* Remembers a delivery that is nobody's; one too many is left to the end of its lease. */
void bells_owe_back(struct text delivery_id);
bool bells_owed(void);
/* The call that gives all back, or says all bells, that are owed, which are owed no longer; false:
 * there are none. Safe in any thread, as are the others. */
bool bells_call(struct arena *arena, struct db_call *ret_call);
/* Says them, waiting for the database. A failure is nobody's concern. */
void bells_send(struct db *db);
uint64_t bells_sent(void); /* since the process started */

#endif
