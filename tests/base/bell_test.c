/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/bell.h"
#include "unit.h"

static char dir[64], runtime[80];

static int start(void **state)
{
    (void)state;
    memcpy(dir, "/tmp/bell.XXXXXX", 17);
    if (mkdtemp(dir) == NULL)
        return -1;
    (void)snprintf(runtime, sizeof(runtime), "%s/run", dir);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    (void)rmdir(runtime);
    return rmdir(dir);
}

static bool rings(const struct bell *bell)
{
    struct pollfd in = {.fd = bell->fd, .events = POLLIN};

    return poll(&in, 1, 0) == 1;
}

static void ringing(void **state)
{
    struct bell bell;
    struct stat status;

    (void)state;
    assert_int_equal(bell_open(&bell, runtime, "e1", NULL), OK);
    assert_int_equal(stat(runtime, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    assert_false(rings(&bell));
    bell_ring(runtime, "e1");
    bell_ring(runtime, "e1");
    assert_true(rings(&bell));
    bell_drain(&bell);
    assert_false(rings(&bell));
    bell_ring(runtime, "e2");
    assert_false(rings(&bell));
    bell_close(&bell);
    assert_int_equal(bell.fd, -1);
    assert_int_not_equal(access(bell.path, F_OK), 0);
    bell_close(&bell);
    bell_drain(&bell);
}

static void a_bell_may_bring_something(void **state)
{
    struct text brought;
    struct bell bell;
    char bytes[4];

    (void)state;
    assert_int_equal(bell_open(&bell, runtime, "e1", NULL), OK);
    assert_false(bell_take(&bell, bytes, sizeof(bytes), &brought));
    bell_bring(runtime, "e1", TEXT_LITERAL("one"));
    bell_ring(runtime, "e1");
    bell_bring(runtime, "e1", TEXT_LITERAL("longer"));
    assert_true(bell_take(&bell, bytes, sizeof(bytes), &brought));
    assert_text(brought, "one");
    assert_true(bell_take(&bell, bytes, sizeof(bytes), &brought));
    assert_text(brought, "");
    assert_true(bell_take(&bell, bytes, sizeof(bytes), &brought));
    assert_text(brought, "long"); /* what does not fit is cut, and the next is whole again */
    assert_false(bell_take(&bell, bytes, sizeof(bytes), &brought));
    bell_close(&bell);
    assert_false(bell_take(&bell, bytes, sizeof(bytes), &brought));
}

static void nobody_is_there(void **state)
{
    (void)state;
    bell_ring(runtime, "e1");
    bell_ring("/nonexistent", "e1");
    bell_ring(runtime, "../e1");
}

static void a_waiter_that_does_not_look(void **state)
{
    struct bell bell;

    (void)state;
    assert_int_equal(bell_open(&bell, runtime, "e1", NULL), OK);
    for (int i = 0; i < 10000; i++)
        bell_ring(runtime, "e1"); /* must not block when the queue is full */
    assert_true(rings(&bell));
    bell_drain(&bell);
    assert_false(rings(&bell));
    bell_close(&bell);
}

static void what_is_left_by_a_crash_is_no_obstacle(void **state)
{
    struct bell dead, bell;

    (void)state;
    assert_int_equal(bell_open(&dead, runtime, "e1", NULL), OK);
    close(dead.fd);
    assert_int_equal(bell_open(&bell, runtime, "e1", NULL), OK);
    bell_ring(runtime, "e1");
    assert_true(rings(&bell));
    bell_close(&bell);
}

/* As if it had been made that long ago. */
static void age(const char *path, long seconds)
{
    struct timespec times[2] = {{.tv_sec = time(NULL) - seconds}, {.tv_sec = time(NULL) - seconds}};

    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void what_the_dead_leave_is_swept(void **state)
{
    struct bell dead, young, living;
    char other[128];
    int fd;

    (void)state;
    assert_int_equal(bell_sweep("/nonexistent"), 0);
    assert_int_equal(bell_open(&dead, runtime, "e1", NULL), OK);
    assert_int_equal(bell_open(&young, runtime, "e2", NULL), OK);
    assert_int_equal(bell_open(&living, runtime, "e3", NULL), OK);
    (void)snprintf(other, sizeof(other), "%s/e4.bell", runtime); /* no socket */
    assert_true((fd = open(other, O_CREAT | O_WRONLY, 0600)) >= 0);
    close(fd);
    close(dead.fd);
    close(young.fd);
    age(dead.path, BELL_LEFT_AGE_S + 5);
    age(living.path, BELL_LEFT_AGE_S + 5);
    age(other, BELL_LEFT_AGE_S + 5);
    assert_int_equal(bell_sweep(runtime), 1);
    assert_int_not_equal(access(dead.path, F_OK), 0);
    assert_int_equal(access(young.path, F_OK), 0);
    assert_int_equal(access(other, F_OK), 0);
    bell_ring(runtime, "e3");
    assert_true(rings(&living));
    assert_int_equal(bell_sweep(runtime), 0);
    bell_close(&living);
    (void)unlink(young.path);
    (void)unlink(other);
}

static void faults_are_told(void **state)
{
    struct bell bell;
    struct failure failure;
    char path[120];

    (void)state;
    memset(path, 'a', sizeof(path));
    path[0] = '/';
    path[110] = '\0';
    assert_int_equal(bell_open(&bell, path, "e1", &failure), ERR_CONFIG);
    assert_int_equal(bell.fd, -1);
    assert_non_null(strstr(failure.detail, "shorter RUNTIME_DIR"));
    assert_int_equal(bell_open(&bell, runtime, "a/b", &failure), ERR_CONFIG);
    assert_int_equal(bell_open(&bell, "/nonexistent/x", "e1", &failure), ERR_IO);
    assert_non_null(strstr(failure.detail, "/nonexistent/x"));
}

#define IN_A_FOLDER(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_FOLDER(ringing),
        IN_A_FOLDER(a_bell_may_bring_something),
        IN_A_FOLDER(nobody_is_there),
        IN_A_FOLDER(a_waiter_that_does_not_look),
        IN_A_FOLDER(what_is_left_by_a_crash_is_no_obstacle),
        IN_A_FOLDER(what_the_dead_leave_is_swept),
        IN_A_FOLDER(faults_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
