dnl SPDX-License-Identifier: MIT
dnl OPENCLAW_SANITIZER: --with-sanitizer=LIST, for example address,undefined or thread.
dnl Sets SANITIZER_CFLAGS, and the conditional SANITIZER.
AC_DEFUN([OPENCLAW_SANITIZER], [
  AC_ARG_WITH([sanitizer],
    [AS_HELP_STRING([--with-sanitizer=LIST],
       [build with these sanitizers @<:@address,undefined if no LIST is given@:>@])],
    [], [with_sanitizer=no])
  AS_CASE([$with_sanitizer],
    [yes], [with_sanitizer=address,undefined])
  SANITIZER_CFLAGS=
  AS_IF([test "x$with_sanitizer" != xno], [
    SANITIZER_CFLAGS="-fsanitize=$with_sanitizer -fno-omit-frame-pointer -fno-sanitize-recover=all"
    openclaw_saved_CFLAGS=$CFLAGS
    CFLAGS="$CFLAGS $SANITIZER_CFLAGS"
    AC_MSG_CHECKING([whether $CC links with -fsanitize=$with_sanitizer])
    AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])],
      [AC_MSG_RESULT([yes])],
      [AC_MSG_RESULT([no])
       AC_MSG_ERROR([this compiler cannot link -fsanitize=$with_sanitizer])])
    CFLAGS=$openclaw_saved_CFLAGS
  ])
  AC_SUBST([SANITIZER_CFLAGS])
  AM_CONDITIONAL([SANITIZER], [test "x$with_sanitizer" != xno])
])

dnl OPENCLAW_FUZZER: --with-fuzzer links the fuzz targets with libFuzzer (clang); without it the
dnl same targets replay their corpora in make check.
AC_DEFUN([OPENCLAW_FUZZER], [
  AC_ARG_WITH([fuzzer],
    [AS_HELP_STRING([--with-fuzzer], [link the fuzz targets with libFuzzer (needs clang)])],
    [], [with_fuzzer=no])
  AS_IF([test "x$with_fuzzer" != xno], [
    openclaw_saved_CFLAGS=$CFLAGS
    CFLAGS="$CFLAGS -fsanitize=fuzzer"
    AC_MSG_CHECKING([whether $CC links with -fsanitize=fuzzer])
    AC_LINK_IFELSE([AC_LANG_SOURCE([[
        #include <stddef.h>
        #include <stdint.h>
        int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
        int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
        {
            return data == NULL && size != 0;
        }]])],
      [AC_MSG_RESULT([yes])],
      [AC_MSG_RESULT([no])
       AC_MSG_ERROR([--with-fuzzer needs clang: configure with CC=clang])])
    CFLAGS=$openclaw_saved_CFLAGS
    SANITIZER_CFLAGS="$SANITIZER_CFLAGS -fsanitize=fuzzer-no-link"
  ])
  AM_CONDITIONAL([FUZZER], [test "x$with_fuzzer" != xno])
])
