/* SPDX-License-Identifier: MIT */
#include "db/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "db/internal.h"

#define WIRE_NULL  UINT32_MAX
#define HASH_FIRST 14695981039346656037U /* FNV-1a, 64 bits */
#define HASH_PRIME 1099511628211U

bool relay_address(const char *runtime_dir, struct sockaddr_un *ret_address)
{
    int len;

    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    len =
        snprintf(ret_address->sun_path, sizeof ret_address->sun_path, "%s/relay.sock", runtime_dir);
    return len > 0 && (size_t)len < sizeof ret_address->sun_path;
}

/* ---- whether two processes understand each other ----------------------------------------------
 */

static uint64_t hash_end(uint64_t hash, uint64_t length)
{
    hash = (hash ^ length) * HASH_PRIME;
    return hash ^ hash >> 32;
}

/* FNV-1a by words of 8 bytes, for it is done at each start of a session. */
static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t count)
{
    for (size_t at = 0; at < count; at += sizeof(uint64_t)) {
        uint64_t word = 0;
        size_t left = count - at;

        memcpy(&word, (const char *)bytes + at, left < sizeof word ? left : sizeof word);
        hash = (hash ^ word) * HASH_PRIME;
    }
    return hash_end(hash, count);
}

static uint64_t hash_string(uint64_t hash, const char *string)
{
    return string ? hash_bytes(hash, string, strlen(string)) : hash_end(hash, SIZE_MAX);
}

/* Of the statements, of what a failure is, and of where the database is. */
static uint64_t build(void)
{
    static const char *const variables[] = {
        "PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE", "PGSERVICEFILE",
    };
    static uint64_t known;
    uint64_t hash = hash_end(HASH_FIRST, sizeof(struct failure));

    if (known != 0)
        return known;
    for (size_t i = 0; i < STATEMENT__MAX; i++) {
        hash = hash_string(hash, statement_infos[i].name);
        hash = hash_string(hash, statement_infos[i].text);
    }
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
        hash = hash_string(hash, getenv(variables[i]));
    hash = hash_string(hash, db_settings()->url);
    hash = hash_string(hash, db_settings()->schema);
    known = hash;
    return hash;
}

/* ---- writing ------------------------------------------------------------------------------------
 */

static void put_bytes(struct buffer *out, const void *bytes, size_t count)
{
    buffer_append(out, (struct text){bytes, count});
}

static void put_number(struct buffer *out, size_t number)
{
    put_bytes(out, &(uint32_t){(uint32_t)number}, sizeof(uint32_t));
}

static void put_value(struct buffer *out, struct text value)
{
    put_number(out, value.data ? value.len : WIRE_NULL);
    if (value.data) {
        buffer_append(out, value);
        buffer_append_byte(out, '\0');
    }
}

/* Its length is filled in when it is complete. */
static size_t begin_frame(struct buffer *out)
{
    size_t start = out->len;

    put_number(out, 0);
    return start;
}

static void end_frame(struct buffer *out, size_t start)
{
    uint32_t length = (uint32_t)(out->len - start - sizeof length);

    memcpy(out->data + start, &length, sizeof length);
}

void wire_put_call(struct buffer *out, const struct db_call *call)
{
    size_t start = begin_frame(out);

    put_bytes(out, &(uint64_t){build()}, sizeof(uint64_t));
    put_number(out, call->statement);
    put_number(out, call->count);
    for (unsigned i = 0; i < call->count; i++)
        put_value(out, text_of(call->values[i]));
    end_frame(out, start);
}

void wire_put_values(struct buffer *out, const struct text *values, size_t count)
{
    size_t start = begin_frame(out);

    put_bytes(out, &(uint64_t){build()}, sizeof(uint64_t));
    for (size_t i = 0; i < count; i++)
        put_value(out, values[i]);
    end_frame(out, start);
}

void wire_put_rows(struct buffer *out, const struct db_rows *rows, const struct rows_part *part)
{
    static const struct rows_part whole;
    const struct rows_part *of = part ? part : &whole;
    size_t count = of->rows ? of->count : db_rows_count(rows);
    unsigned columns = rows_columns(rows);
    size_t start = begin_frame(out);

    put_number(out, ANSWER_ROWS);
    put_number(out, count);
    put_number(out, columns - of->skip);
    for (unsigned column = of->skip; column < columns; column++)
        put_number(out, rows_type(rows, column));
    for (size_t i = 0; i < count; i++) {
        size_t row = of->rows ? of->rows[i] : i;

        for (unsigned column = of->skip; column < columns; column++) {
            struct text value = rows_value(rows, row, column);
            char moved[24];
            int64_t ordinal;

            if (of->base > 0 && column == of->skip && value.data &&
                text_int64(value, 1, INT64_MAX, &ordinal) == OK) {
                snprintf(moved, sizeof moved, "%lld", (long long)ordinal - (long long)of->base);
                value = text_of(moved);
            }
            put_value(out, value);
        }
    }
    end_frame(out, start);
}

