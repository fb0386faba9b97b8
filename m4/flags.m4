dnl SPDX-License-Identifier: MIT
dnl OPENCLAW_APPEND_CFLAG(VARIABLE, FLAG, [EXTRA]): append FLAG where the compiler takes it.
AC_DEFUN([OPENCLAW_APPEND_CFLAG], [
  AC_MSG_CHECKING([whether $CC accepts $2])
  openclaw_saved_CFLAGS=$CFLAGS
  CFLAGS="$CFLAGS -Werror $2 $3"
  AC_COMPILE_IFELSE([AC_LANG_SOURCE([[int main(void) { return 0; }]])],
    [AC_MSG_RESULT([yes])
     AS_VAR_APPEND([$1], [" $2"])],
    [AC_MSG_RESULT([no])])
  CFLAGS=$openclaw_saved_CFLAGS
])

dnl OPENCLAW_APPEND_LDFLAG(VARIABLE, FLAG): the same for the linker.
AC_DEFUN([OPENCLAW_APPEND_LDFLAG], [
  AC_MSG_CHECKING([whether the linker accepts $2])
  openclaw_saved_LDFLAGS=$LDFLAGS
  LDFLAGS="$LDFLAGS $2"
  AC_LINK_IFELSE([AC_LANG_SOURCE([[int main(void) { return 0; }]])],
    [AC_MSG_RESULT([yes])
     AS_VAR_APPEND([$1], [" $2"])],
    [AC_MSG_RESULT([no])])
  LDFLAGS=$openclaw_saved_LDFLAGS
])

dnl OPENCLAW_WARNINGS: sets WARNING_CFLAGS; with --enable-werror they are errors.
AC_DEFUN([OPENCLAW_WARNINGS], [
  WARNING_CFLAGS=
  m4_foreach_w([openclaw_flag], [
    -Wall -Wextra -Wpedantic
    -Wshadow -Wconversion -Wsign-conversion
    -Wstrict-prototypes -Wmissing-prototypes -Wmissing-declarations -Wold-style-definition
    -Wformat=2 -Wwrite-strings -Wcast-qual -Wcast-align -Wpointer-arith
    -Wundef -Wvla -Walloca -Wimplicit-fallthrough -Wredundant-decls -Wnested-externs
    -Wnull-dereference -Wduplicated-cond -Wlogical-op -Wjump-misses-init
    -Wno-overlength-strings -Wfloat-equal -Winit-self -Wunused-macros -Wdate-time
  ], [OPENCLAW_APPEND_CFLAG([WARNING_CFLAGS], openclaw_flag)])
  AS_IF([test "x$enable_werror" != xno], [WARNING_CFLAGS="$WARNING_CFLAGS -Werror"])
  AC_SUBST([WARNING_CFLAGS])
])

dnl OPENCLAW_HARDENING: sets HARDENING_CPPFLAGS, HARDENING_CFLAGS, HARDENING_LDFLAGS.
dnl _FORTIFY_SOURCE needs an optimising build, and hides what a sanitizer would report.
AC_DEFUN([OPENCLAW_HARDENING], [
  HARDENING_CPPFLAGS=
  HARDENING_CFLAGS=
  HARDENING_LDFLAGS=
  AS_CASE([" $CFLAGS "],
    [*" -O0 "*], [openclaw_optimising=no],
    [*" -O"*], [openclaw_optimising=yes],
    [openclaw_optimising=no])
  AS_IF([test "x$openclaw_optimising" = xyes && test "x$with_sanitizer" = xno &&
         test "x$with_fuzzer" = xno && test "x$enable_coverage" = xno], [
    OPENCLAW_APPEND_CFLAG([HARDENING_CPPFLAGS], [-D_FORTIFY_SOURCE=3],
                          [-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -include stdlib.h])
    AS_IF([test "x$HARDENING_CPPFLAGS" = x], [HARDENING_CPPFLAGS=-D_FORTIFY_SOURCE=2])
    HARDENING_CPPFLAGS="-U_FORTIFY_SOURCE $HARDENING_CPPFLAGS"
  ])
  m4_foreach_w([openclaw_flag], [
    -fPIE -fstack-protector-strong -fstack-clash-protection -fcf-protection=full -fno-common
  ], [OPENCLAW_APPEND_CFLAG([HARDENING_CFLAGS], openclaw_flag)])
  m4_foreach([openclaw_flag], [[-pie], [[-Wl,-z,relro]], [[-Wl,-z,now]], [[-Wl,-z,noexecstack]],
                               [[-Wl,--as-needed]]],
    [OPENCLAW_APPEND_LDFLAG([HARDENING_LDFLAGS], [openclaw_flag])])
  AC_SUBST([HARDENING_CPPFLAGS])
  AC_SUBST([HARDENING_CFLAGS])
  AC_SUBST([HARDENING_LDFLAGS])
])
