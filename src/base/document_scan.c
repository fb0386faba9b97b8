/* SPDX-License-Identifier: MIT */
#include "base/document_scan.h"

#include <math.h>
#include <stdlib.h>

/* Longer numbers, or exponents beyond, are numbers that somebody made to hurt: PostgreSQL's numeric
 * would hold their digits, one by one. */
#define NUMBER_LENGTH_MAX   400
#define NUMBER_EXPONENT_MAX 1000

struct level {
    char close;      /* '}' or ']' */
    unsigned object; /* which object of the text this is */
};

struct member {
    unsigned object;
    size_t at; /* where its key begins in the text */
    struct text key;
};

struct scanner {
    const char *data;
    size_t len;
    size_t at;
    const struct document_limits *limits;
    struct failure *failure;
    unsigned depth;
    unsigned depth_max;
    unsigned values;
    unsigned objects;
    size_t keys;
    struct arena *arena;    /* of the keys' decoded copies; NULL: members are only counted */
    struct member *members; /* [keys], where arena is set */
    struct level levels[DOCUMENT_SCAN_DEPTH_MAX];
};

static enum error bad_at(const struct scanner *scanner, size_t at, enum error error,
                         const char *what)
{
    return failure_set(scanner->failure, error, "at byte %zu: %s", at, what);
}

