dnl SPDX-License-Identifier: MIT
dnl OPENCLAW_COVERAGE: --enable-coverage instruments for gcov; `make coverage` reports.
AC_DEFUN([OPENCLAW_COVERAGE], [
  AC_ARG_ENABLE([coverage],
    [AS_HELP_STRING([--enable-coverage], [instrument for gcov; see also: make coverage])],
    [], [enable_coverage=no])
  COVERAGE_CFLAGS=
  AS_IF([test "x$enable_coverage" != xno], [
    AS_IF([test "x$GCOV" = x], [AC_MSG_ERROR([--enable-coverage needs gcov])])
    COVERAGE_CFLAGS="--coverage -fprofile-update=atomic"
  ])
  AC_SUBST([COVERAGE_CFLAGS])
  AM_CONDITIONAL([COVERAGE], [test "x$enable_coverage" != xno])
])
