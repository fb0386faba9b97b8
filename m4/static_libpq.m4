dnl SPDX-License-Identifier: MIT
dnl OPENCLAW_STATIC_LIBPQ: the session program, of which there is one for each connection, with libpq and
dnl OpenSSL inside, and without Kerberos and LDAP, which no pooler asks for (bench/NOTES.md, A session's
dnl start). Sets SESSION_LIBS and the conditional STATIC_LIBPQ.
AC_DEFUN([OPENCLAW_STATIC_LIBPQ], [
  AC_ARG_WITH([static-libpq],
    [AS_HELP_STRING([--with-static-libpq@<:@=DIR@:>@],
       [link openclaw-gateway-session with libpq.a, libpgcommon_shlib.a and libpgport_shlib.a (DIR, or
        pg_config --pkglibdir), libssl.a and libcrypto.a: it starts in a third of the time, and is to be
        built again when these are updated])],
    [], [with_static_libpq=no])
  SESSION_LIBS='$(DLOPEN_LIBS) $(JSON_C_LIBS) $(NETTLE_LIBS)'
  AS_IF([test "x$with_static_libpq" != xno], [
    AS_IF([test "x$with_static_libpq" = xyes],
      [static_libpq_dir=`pg_config --pkglibdir 2>/dev/null`],
      [static_libpq_dir=$with_static_libpq])
    SESSION_LIBS="-L$static_libpq_dir -Wl,-Bstatic $LIBPQ_LIBS -lpgcommon_shlib -lpgport_shlib"
    SESSION_LIBS="$SESSION_LIBS -lssl -lcrypto $JSON_C_LIBS $NETTLE_LIBS -Wl,-Bdynamic -lm"
    AC_MSG_CHECKING([for the archives of libpq and what it needs])
    static_libpq_saved=$LIBS
    LIBS="-pthread $SESSION_LIBS $LIBS"
    AC_LINK_IFELSE(
      [AC_LANG_PROGRAM([[
         #include <openssl/ssl.h>
         #include <openssl/hmac.h>
         extern char *scram_build_secret(void), *pg_strerror_r(void);]],
         [[return SSL_CTX_new(TLS_client_method()) == 0 || HMAC_CTX_new() == 0 || scram_build_secret() == 0 ||
             pg_strerror_r() == 0;]])],
      [AC_MSG_RESULT([$static_libpq_dir])],
      [AC_MSG_RESULT([no])
       AC_MSG_ERROR([--with-static-libpq: libpgcommon_shlib.a (Debian: postgresql-server-dev-NN; or give the
         directory it is in), libssl.a, libcrypto.a, libjson-c.a or libnettle.a is missing])])
    LIBS=$static_libpq_saved
  ])
  AC_SUBST([SESSION_LIBS])
  AM_CONDITIONAL([STATIC_LIBPQ], [test "x$with_static_libpq" != xno])
])
