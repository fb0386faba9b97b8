/* SPDX-License-Identifier: MIT
 *
 * A fuzz target defines this function. With --with-fuzzer it is linked with libFuzzer; otherwise
 * with replay.c, which gives it the files of its corpus in make check.
 */
#ifndef OPENCLAW_TESTS_FUZZ_H
#define OPENCLAW_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
