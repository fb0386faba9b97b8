/* SPDX-License-Identifier: MIT */
#include "base/uuid.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/types.h>
#include <time.h>

void random_bytes(void *ret_bytes, size_t count)
{
    unsigned char *bytes = ret_bytes;

    while (count > 0) {
        ssize_t got = getrandom(bytes, count, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            perror("getrandom");
            abort();
        }
        bytes += got;
        count -= (size_t)got;
    }
}

static void format(const unsigned char bytes[16], char ret_uuid[UUID_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    char *out = ret_uuid;

    for (unsigned i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *out++ = '-';
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    *out = '\0';
}

static void mark(unsigned char bytes[16], unsigned version)
{
    bytes[6] = (unsigned char)((bytes[6] & 0x0F) | (version << 4));
    bytes[8] = (unsigned char)((bytes[8] & 0x3F) | 0x80);
}

void uuid_v4(char ret_uuid[UUID_SIZE])
{
    unsigned char bytes[16];

    random_bytes(bytes, sizeof(bytes));
    mark(bytes, 4);
    format(bytes, ret_uuid);
}

void uuid_v7(char ret_uuid[UUID_SIZE])
{
    unsigned char bytes[16];
    struct timespec time = {0, 0};
    uint64_t ms;
    unsigned fraction;

    random_bytes(bytes, sizeof(bytes));
    (void)clock_gettime(CLOCK_REALTIME, &time);
    ms = (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
    for (unsigned i = 0; i < 6; i++)
        bytes[i] = (unsigned char)(ms >> (40 - 8 * i));
    /* Method 3 of section 6.2: twelve bits of the millisecond's fraction, so that ids made one
     * after the other sort so within a millisecond too. */
    fraction = (unsigned)((uint64_t)(time.tv_nsec % 1000000) * 4096 / 1000000);
    bytes[6] = (unsigned char)(fraction >> 8);
    bytes[7] = (unsigned char)fraction;
    mark(bytes, 7);
    format(bytes, ret_uuid);
}
