/* SPDX-License-Identifier: MIT
 *
 * What passes the wall must come back: written and parsed again, it is the same text. And the
 * framer must find in any bytes what it finds in them one by one, as long as it finds only values.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/document.h"
#include "fuzz.h"

static const struct document_limits limits = {1 << 20, 32, 1000};

static void require(bool holds, const char *what)
{
    if (holds)
        return;
    (void)fprintf(stderr, "%s\n", what);
    abort();
}

static void round_trip(struct arena *arena, struct text text)
{
    /* A short escape may become a longer one; a value keeps its number of values and its depth. */
    const struct document_limits wider = {16 << 20, 32, 1000};
    struct document *document = NULL, *again = NULL;
    struct failure failure;
    struct text written;

    if (document_parse(arena, text, &limits, &failure, &document) != OK) {
        require(failure.error != OK && failure.detail[0] != '\0', "a refusal says why");
        return;
    }
    written = document_text(arena, document);
    require(utf8_valid(written), "the output is UTF-8");
    require(memchr(written.data, '\n', written.len) == NULL, "the output is one line");
    require(document_parse(arena, written, &wider, &failure, &again) == OK, "it parses again");
    require(text_equal(written, document_text(arena, again)), "it is the same again");
    require(text_equal(written, document_text(arena, document_copy(arena, document))),
            "a copy is the same");
}

/* The lengths of all values up to the first fault, and where that is. */
static size_t frames(struct text stream, size_t piece, size_t *lens, size_t max)
{
    struct document_framer framer = {0};
    size_t count = 0, at = 0, have = 0, len;

    while (count < max) {
        enum document_frame frame =
            document_framer_scan(&framer, (struct text){stream.data + at, have - at}, 32, &len);

        if (frame == FRAME_MORE && have == stream.len)
            break;
        if (frame == FRAME_MORE) {
            have += stream.len - have < piece ? stream.len - have : piece;
            continue;
        }
        require(len > 0 && len <= have - at, "a frame lies within what is pending");
        if (frame == FRAME_BAD)
            break;
        lens[count++] = len;
        at += len;
    }
    return count;
}

static void framing(struct text stream)
{
    size_t whole[64] = {0}, pieces[64] = {0};

    require(frames(stream, stream.len, whole, 64) == frames(stream, 1, pieces, 64) &&
                memcmp(whole, pieces, sizeof(whole)) == 0,
            "the framer does not depend on how bytes arrive");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new();
    struct text text = {(const char *)data, size};

    round_trip(arena, text);
    if (size > 0)
        framing(text);
    arena_free(arena);
    return 0;
}
