/* SPDX-License-Identifier: MIT
 *
 * JSON: the facade over json-c, and the wall that bad input does not pass. The only file that
 * knows json-c is document.c.
 *
 * A parsed document has been checked by our own scanner before json-c sees it: strict UTF-8, no
 * NUL (raw or \u0000), no lone surrogates, no byte-order mark, no duplicate keys, bounded bytes,
 * depth and number of values, numbers that PostgreSQL's jsonb and a double can hold, nothing
 * behind the value. So whatever passes can be stored as text, json or jsonb.
 *
 * Writing is portable JSON (DBOS): compact, key order kept, slashes and non-ASCII unescaped,
 * integers as int64, doubles by their source text or shortest round trip.
 *
 * A `struct document *` belongs to the arena it was made in; a value put into an object or array
 * lives as long as its container.
 */
#ifndef OPENCLAW_BASE_DOCUMENT_H
#define OPENCLAW_BASE_DOCUMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/text.h"

struct document; /* a JSON value; NULL stands for "absent", document_null() for JSON null */

enum document_kind {
    DOCUMENT_ABSENT,
    DOCUMENT_NULL,
    DOCUMENT_BOOL,
    DOCUMENT_INT,
    DOCUMENT_DOUBLE,
    DOCUMENT_STRING,
    DOCUMENT_ARRAY,
    DOCUMENT_OBJECT
};

struct document_limits {
    size_t bytes;
    unsigned depth;  /* nesting of arrays and objects */
    unsigned values; /* values of every kind, keys not counted */
};

#define DOCUMENT_DEPTH_MAX  32
#define DOCUMENT_VALUES_MAX 20000

/* What somebody else stored is not bounded by our limits for requests; it is bounded by these. */
#define DOCUMENT_STORED_BYTES_MAX  (64 * 1024 * 1024)
#define DOCUMENT_STORED_DEPTH_MAX  256
#define DOCUMENT_STORED_VALUES_MAX 1000000

/* `limits` may be NULL: DOCUMENT_DEPTH_MAX, DOCUMENT_VALUES_MAX, any size. A depth beyond 256
 * counts as that. Errors: TOO_LARGE, INVALID_JSON, INVALID_ENCODING, DUPLICATE_KEY, TOO_DEEP,
 * TOO_MANY_KEYS, NUMBER_RANGE; `failure` says at which byte. Source: RFC 8259, RFC 3629. */
enum error document_parse(struct arena *arena, struct text text,
                          const struct document_limits *limits, struct failure *failure,
                          struct document **ret_document) MUST_CHECK;

/* Reads what an SDK of DBOS may have stored: legal JSON that document_parse() refuses, too. An
 * integer beyond int64 is a DOCUMENT_DOUBLE that keeps its text; \u0000 and halves of surrogate
 * pairs, which neither PostgreSQL nor UTF-8 can hold, become U+FFFD. Errors: as document_parse().
 */
enum error document_parse_stored(struct arena *arena, struct text text, struct failure *failure,
                                 struct document **ret_document) MUST_CHECK;

/* Finds the end of the first JSON value in a stream of bytes in which values may span lines and
 * several may stand on one line (protocol.md, websocketd). Feed it bytes as they come. It starts
 * as {0}; its members are its own. */
struct document_framer {
    unsigned depth;
    bool in_string, escaped, started;
    char last; /* kind of what stood last: a bracket, comma, colon, quote, or '0' for the rest */
    size_t scanned; /* bytes of the pending value looked at so far */
    size_t line;    /* where its latest line begins; 0: it is still on its first */
};
enum document_frame { FRAME_MORE, FRAME_VALUE, FRAME_BAD };
/* Looks at pending[framer->scanned …]; `pending` begins where the last answer left it. FRAME_VALUE:
 * *ret_len bytes from the start are one candidate value (to be parsed; leading white space
 * included) and the framer is reset. FRAME_BAD: what stands there cannot begin or continue an
 * object or array, or is nested too deeply; *ret_len bytes are to be dropped, and the framer is
 * reset. That is all up to the line in which the fault stands, where the value began on an earlier
 * one (a value that was cut off does not take its successor along); else up to and including the
 * next newline (or all). So one bad value of many lines may give several FRAME_BAD in a row: answer
 * the first of a run. */
enum document_frame document_framer_scan(struct document_framer *framer, struct text pending,
                                         unsigned depth_max, size_t *ret_len);

/* Takes the text of an array apart without judging its elements: each is to be parsed for itself,
 * within limits of its own. While not document_elements_end(), document_elements_next() gives the
 * text of one more. Errors: INVALID_REQUEST where it is no array; INVALID_JSON where it has no end,
 * or something behind it. */
struct document_elements {
    struct text array;
    size_t at;    /* where the next element begins; array.len: there is none */
    size_t count; /* given so far */
};
enum error document_elements_begin(struct text array, struct failure *failure,
                                   struct document_elements *ret_elements) MUST_CHECK;
bool document_elements_end(const struct document_elements *elements);
enum error document_elements_next(struct document_elements *elements, struct failure *failure,
                                  struct text *ret_element) MUST_CHECK;

enum document_kind document_kind(const struct document *document);
struct document *document_get(const struct document *object, const char *key); /* NULL if absent */
struct document *document_at(const struct document *array, size_t index);
size_t document_count(const struct document *container); /* members or elements; else 0 */
struct text document_key(const struct document *object, size_t index);
struct text document_string(const struct document *document); /* TEXT_NONE unless a string */
bool document_bool(const struct document *document, bool otherwise);
int64_t document_int(const struct document *document, int64_t otherwise);
struct text document_get_string(const struct document *object, const char *key);

struct document *document_object(struct arena *arena);
struct document *document_array(struct arena *arena);
struct document *document_null(struct arena *arena);
/* A JSON string; absent gives null; bytes that are not UTF-8 become U+FFFD. */
struct document *document_from_text(struct arena *arena, struct text text);
struct document *document_from_int(struct arena *arena, int64_t value);
struct document *document_from_bool(struct arena *arena, bool value);
/* JSON text that is known to be valid (from the database) stands in the output as it is, on one
 * line. Its kind is known, but it cannot be looked into. Absent gives null. */
struct document *document_from_json(struct arena *arena, struct text json);
/* Copies a value of another document (or NULL: null) into this arena. */
struct document *document_copy(struct arena *arena, const struct document *document);

/* Put a value in; the container takes it. A NULL value puts nothing. Each returns the container,
 * so that an answer can be written as one expression. */
struct document *document_put(struct document *object, const char *key, struct document *value);
struct document *document_put_text(struct document *object, const char *key,
                                   struct text value); /* absent puts nothing */
struct document *document_put_string(struct document *object, const char *key, const char *value);
struct document *document_put_int(struct document *object, const char *key, int64_t value);
struct document *document_put_bool(struct document *object, const char *key, bool value);
struct document *document_append(struct document *array, struct document *value);

/* Compact text, NUL-terminated, in the arena; absent where the document is. Not for a document that
 * two threads share: json-c writes into it. */
struct text document_text(struct arena *arena, const struct document *document);

#endif
