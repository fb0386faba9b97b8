/* SPDX-License-Identifier: MIT */
#include "durable/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const kind_names[] = {
    [EXECUTOR_HTTP] = "http",
    [EXECUTOR_SESSION] = "session",
    [EXECUTOR_SWEEPER] = "sweeper",
    [EXECUTOR_CTL] = "ctl",
};

/* Field 22 of /proc/PID/stat, the start time in clock ticks since boot; -1: there is no such
 * process. Field 2 is the command's name, which may contain anything but ends at the last ')'.
 * *ret_stopped: a signal or a debugger has stopped it. */
static int64_t process_started(int pid, bool *ret_stopped)
{
    char path[32];
    char line[1024];
    FILE *file;
    size_t length;
    char *rest;

    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    file = fopen(path, "re");
    if (!file)
        return -1;
    length = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    line[length] = '\0';

    rest = strrchr(line, ')');
    /* a zombie has ended, whether or not its parent has looked */
    if (rest && strncmp(rest, ") Z", 3) == 0)
        return -1;
    *ret_stopped = rest && (strncmp(rest, ") T", 3) == 0 || strncmp(rest, ") t", 3) == 0);
    for (int field = 2; rest && field < 22; field++)
        rest = strchr(rest + 1, ' ');
    return rest ? strtoll(rest + 1, NULL, 10) : -1;
}

void executor_init(struct executor *executor, enum executor_kind kind,
                   const struct options *options)
{
    memset(executor, 0, sizeof *executor);
    uuid_v4(executor->id);
    executor->kind = kind;
    if (options->host_name[0])
        snprintf(executor->host, sizeof executor->host, "%s", options->host_name);
    else if (gethostname(executor->host, sizeof executor->host - 1) != 0)
        snprintf(executor->host, sizeof executor->host, "localhost");
    for (char *c = executor->host; *c; c++)
        if (*c == '/')
            *c = '-';
    executor->pid = (int)getpid();
    executor->pid_started = process_started(executor->pid, &(bool){false});
}

void executor_machine(char ret_machine[EXECUTOR_MACHINE_SIZE])
{
    char boot[40] = "", space[40] = "";
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

    if (file && !fgets(boot, sizeof boot, file))
        boot[0] = '\0';
    if (file)
        fclose(file);
    boot[strcspn(boot, "\n")] = '\0';
    ret_machine[0] = '\0';
    if (boot[0] && readlink("/proc/self/ns/pid", space, sizeof space - 1) > 0)
        snprintf(ret_machine, EXECUTOR_MACHINE_SIZE, "%s %s", boot, space);
}

void executor_register_call(struct db_call *call, struct arena *arena,
                            const struct executor *executor, const char *principal,
                            struct text client)
{
    db_call_init(call, arena, STATEMENT_EXECUTOR_REGISTER);
    executor_add(call, executor, principal, client);
}

void executor_add(struct db_call *call, const struct executor *executor, const char *principal,
                  struct text client)
{
    db_add_string(call, executor->id);
    db_add_string(call, kind_names[executor->kind]);
    db_add_string(call, executor->host);
    db_add_int(call, executor->pid);
    db_add_int(call, executor->pid_started);
    db_add_string(call, principal);
    db_add_text(call, client);
}

enum executor_life executor_look(int pid, int64_t pid_started)
{
    bool stopped = false;

    if (process_started(pid, &stopped) != pid_started)
        return EXECUTOR_DEAD;
    return stopped ? EXECUTOR_STOPPED : EXECUTOR_ALIVE;
}