static enum error bad(const struct scanner *scanner, enum error error, const char *what)
{
    return bad_at(scanner, scanner->at, error, what);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* '\0' at the end: a NUL within the text was refused before. */
static char peek(const struct scanner *scanner)
{
    return scanner->at < scanner->len ? scanner->data[scanner->at] : '\0';
}

static void skip_space(struct scanner *scanner)
{
    while (scanner->at < scanner->len) {
        char c = scanner->data[scanner->at];

        if (c != ' ' && c != '\n' && c != '\r' && c != '\t')
            return;
        scanner->at++;
    }
}

/* The four digits at `at`; -1 where they are not four. */
static int hex4(const struct scanner *scanner, size_t at)
{
    int value = 0;

    if (scanner->len - at < 4)
        return -1;
    for (size_t i = at; i < at + 4; i++) {
        char c = scanner->data[i];
        int digit;

        if (is_digit(c))
            digit = c - '0';
        else if (c >= 'a' && c <= 'f')
            digit = c - 'a' + 10;
        else if (c >= 'A' && c <= 'F')
            digit = c - 'A' + 10;
        else
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* Behind "\u". A surrogate counts only as a pair. */
static enum error scan_unicode_escape(struct scanner *scanner)
{
    int unit = hex4(scanner, scanner->at), low;

    if (unit < 0)
        return bad(scanner, ERR_INVALID_JSON, "\\u needs four hexadecimal digits");
    if (unit == 0)
        return bad(scanner, ERR_INVALID_ENCODING, "\\u0000 cannot be stored");
    scanner->at += 4;
    if (unit < 0xD800 || unit > 0xDFFF)
        return OK;
    if (unit >= 0xDC00 || scanner->len - scanner->at < 6 || scanner->data[scanner->at] != '\\' ||
        scanner->data[scanner->at + 1] != 'u')
        return bad(scanner, ERR_INVALID_ENCODING, "half of a surrogate pair");
    low = hex4(scanner, scanner->at + 2);
    if (low < 0xDC00 || low > 0xDFFF)
        return bad(scanner, ERR_INVALID_ENCODING, "half of a surrogate pair");
    scanner->at += 6;
    return OK;
}

/* At the opening quote; goes behind the closing one. */
static enum error scan_string(struct scanner *scanner)
{
    scanner->at++;
    while (scanner->at < scanner->len) {
        unsigned char c = (unsigned char)scanner->data[scanner->at];

        if (c == '"') {
            scanner->at++;
            return OK;
        }
        if (c < 0x20)
            return bad(scanner, ERR_INVALID_JSON, "a control character must be escaped");
        scanner->at++;
        if (c != '\\')
            continue;
        c = (unsigned char)peek(scanner);
        if (c == '\0' || strchr("\"\\/bfnrtu", c) == NULL)
            return bad(scanner, ERR_INVALID_JSON, "unknown escape");
        scanner->at++;
        if (c == 'u') {
            enum error error = scan_unicode_escape(scanner);

            if (error != OK)
                return error;
        }
    }
    return bad(scanner, ERR_INVALID_JSON, "the string does not end");
}

static size_t scan_digits(struct scanner *scanner)
{
    size_t from = scanner->at;

    while (is_digit(peek(scanner)))
        scanner->at++;
    return scanner->at - from;
}

static bool fits_double(struct text number, size_t exponent_at)
{
    char copy[NUMBER_LENGTH_MAX + 1];
    int64_t exponent = 0;
    double value;

    if (exponent_at > 0) {
        struct text digits = {number.data + exponent_at, number.len - exponent_at};

        if (digits.data[0] == '+') {
            digits.data++;
            digits.len--;
        }
        if (text_int64(digits, -NUMBER_EXPONENT_MAX, NUMBER_EXPONENT_MAX, &exponent) != OK)
            return false;
    }
    memcpy(copy, number.data, number.len);
    copy[number.len] = '\0';
    value = strtod(copy, NULL);
    if (isinf(value))
        return false;
    if (fpclassify(value) != FP_ZERO)
        return true;
    /* Zero must be written as zero; what a double rounds down to zero would change its value. */
    return strcspn(copy, "123456789") >= strcspn(copy, "eE");
}

static enum error scan_number(struct scanner *scanner)
{
    size_t from = scanner->at, exponent_at = 0;
    bool integer = true;
    struct text number;
    int64_t value;

    if (peek(scanner) == '-')
        scanner->at++;
    if (peek(scanner) == '0')
        scanner->at++;
    else if (scan_digits(scanner) == 0)
        return bad(scanner, ERR_INVALID_JSON, "a digit is missing");
    if (is_digit(peek(scanner)))
        return bad(scanner, ERR_INVALID_JSON, "a number does not begin with 0");
    if (peek(scanner) == '.') {
        integer = false;
        scanner->at++;
        if (scan_digits(scanner) == 0)
            return bad(scanner, ERR_INVALID_JSON, "a digit is missing");
    }
    if (peek(scanner) == 'e' || peek(scanner) == 'E') {
        integer = false;
        scanner->at++;
        exponent_at = scanner->at - from;
        if (peek(scanner) == '+' || peek(scanner) == '-')
            scanner->at++;
        if (scan_digits(scanner) == 0)
            return bad(scanner, ERR_INVALID_JSON, "a digit is missing");
    }
    number = (struct text){scanner->data + from, scanner->at - from};
    if (number.len > NUMBER_LENGTH_MAX)
        return bad_at(scanner, from, ERR_NUMBER_RANGE, "the number has too many digits");
    if (integer && text_int64(number, INT64_MIN, INT64_MAX, &value) != OK)
        return bad_at(scanner, from, ERR_NUMBER_RANGE, "the integer does not fit into 64 bits");
    if (!integer && !fits_double(number, exponent_at))
        return bad_at(scanner, from, ERR_NUMBER_RANGE, "the number does not fit into a double");
    return OK;
}

static enum error scan_word(struct scanner *scanner, const char *word)
{
    struct text rest = {scanner->data + scanner->at, scanner->len - scanner->at};

    if (!text_starts(rest, word))
        return bad(scanner, ERR_INVALID_JSON, "unknown word");
    scanner->at += strlen(word);
    return OK;
}

static enum error open_level(struct scanner *scanner, char close)
{
    if (scanner->depth >= scanner->depth_max)
        return bad(scanner, ERR_TOO_DEEP, "one level too deep");
    scanner->levels[scanner->depth].close = close;
    scanner->levels[scanner->depth].object = close == '}' ? scanner->objects++ : 0;
    scanner->depth++;
    scanner->at++;
    return OK;
}

/* A scalar, or the opening of a container. */
static enum error scan_value(struct scanner *scanner)
{
    if (++scanner->values > scanner->limits->values)
        return bad(scanner, ERR_TOO_MANY_KEYS, "one value too many");
    switch (peek(scanner)) {
    case '{':
        return open_level(scanner, '}');
    case '[':
        return open_level(scanner, ']');
    case '"':
        return scan_string(scanner);
    case 't':
        return scan_word(scanner, "true");
    case 'f':
        return scan_word(scanner, "false");
    case 'n':
        return scan_word(scanner, "null");
    default:
        if (peek(scanner) == '-' || is_digit(peek(scanner)))
            return scan_number(scanner);
        return bad(scanner, ERR_INVALID_JSON,
                   scanner->at == scanner->len ? "the text ends too early" : "a value is missing");
    }
}

static char *put_utf8(char *out, unsigned c)
{
    if (c < 0x80) {
        *out++ = (char)c;
        return out;
    }
    if (c < 0x800) {
        *out++ = (char)(0xC0 | c >> 6);
    } else {
        if (c < 0x10000) {
            *out++ = (char)(0xE0 | c >> 12);
        } else {
            *out++ = (char)(0xF0 | c >> 18);
            *out++ = (char)(0x80 | (c >> 12 & 63));
        }
        *out++ = (char)(0x80 | (c >> 6 & 63));
    }
    *out++ = (char)(0x80 | (c & 63));
    return out;
}

/* What a string that was scanned means: [from, to) is between its quotes. */
static struct text decode(const struct scanner *scanner, size_t from, size_t to)
{
    static const char letters[] = "bfnrt", meanings[] = "\b\f\n\r\t";
    char *start = arena_alloc(scanner->arena, to - from + 1), *out = start;

    for (size_t i = from; i < to; i++) {
        const char *letter;
        unsigned unit;

        if (scanner->data[i] != '\\') {
            *out++ = scanner->data[i];
            continue;
        }
        i++;
        if (scanner->data[i] != 'u') {
            letter = strchr(letters, scanner->data[i]);
            *out++ = letter != NULL ? meanings[letter - letters] : scanner->data[i];
            continue;
        }
        unit = (unsigned)hex4(scanner, i + 1);
        i += 4;
        if (unit >= 0xD800 && unit <= 0xDBFF) {
            unit = 0x10000 + ((unit - 0xD800) << 10) + (unsigned)hex4(scanner, i + 3) - 0xDC00;
            i += 6;
        }
        out = put_utf8(out, unit);
    }
    return (struct text){start, (size_t)(out - start)};
}

/* A key and its colon. */
static enum error scan_key(struct scanner *scanner)
{
    size_t from = scanner->at;
    enum error error;

    if (peek(scanner) != '"')
        return bad(scanner, ERR_INVALID_JSON, "a key is missing");
    error = scan_string(scanner);
    if (error != OK)
        return error;
    if (scanner->arena != NULL)
        scanner->members[scanner->keys] =
            (struct member){scanner->levels[scanner->depth - 1].object, from,
                            decode(scanner, from + 1, scanner->at - 1)};
    scanner->keys++;
    skip_space(scanner);
    if (peek(scanner) != ':')
        return bad(scanner, ERR_INVALID_JSON, "a colon is missing");
    scanner->at++;
    skip_space(scanner);
    return OK;
}

/* Behind a value: closes what ends here. True where another value must follow. */
static bool scan_closing(struct scanner *scanner)
{
    skip_space(scanner);
    while (scanner->depth > 0 && peek(scanner) == scanner->levels[scanner->depth - 1].close) {
        scanner->depth--;
        scanner->at++;
        skip_space(scanner);
    }
    return scanner->depth > 0;
}

static enum error scan_text(struct scanner *scanner)
{
    enum error error;

    skip_space(scanner);
    for (;;) {
        unsigned depth = scanner->depth;

        if (depth > 0 && scanner->levels[depth - 1].close == '}') {
            error = scan_key(scanner);
            if (error != OK)
                return error;
        }
        error = scan_value(scanner);
        if (error != OK)
            return error;
        if (scanner->depth > depth) {
            skip_space(scanner);
            if (peek(scanner) != scanner->levels[depth].close)
                continue; /* its first member or element */
        }
        if (!scan_closing(scanner))
            break;
        if (peek(scanner) != ',')
            return bad(scanner, ERR_INVALID_JSON,
                       scanner->at == scanner->len ? "the text ends too early"
                                                   : "a comma or the closing bracket is missing");
        scanner->at++;
        skip_space(scanner);
    }
    if (scanner->at < scanner->len)
        return bad(scanner, ERR_INVALID_JSON, "something stands behind the value");
    return OK;
}

static struct scanner scanner_of(struct text text, const struct document_limits *limits,
                                 struct failure *failure)
{
    struct scanner scanner = {.data = text.data,
                              .len = text.len,
                              .limits = limits,
                              .failure = failure,
                              .depth_max = limits->depth};

    if (scanner.depth_max > DOCUMENT_SCAN_DEPTH_MAX)
        scanner.depth_max = DOCUMENT_SCAN_DEPTH_MAX;
    return scanner;
}

enum error document_scan(struct text text, const struct document_limits *limits,
                         struct failure *failure, size_t *ret_keys)
{
    struct scanner scanner = scanner_of(text, limits, failure);
    enum error error;

    if (text.len > limits->bytes)
        return failure_set(failure, ERR_TOO_LARGE, "%zu bytes, at most %zu are allowed", text.len,
                           limits->bytes);
    if (text_starts(text, "\xEF\xBB\xBF"))
        return bad(&scanner, ERR_INVALID_ENCODING, "a byte-order mark");
    scanner.at = utf8_valid_prefix(text);
    if (scanner.at < text.len)
        return bad(&scanner, ERR_INVALID_ENCODING,
                   text.data[scanner.at] == '\0' ? "NUL" : "not UTF-8");
    scanner.at = 0;
    error = scan_text(&scanner);
    if (error == OK)
        *ret_keys = scanner.keys;
    return error;
}

static int compare_members(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    int order;

    if (x->object != y->object)
        return x->object < y->object ? -1 : 1;
    if (x->key.len != y->key.len)
        return x->key.len < y->key.len ? -1 : 1;
    order = memcmp(x->key.data, y->key.data, x->key.len);
    if (order != 0)
        return order;
    return x->at < y->at ? -1 : x->at > y->at;
}

enum error document_scan_duplicate(struct arena *arena, struct text text,
                                   const struct document_limits *limits, size_t keys,
                                   struct failure *failure)
{
    struct scanner scanner = scanner_of(text, limits, failure);
    size_t at = SIZE_MAX;
    enum error error;

    scanner.arena = arena;
    scanner.members = arena_array(arena, keys, sizeof(*scanner.members));
    error = scan_text(&scanner);
    if (error != OK)
        return error;
    qsort(scanner.members, keys, sizeof(*scanner.members), compare_members);
    for (size_t i = 1; i < keys; i++) {
        const struct member *one = &scanner.members[i - 1], *two = &scanner.members[i];

        if (one->object == two->object && text_equal(one->key, two->key) && two->at < at)
            at = two->at;
    }
    return bad_at(&scanner, at, ERR_DUPLICATE_KEY, "this key stands twice in its object");
}
