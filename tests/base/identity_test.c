/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "base/clock.h"
#include "base/token.h"
#include "base/uuid.h"
#include "unit.h"

static void iso_stamps(void **state)
{
    static const struct {
        int64_t ms;
        const char *text;
    } rows[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {1, "1970-01-01T00:00:00.001Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {951782400123, "2000-02-29T00:00:00.123Z"},
        {1795348800000, "2026-11-22T12:00:00.000Z"},
        {253402300799999, "9999-12-31T23:59:59.999Z"},
        {INT64_MAX, "9999-12-31T23:59:59.999Z"},
        {INT64_MIN, "0000-01-01T00:00:00.000Z"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        char text[CLOCK_ISO_SIZE];

        clock_iso(rows[i].ms, text);
        assert_string_equal(text, rows[i].text);
    }
}

static void the_clock_goes_forward(void **state)
{
    int64_t before = clock_us();

    (void)state;
    clock_sleep_ms(12);
    assert_true(clock_us() - before >= 12000);
    clock_sleep_ms(0);
    clock_sleep_ms(-5);
    assert_true(clock_wall_ms() > 1600000000000);
}

static void jitter_stays_around(void **state)
{
    bool low = false, high = false;

    (void)state;
    for (int i = 0; i < 2000; i++) {
        int64_t ms = clock_jitter_ms(1000);

        assert_in_range(ms, 500, 1500);
        low = low || ms < 600;
        high = high || ms > 1400;
    }
    assert_true(low && high);
    assert_int_equal(clock_jitter_ms(0), 0);
    assert_int_equal(clock_jitter_ms(-1), 0);
}

static void check_uuid(const char *uuid, char version)
{
    assert_int_equal(strlen(uuid), UUID_SIZE - 1);
    for (size_t i = 0; i < UUID_SIZE - 1; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23)
            assert_int_equal(uuid[i], '-');
        else
            assert_non_null(strchr("0123456789abcdef", uuid[i]));
    }
    assert_int_equal(uuid[14], version);
    assert_non_null(strchr("89ab", uuid[19]));
}

static void uuids_are_well_formed(void **state)
{
    char uuid[UUID_SIZE], other[UUID_SIZE];

    (void)state;
    for (int i = 0; i < 100; i++) {
        uuid_v4(uuid);
        check_uuid(uuid, '4');
        uuid_v4(other);
        assert_string_not_equal(uuid, other);
        uuid_v7(uuid);
        check_uuid(uuid, '7');
    }
}

static void uuid_v7_carries_the_time_and_sorts(void **state)
{
    char uuid[UUID_SIZE], next[UUID_SIZE], digits[13];
    int64_t ms;

    (void)state;
    uuid_v7(uuid);
    memcpy(digits, uuid, 8);
    memcpy(digits + 8, uuid + 9, 4);
    digits[12] = '\0';
    ms = strtoll(digits, NULL, 16);
    assert_in_range(clock_wall_ms() - ms, 0, 5000);
    for (int i = 0; i < 50; i++) {
        int64_t until = clock_us() + 3;

        while (clock_us() < until)
            ;
        uuid_v7(next);
        assert_true(strcmp(uuid, next) < 0);
        memcpy(uuid, next, sizeof(uuid));
    }
}

static void tokens_are_256_bits_of_base64url(void **state)
{
    char token[TOKEN_SIZE], other[TOKEN_SIZE];
    struct arena *arena = arena_new();
    struct text bytes;

    (void)state;
    token_new(token);
    token_new(other);
    assert_int_equal(strlen(token), TOKEN_SIZE - 1);
    assert_true(text_starts(text_of(token), "ocg_"));
    assert_string_not_equal(token, other);
    assert_int_equal(base64url_decode(arena, text_of(token + 4), &bytes), OK);
    assert_int_equal(bytes.len, 32);
    arena_free(arena);
}

static void hashes_are_sha_256(void **state)
{
    char hash[TOKEN_HASH_SIZE];

    (void)state;
    token_hash(TEXT_LITERAL("abc"), hash); /* FIPS 180-2, B.1 */
    assert_string_equal(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    token_hash(TEXT_LITERAL(""), hash);
    assert_string_equal(hash, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void base64url(void **state)
{
    static const char *const good[][2] = {
        /* RFC 4648, section 10, without padding */
        {"", ""},           {"Zg", "f"},          {"Zm8", "fo"},          {"Zm9v", "foo"},
        {"Zm9vYg", "foob"}, {"Zm9vYmE", "fooba"}, {"Zm9vYmFy", "foobar"}, {"-_-_", "\xFB\xFF\xBF"},
    };
    static const char *const bad[] = {
        "Z", "Zm9vY", "Zg==", "Zm9v=", "+/+/", "Zm 9", "Zm9\n", "Zh", "Zm9", "\xC3\xA9zz",
    };
    struct arena *arena = arena_new();
    struct text bytes = TEXT_NONE;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        assert_int_equal(base64url_decode(arena, text_of(good[i][0]), &bytes), OK);
        assert_text(bytes, good[i][1]);
    }
    bytes = TEXT_NONE;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        assert_int_equal(base64url_decode(arena, text_of(bad[i]), &bytes), ERR_INVALID_REQUEST);
        assert_null(bytes.data);
    }
    assert_int_equal(base64url_decode(arena, TEXT_LITERAL("Zm\0v"), &bytes), ERR_INVALID_REQUEST);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(iso_stamps),
        cmocka_unit_test(the_clock_goes_forward),
        cmocka_unit_test(jitter_stays_around),
        cmocka_unit_test(uuids_are_well_formed),
        cmocka_unit_test(uuid_v7_carries_the_time_and_sorts),
        cmocka_unit_test(tokens_are_256_bits_of_base64url),
        cmocka_unit_test(hashes_are_sha_256),
        cmocka_unit_test(base64url),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
