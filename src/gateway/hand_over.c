/* SPDX-License-Identifier: MIT */
#include "gateway/hand_over.h"

#include <stdio.h>
#include <string.h>

#include "base/bell.h"
#include "db/wire.h"
#include "durable/bells.h"

/* What is no text. Both ends are of one build, on one machine. */
struct numbers {
    int64_t epoch, max_attempts, accepted_at, expires_at, lease_expires_at;
    bool expects_reply;
};

enum { NUMBERS, AGENT, DELIVERY_ID, MESSAGE_ID, WORKFLOW_ID, FROM, MESSAGE, VALUES };

void hand_over_send(const struct engine *engine, const struct workflow_outcome *outcome,
                    const struct message_receipt *receipt)
{
    const struct workflow_hand_over *hand_over = &outcome->hand_over;
    const struct workflow_message *message = hand_over->message;
    struct text values[VALUES];
    struct numbers numbers;
    char holder[UUID_SIZE];
    struct buffer datagram;

    if (!hand_over->holder.data || hand_over->holder.len >= sizeof holder)
        return;
    memset(&numbers, 0, sizeof numbers);
    numbers.epoch = hand_over->epoch;
    numbers.max_attempts = message->max_attempts;
    numbers.accepted_at = outcome->now_ms;
    numbers.expires_at = outcome->now_ms + message->ttl_ms;
    numbers.lease_expires_at = hand_over->lease_expires_at;
    numbers.expects_reply = message->expects_reply;
    values[NUMBERS] = (struct text){(const char *)&numbers, sizeof numbers};
    values[AGENT] = message->to;
    values[DELIVERY_ID] = hand_over->delivery_id;
    values[MESSAGE_ID] = receipt->message_id;
    values[WORKFLOW_ID] = receipt->workflow_id;
    values[FROM] = message->from;
    values[MESSAGE] = message->message;

    buffer_init(&datagram, HAND_OVER_MAX);
    wire_put_values(&datagram, values, VALUES);
    snprintf(holder, sizeof holder, "%.*s", (int)hand_over->holder.len, hand_over->holder.data);
    if (!bell_bring(engine->options->runtime_dir, holder,
                    datagram.overflowed ? TEXT_LITERAL("") : buffer_text(&datagram)))
        bells_owe_back(hand_over->delivery_id);
    buffer_release(&datagram);
}

bool hand_over_read(struct arena *arena, struct text datagram, struct text *ret_agent,
                    int64_t *ret_epoch, struct delivery *ret_delivery)
{
    struct delivery delivery = {.attempt = 1};
    struct text values[VALUES];
    struct numbers numbers;

    if (!wire_get_values(datagram, values, VALUES) || values[NUMBERS].len != sizeof numbers)
        return false;
    for (size_t i = AGENT; i < VALUES; i++) {
        if (!values[i].data)
            return false;
        values[i] = arena_text(arena, values[i]);
    }
    delivery.inbox_seq = delivery_seq(values[DELIVERY_ID]);
    if (!delivery.inbox_seq)
        return false;
    memcpy(&numbers, values[NUMBERS].data, sizeof numbers);
    delivery.delivery_id = values[DELIVERY_ID];
    delivery.message_id = values[MESSAGE_ID];
    delivery.workflow_id = values[WORKFLOW_ID];
    delivery.from = values[FROM];
    delivery.max_attempts = numbers.max_attempts;
    delivery.expects_reply = numbers.expects_reply;
    delivery.accepted_at = numbers.accepted_at;
    delivery.expires_at = numbers.expires_at;
    delivery.lease_expires_at = numbers.lease_expires_at;
    delivery.bytes = values[MESSAGE].len;
    delivery_read_message(arena, values[AGENT], TEXT_LITERAL("portable_json"), values[MESSAGE],
                          &delivery);
    *ret_agent = values[AGENT];
    *ret_epoch = numbers.epoch;
    *ret_delivery = delivery;
    return true;
}
