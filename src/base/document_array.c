/* SPDX-License-Identifier: MIT */
#include "base/document.h"

static size_t skip_space(struct text text, size_t at)
{
    while (at < text.len && memchr(" \t\r\n", text.data[at], 4) != NULL)
        at++;
    return at;
}

/* Behind the string whose opening quote is at `at`; text.len where it does not end. */
static size_t skip_string(struct text text, size_t at)
{
    for (at++; at < text.len && text.data[at] != '"'; at++) {
        if (text.data[at] == '\\')
            at++;
    }
    return at < text.len ? at + 1 : text.len;
}

/* At the comma or bracket that ends the element which begins at `at`; text.len where none does.
 * Brackets are counted only: whether they match is seen by who parses the element. */
static size_t skip_element(struct text text, size_t at)
{
    size_t depth = 0;

    while (at < text.len) {
        char c = text.data[at];

        if (depth == 0 && (c == ',' || c == ']'))
            return at;
        if (c == '"') {
            at = skip_string(text, at);
            continue;
        }
        if (c == '[' || c == '{')
            depth++;
        else if ((c == ']' || c == '}') && depth > 0)
            depth--;
        at++;
    }
    return at;
}

static enum error bad(const struct document_elements *elements, struct failure *failure,
                      const char *what)
{
    return failure_set(failure, ERR_INVALID_JSON, "at byte %zu: %s", elements->at, what);
}

/* Behind an element, or the opening bracket: at the next one, or at the end of the text. */
static enum error go_on(struct document_elements *elements, struct failure *failure)
{
    struct text array = elements->array;

    elements->at = skip_space(array, elements->at);
    if (elements->at == array.len)
        return bad(elements, failure, "the array does not end");
    if (array.data[elements->at] == ']') {
        elements->at = skip_space(array, elements->at + 1);
        if (elements->at < array.len)
            return bad(elements, failure, "something stands behind the array");
    } else if (elements->count > 0) {
        elements->at++; /* the comma, where skip_element() stopped */
    }
    return OK;
}

enum error document_elements_begin(struct text array, struct failure *failure,
                                   struct document_elements *ret_elements)
{
    struct document_elements elements = {.array = array, .at = skip_space(array, 0)};
    enum error error;

    if (elements.at == array.len || array.data[elements.at] != '[')
        return failure_set(failure, ERR_INVALID_REQUEST, "this is no array");
    elements.at++;
    error = go_on(&elements, failure);
    *ret_elements = elements;
    return error;
}

bool document_elements_end(const struct document_elements *elements)
{
    return elements->at == elements->array.len;
}

enum error document_elements_next(struct document_elements *elements, struct failure *failure,
                                  struct text *ret_element)
{
    size_t from = elements->at;

    elements->at = skip_element(elements->array, from);
    *ret_element = (struct text){elements->array.data + from, elements->at - from};
    elements->count++;
    return go_on(elements, failure);
}
