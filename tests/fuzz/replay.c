/* SPDX-License-Identifier: MIT
 *
 * Gives a fuzz target each file of the folder that is the first argument, whole and then cut short
 * at every length (up to CUT_MAX); speaks TAP. A fault is an abort, as under libFuzzer.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#define INPUT_MAX ((size_t)1 << 20)
#define CUT_MAX   4096

static size_t replay(const char *folder, const char *name)
{
    static uint8_t input[INPUT_MAX];
    char path[1024];
    FILE *file;
    size_t size;

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        exit(99);
    }
    size = fread(input, 1, sizeof(input), file);
    (void)fclose(file);
    (void)LLVMFuzzerTestOneInput(input, size);
    for (size_t cut = 0; cut < size && cut < CUT_MAX; cut++) {
        /* A copy of exactly this size, so that a sanitizer sees a read behind it. */
        uint8_t *copy = malloc(cut > 0 ? cut : 1);

        if (copy == NULL)
            exit(99);
        memcpy(copy, input, cut);
        (void)LLVMFuzzerTestOneInput(copy, cut);
        free(copy);
    }
    return size;
}

int main(int argc, char **argv)
{
    struct dirent **entries;
    int count, number = 0;

    if (argc != 2) {
        (void)fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 99;
    }
    count = scandir(argv[1], &entries, NULL, alphasort);
    if (count < 0) {
        perror(argv[1]);
        return 99;
    }
    for (int i = 0; i < count; i++) {
        if (entries[i]->d_name[0] != '.') {
            size_t size = replay(argv[1], entries[i]->d_name);

            (void)printf("ok %d - %s (%zu bytes)\n", ++number, entries[i]->d_name, size);
        }
        free(entries[i]);
    }
    free(entries);
    (void)printf("1..%d\n", number);
    return number > 0 ? 0 : 99;
}
