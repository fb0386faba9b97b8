/* SPDX-License-Identifier: MIT
 *
 * A message handed over by who accepted it to the session that receives it: what a claim would have
 * given, in one datagram to that session's doorbell. The commit that accepted it has leased it
 * (sql/function/051_hand_over.sql), so nothing depends on the datagram: where it is lost, the
 * session's next claim gives the message again.
 */
#ifndef OPENCLAW_GATEWAY_HAND_OVER_H
#define OPENCLAW_GATEWAY_HAND_OVER_H

#include "gateway/inbox.h"
#include "gateway/message.h"

#define HAND_OVER_MAX 20480 /* bytes: v_light of 030_workflow_commit.sql, and what goes with it */

/* Sends it, if there is something to hand over. Where nobody is there to take it, it is to be given
 * back (durable/bells.h). */
void hand_over_send(const struct engine *engine, const struct workflow_outcome *outcome,
                    const struct message_receipt *receipt);

/* False: it is nothing that was handed over by a process of this build. The delivery's texts are in
 * the arena. */
bool hand_over_read(struct arena *arena, struct text datagram, struct text *ret_agent,
                    int64_t *ret_epoch, struct delivery *ret_delivery);

#endif
