/* SPDX-License-Identifier: MIT
 *
 * What a static libpq asks of Kerberos and LDAP (--with-static-libpq), each answering that there is
 * none: no credential cache, no directory. A server that insists on Kerberos is refused with
 * libpq's own message, and an ldap:// line of a service file fails. libpq never looks at more than
 * the result of these, except for a message that stays empty, so none needs its parameters.
 */
#include <stddef.h>
#include <stdint.h>

#define GSS_FAILURE UINT32_C(0x000d0000) /* GSS_S_FAILURE, RFC 2744, section 3.9.1 */

#define GSS_ABSENT(name)                                                                           \
    uint32_t name(void);                                                                           \
    uint32_t name(void)                                                                            \
    {                                                                                              \
        return GSS_FAILURE;                                                                        \
    }

extern const void *const GSS_C_NT_HOSTBASED_SERVICE;
const void *const GSS_C_NT_HOSTBASED_SERVICE = NULL;

GSS_ABSENT(gss_acquire_cred)
GSS_ABSENT(gss_delete_sec_context)
GSS_ABSENT(gss_display_status)
GSS_ABSENT(gss_import_name)
GSS_ABSENT(gss_init_sec_context)
GSS_ABSENT(gss_release_buffer)
GSS_ABSENT(gss_release_cred)
GSS_ABSENT(gss_release_name)
GSS_ABSENT(gss_unwrap)
GSS_ABSENT(gss_wrap)
GSS_ABSENT(gss_wrap_size_limit)

#define LDAP_ABSENT(name)                                                                          \
    void *name(void);                                                                              \
    void *name(void)                                                                               \
    {                                                                                              \
        return NULL;                                                                               \
    }

LDAP_ABSENT(ldap_init) /* the first one called; the others are only ever called after it */
LDAP_ABSENT(ldap_count_entries)
LDAP_ABSENT(ldap_err2string)
LDAP_ABSENT(ldap_first_entry)
LDAP_ABSENT(ldap_get_values_len)
LDAP_ABSENT(ldap_msgfree)
LDAP_ABSENT(ldap_result)
LDAP_ABSENT(ldap_search_st)
LDAP_ABSENT(ldap_set_option)
LDAP_ABSENT(ldap_simple_bind)
LDAP_ABSENT(ldap_unbind)
LDAP_ABSENT(ldap_value_free_len)
