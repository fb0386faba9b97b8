/* SPDX-License-Identifier: MIT
 *
 * libpq for a program that may never need it: the functions by which src/db speaks to libpq, each
 * handing on to the one of that name in libpq.so.5, which the first attempt to connect loads. A
 * program is linked either with this file or with libpq. The dynamic loader's work for libpq and
 * the two dozen libraries behind it is most of a session's start (bench/NOTES.md).
 *
 * Where it cannot be loaded PQlibVersion() is 0 and PQerrorMessage(NULL) says why; the next attempt
 * tries again. Before it is loaded there can be neither a connection nor an answer, so what is
 * called then is called with NULL, and answers that as libpq does.
 *
 * For a program with one thread: loading takes no lock. A thread that is made afterwards (cancel.c)
 * only reads the table.
 */
#include <dlfcn.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static struct functions {
#define FIRST(type, name, parameters, arguments)            type(*name) parameters;
#define VALUE(type, name, parameters, arguments, otherwise) type(*name) parameters;
#define PLAIN(name, parameters, arguments)                  void(*name) parameters;
#include "db/libpq.def"
#undef FIRST
#undef VALUE
#undef PLAIN
} libpq; /* all of them, or all NULL */

static const struct {
    const char *name;
    size_t offset;
} symbols[] = {
#define FIRST(type, name, parameters, arguments) {#name, offsetof(struct functions, name)},
#define VALUE(type, name, parameters, arguments, otherwise)                                        \
    {#name, offsetof(struct functions, name)},
#define PLAIN(name, parameters, arguments) {#name, offsetof(struct functions, name)},
#include "db/libpq.def"
#undef FIRST
#undef VALUE
#undef PLAIN
};

/* PQerrorMessage(NULL); libpq's words until loading has failed. */
static char fault[256] = "connection pointer is NULL\n";
static char nothing[1] = "";

/* Every function, or false: one is missing. */
static bool resolve(void *library, struct functions *ret_functions)
{
    struct functions found;

    for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
        void *address = dlsym(library, symbols[i].name);

        if (address == NULL)
            return false;
        memcpy((char *)&found + symbols[i].offset, &address, sizeof(address));
    }
    *ret_functions = found;
    return true;
}

static bool load(void)
{
    void *library;

    if (libpq.PQlibVersion != NULL)
        return true;
    library = dlopen("libpq.so.5", RTLD_NOW | RTLD_LOCAL);
    if (library != NULL && resolve(library, &libpq))
        return true;
    (void)snprintf(fault, sizeof(fault), "libpq.so.5 cannot be loaded: %.150s; install libpq5",
                   dlerror());
    if (library != NULL)
        (void)dlclose(library);
    return false;
}

#define FIRST(type, name, parameters, arguments)                                                   \
    type name parameters                                                                           \
    {                                                                                              \
        return load() ? libpq.name arguments : 0;                                                  \
    }
#define VALUE(type, name, parameters, arguments, otherwise)                                        \
    type name parameters                                                                           \
    {                                                                                              \
        return libpq.name != NULL ? libpq.name arguments : (otherwise);                            \
    }
#define PLAIN(name, parameters, arguments)                                                         \
    void name parameters                                                                           \
    {                                                                                              \
        if (libpq.name != NULL)                                                                    \
            libpq.name arguments;                                                                  \
    }
#include "db/libpq.def"
