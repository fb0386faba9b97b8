/* SPDX-License-Identifier: MIT
 *
 * Random identifiers from the kernel's generator (getrandom(2)).
 */
#ifndef OPENCLAW_BASE_UUID_H
#define OPENCLAW_BASE_UUID_H

#include <stddef.h>

#define UUID_SIZE 37 /* 36 characters and a NUL */

void random_bytes(void *ret_bytes, size_t count); /* aborts where the kernel has none to give */
void uuid_v4(char ret_uuid[UUID_SIZE]);           /* RFC 9562, section 5.4 */
void uuid_v7(char ret_uuid[UUID_SIZE]);           /* RFC 9562, section 5.7: sorts by time of creation */

#endif
