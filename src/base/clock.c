/* SPDX-License-Identifier: MIT */
#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "base/uuid.h"

static struct timespec now(clockid_t clock)
{
    struct timespec time = {0, 0};

    (void)clock_gettime(clock, &time); /* cannot fail for the clocks used here */
    return time;
}

int64_t clock_ms(void)
{
    return clock_us() / 1000;
}

int64_t clock_us(void)
{
    struct timespec time = now(CLOCK_MONOTONIC);

    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

int64_t clock_wall_ms(void)
{
    struct timespec time = now(CLOCK_REALTIME);

    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

void clock_sleep_ms(int64_t ms)
{
    struct timespec end = now(CLOCK_MONOTONIC);

    if (ms <= 0)
        return;
    end.tv_sec += (time_t)(ms / 1000);
    end.tv_nsec += (long)(ms % 1000) * 1000000;
    if (end.tv_nsec >= 1000000000) {
        end.tv_nsec -= 1000000000;
        end.tv_sec++;
    }
    /* An absolute end: signals that interrupt the sleep do not make it longer. */
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) == EINTR)
        ;
}

int64_t clock_jitter_ms(int64_t ms)
{
    uint64_t random;

    if (ms <= 0)
        return 0;
    random_bytes(&random, sizeof(random));
    return ms / 2 + (int64_t)(random % ((uint64_t)ms + 1));
}

void clock_iso(int64_t epoch_ms, char ret_text[CLOCK_ISO_SIZE])
{
    const int64_t first = INT64_C(-62167219200000); /* 0000-01-01T00:00:00.000Z */
    const int64_t last = INT64_C(253402300799999);  /* 9999-12-31T23:59:59.999Z */
    struct tm utc;
    time_t seconds;
    int ms;

    if (epoch_ms < first)
        epoch_ms = first;
    if (epoch_ms > last)
        epoch_ms = last;
    ms = (int)(epoch_ms % 1000);
    if (ms < 0)
        ms += 1000;
    seconds = (time_t)((epoch_ms - ms) / 1000);
    (void)gmtime_r(&seconds, &utc); /* cannot fail between the years 0 and 9999 */
    (void)snprintf(ret_text, CLOCK_ISO_SIZE, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
                   (unsigned)(utc.tm_year + 1900) % 10000, (unsigned)(utc.tm_mon + 1) % 100,
                   (unsigned)utc.tm_mday % 100, (unsigned)utc.tm_hour % 100,
                   (unsigned)utc.tm_min % 100, (unsigned)utc.tm_sec % 100, (unsigned)ms % 1000);
}