void wire_put_failure(struct buffer *out, const struct failure *failure)
{
    size_t start = begin_frame(out);

    put_number(out, ANSWER_FAILURE);
    put_bytes(out, failure, sizeof *failure);
    end_frame(out, start);
}

void wire_put_kind(struct buffer *out, enum answer_kind kind)
{
    size_t start = begin_frame(out);

    put_number(out, kind);
    end_frame(out, start);
}

/* ---- reading ------------------------------------------------------------------------------------
 */

struct reader {
    struct text left;
    bool broken;
};

static const char *get_bytes(struct reader *reader, size_t count)
{
    const char *at = reader->left.data;

    if (reader->broken || count > reader->left.len) {
        reader->broken = true;
        return NULL;
    }
    reader->left = (struct text){at + count, reader->left.len - count};
    return at;
}

static uint32_t get_number(struct reader *reader)
{
    uint32_t number = 0;
    const char *bytes = get_bytes(reader, sizeof number);

    if (bytes)
        memcpy(&number, bytes, sizeof number);
    return number;
}

static struct text get_value(struct reader *reader)
{
    uint32_t length = get_number(reader);
    const char *bytes;

    if (length == WIRE_NULL)
        return TEXT_NONE;
    bytes = get_bytes(reader, (size_t)length + 1);
    if (!bytes || bytes[length] != '\0') {
        reader->broken = true;
        return TEXT_NONE;
    }
    return (struct text){bytes, length};
}

size_t wire_announced(struct text bytes)
{
    uint32_t length;

    if (bytes.len < sizeof length)
        return 0;
    memcpy(&length, bytes.data, sizeof length);
    return sizeof length + (size_t)length;
}

size_t wire_frame(struct text bytes)
{
    size_t announced = wire_announced(bytes);

    return announced <= bytes.len ? announced : 0;
}

/* Behind the length. */
static struct reader frame_reader(struct text frame)
{
    struct reader reader = {.left = frame};

    (void)get_number(&reader);
    return reader;
}

enum wire_fault wire_get_call(struct text frame, struct arena *arena, struct db_call *ret_call)
{
    struct reader reader = frame_reader(frame);
    const char *theirs = get_bytes(&reader, sizeof(uint64_t));
    uint64_t ours = build();
    uint32_t statement, count;

    if (!theirs)
        return WIRE_BROKEN;
    if (memcmp(theirs, &ours, sizeof ours) != 0)
        return WIRE_OTHER_BUILD;
    statement = get_number(&reader);
    count = get_number(&reader);
    if (reader.broken || statement >= STATEMENT__MAX ||
        count != statement_infos[statement].param_count)
        return WIRE_BROKEN;
    db_call_init(ret_call, arena, (enum statement)statement);
    for (uint32_t i = 0; i < count; i++)
        ret_call->values[ret_call->count++] = get_value(&reader).data;
    return reader.broken || reader.left.len > 0 ? WIRE_BROKEN : WIRE_OK;
}

enum answer_kind wire_get_kind(struct text frame)
{
    struct reader reader = frame_reader(frame);
    uint32_t kind = get_number(&reader);

    return reader.broken || kind > ANSWER_DIRECT ? ANSWER_OTHER_BUILD : (enum answer_kind)kind;
}

struct db_rows *wire_get_rows(struct text frame, const struct db_call *call)
{
    struct reader reader = frame_reader(arena_text(call->arena, frame));
    size_t rows, columns;
    unsigned *types;
    struct text *values;

    (void)get_number(&reader); /* the kind */
    rows = get_number(&reader);
    columns = get_number(&reader);
    if (reader.broken || columns > reader.left.len / sizeof(uint32_t) ||
        (columns > 0 && rows > reader.left.len / sizeof(uint32_t) / columns))
        return NULL;
    types = arena_array(call->arena, columns + 1, sizeof *types);
    values = arena_array(call->arena, rows * columns + 1, sizeof *values);
    for (size_t i = 0; i < columns; i++)
        types[i] = get_number(&reader);
    for (size_t i = 0; i < rows * columns; i++)
        values[i] = get_value(&reader);
    if (reader.broken || reader.left.len > 0)
        return NULL;
    return rows_of_values(call, types, (unsigned)columns, values, rows);
}

bool wire_get_failure(struct text frame, struct failure *ret_failure)
{
    struct reader reader = frame_reader(frame);
    const char *bytes;

    (void)get_number(&reader); /* the kind */
    bytes = get_bytes(&reader, sizeof *ret_failure);
    if (!bytes)
        return false;
    memcpy(ret_failure, bytes, sizeof *ret_failure);
    return ret_failure->error > OK && ret_failure->error < ERR__MAX;
}

bool wire_get_values(struct text frame, struct text *ret_values, size_t count)
{
    struct reader reader = frame_reader(frame);
    const char *theirs = get_bytes(&reader, sizeof(uint64_t));
    uint64_t ours = build();

    if (!theirs || memcmp(theirs, &ours, sizeof ours) != 0)
        return false;
    for (size_t i = 0; i < count; i++)
        ret_values[i] = get_value(&reader);
    return !reader.broken && reader.left.len == 0;
}
