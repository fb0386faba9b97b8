/* SPDX-License-Identifier: MIT */
#include "base/bell.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"

/* False where the path does not fit, or the id would lead out of the directory. */
static bool bell_address(const char *runtime_dir, const char *executor_id,
                         struct sockaddr_un *ret_address)
{
    int len;

    if (!text_is_agent_id(text_of(executor_id)))
        return false;
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    len = snprintf(ret_address->sun_path, sizeof(ret_address->sun_path), "%s/%s.bell", runtime_dir,
                   executor_id);
    return len > 0 && (size_t)len < sizeof(ret_address->sun_path);
}

enum error bell_open(struct bell *bell, const char *runtime_dir, const char *executor_id,
                     struct failure *failure)
{
    struct sockaddr_un address;
    int fd;

    *bell = (struct bell){.fd = -1};
    if (!bell_address(runtime_dir, executor_id, &address))
        return failure_set(failure, ERR_CONFIG,
                           "no socket can be named %s/%s.bell; choose a shorter RUNTIME_DIR",
                           runtime_dir, executor_id);
    if (mkdir(runtime_dir, 0700) < 0 && errno != EEXIST)
        return failure_set(failure, ERR_IO, "cannot make the directory %s: %s", runtime_dir,
                           strerror(errno));
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return failure_set(failure, ERR_IO, "no socket for the doorbell: %s", strerror(errno));
    /* An executor's id is never used twice; what stands there is not somebody else's. */
    (void)unlink(address.sun_path);
    if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        int cause = errno;

        (void)close(fd);
        return failure_set(failure, ERR_IO, "cannot open the doorbell %s: %s", address.sun_path,
                           strerror(cause));
    }
    bell->fd = fd;
    memcpy(bell->path, address.sun_path, sizeof(bell->path));
    return OK;
}

bool bell_take(struct bell *bell, char *bytes, size_t size, struct text *ret_brought)
{
    ssize_t got;

    if (bell->fd < 0)
        return false;
    do
        got = recv(bell->fd, bytes, size, 0);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return false;
    *ret_brought = (struct text){bytes, (size_t)got};
    return true;
}

void bell_drain(struct bell *bell)
{
    struct text nothing;
    char byte;

    while (bell_take(bell, &byte, sizeof(byte), &nothing))
        ;
}

void bell_close(struct bell *bell)
{
    if (bell->fd < 0)
        return;
    (void)unlink(bell->path);
    (void)close(bell->fd);
    bell->fd = -1;
}

void bell_ring(const char *runtime_dir, const char *executor_id)
{
    (void)bell_bring(runtime_dir, executor_id, TEXT_LITERAL(""));
}

bool bell_bring(const char *runtime_dir, const char *executor_id, struct text what)
{
    struct sockaddr_un address;
    bool heard;
    int fd;

    if (!bell_address(runtime_dir, executor_id, &address))
        return false;
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    heard = sendto(fd, what.data, what.len, MSG_NOSIGNAL, (const struct sockaddr *)&address,
                   sizeof(address)) >= 0 ||
            errno == EAGAIN || errno == ENOBUFS;
    (void)close(fd);
    return heard;
}

/* Who has just made the file may not listen on it yet. */
static bool is_left(const struct sockaddr_un *address)
{
    struct stat status;
    bool left;
    int fd;

    if (lstat(address->sun_path, &status) < 0 || !S_ISSOCK(status.st_mode) ||
        status.st_mtime > time(NULL) - BELL_LEFT_AGE_S)
        return false;
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    left = connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 &&
           errno == ECONNREFUSED;
    (void)close(fd);
    return left;
}

size_t bell_sweep(const char *runtime_dir)
{
    DIR *dir = opendir(runtime_dir);
    const struct dirent *entry;
    size_t count = 0;

    if (dir == NULL)
        return 0;
    while ((entry = readdir(dir)) != NULL) {
        struct sockaddr_un address;
        char id[256];
        size_t len = strlen(entry->d_name);

        if (len < 6 || len >= sizeof(id) || strcmp(entry->d_name + len - 5, ".bell") != 0)
            continue;
        memcpy(id, entry->d_name, len - 5);
        id[len - 5] = '\0';
        if (bell_address(runtime_dir, id, &address) && is_left(&address) &&
            unlink(address.sun_path) == 0)
            count++;
    }
    (void)closedir(dir);
    return count;
}
