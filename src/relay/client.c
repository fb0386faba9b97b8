/* SPDX-License-Identifier: MIT */
#include "relay/relay.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

#define READ_SIZE 65536

struct client *client_new(int fd)
{
    struct client *client = calloc(1, sizeof *client);

    if (client == NULL)
        abort();
    client->fd = fd;
    buffer_init(&client->in, WIRE_CALL_MAX);
    buffer_init(&client->out, SIZE_MAX);
    return client;
}

void client_close(struct client *client)
{
    if (client->fd >= 0)
        (void)close(client->fd);
    client->fd = -1;
}

void client_free(struct client *client)
{
    client_close(client);
    buffer_release(&client->in);
    buffer_release(&client->out);
    free(client);
}

void client_dismiss(struct client *client, enum answer_kind kind)
{
    wire_put_kind(&client->out, kind);
    client_write(client);
    client_close(client);
}

/* True: a call is complete. */
static bool take_call(struct client *client)
{
    size_t frame = wire_frame(buffer_text(&client->in));

    if (frame == 0)
        return false;
    switch (wire_get_call((struct text){client->in.data, frame}, NULL, &client->call)) {
    case WIRE_OK:
        return true;
    case WIRE_OTHER_BUILD:
        client_dismiss(client, ANSWER_OTHER_BUILD);
        return false;
    case WIRE_BROKEN:
        break;
    }
    client_close(client);
    return false;
}

bool client_read(struct client *client, size_t room)
{
    char bytes[READ_SIZE];

    for (;;) {
        ssize_t got = recv(client->fd, bytes, sizeof bytes, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return false;
        if (got <= 0)
            break;
        buffer_append(&client->in, (struct text){bytes, (size_t)got});
        if (client->in.overflowed || wire_announced(buffer_text(&client->in)) > room) {
            client_dismiss(client, ANSWER_BUSY);
            return false;
        }
        if (take_call(client))
            return true;
        if (client->fd < 0)
            return false;
    }
    client_close(client);
    return false;
}

void client_write(struct client *client)
{
    while (client->fd >= 0 && client->out.len > 0) {
        ssize_t put = send(client->fd, client->out.data, client->out.len, MSG_NOSIGNAL);

        if (put > 0)
            buffer_consume(&client->out, (size_t)put);
        else if (errno == EAGAIN)
            return;
        else if (errno != EINTR)
            client_close(client);
    }
}

void client_send_off(struct client *client)
{
    client->sent_off = true;
    wire_put_kind(&client->out, ANSWER_DIRECT);
}

static void answered(struct client *client)
{
    buffer_clear(&client->in);
    client->state = CLIENT_READING;
    client->since = clock_ms();
    client_write(client);
}

void client_answer_rows(struct client *client, const struct db_rows *rows,
                        const struct rows_part *part)
{
    if (client->fd >= 0)
        wire_put_rows(&client->out, rows, part);
    answered(client);
}

void client_answer_failure(struct client *client, const struct failure *failure)
{
    if (client->fd >= 0)
        wire_put_failure(&client->out, failure);
    answered(client);
}

void client_reassure(struct client *client, int64_t now)
{
    if (client->state == CLIENT_READING || now < client->alive_at)
        return;
    client->alive_at = now + RELAY_ALIVE_MS;
    if (client->out.len == 0)
        wire_put_kind(&client->out, ANSWER_ALIVE);
    client_write(client);
}
