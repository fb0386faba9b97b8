# SPDX-License-Identifier: MIT
"""The Test Anything Protocol, as Automake's driver reads it.

    from tap import Tap

    tap = Tap()
    tap.ok(condition, "what must hold")
    tap.equal(got, expected, "what must be equal")
    with tap.raises(SqlError, "what must fail", sqlstate="23505"): …
    tap.skip("what is not tested", "why")
    sys.exit(tap.done())                    # prints the plan; 1 when something failed

skip_all(reason) ends the program as a skipped test.
"""

import sys


def skip_all(reason):
    print(f"1..0 # SKIP {reason}", flush=True)
    sys.exit(0)


def diagnose(text):
    for line in str(text).splitlines() or [""]:
        print(f"# {line}", flush=True)


class Tap:
    def __init__(self):
        self.count = 0
        self.failed = 0

    def ok(self, condition, name, detail=""):
        self.count += 1
        if not condition:
            self.failed += 1
        print(f"{'ok' if condition else 'not ok'} {self.count} - {name}", flush=True)
        if not condition and detail:
            diagnose(detail)
        return bool(condition)

    def equal(self, got, expected, name):
        return self.ok(got == expected, name, f"     got: {got!r}\nexpected: {expected!r}")

    def skip(self, name, reason):
        self.count += 1
        print(f"ok {self.count} - {name} # SKIP {reason}", flush=True)

    def raises(self, exception, name, **attributes):
        """A context whose body must raise this exception with these attributes."""
        return _Raises(self, exception, name, attributes)

    def done(self):
        print(f"1..{self.count}", flush=True)
        return 1 if self.failed else 0


class _Raises:
    def __init__(self, tap, exception, name, attributes):
        self.tap, self.exception = tap, exception
        self.name, self.attributes = name, attributes

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        if kind is None:
            self.tap.ok(False, self.name, f"no error, expected {self.exception.__name__}")
            return True
        if not issubclass(kind, self.exception):
            return False
        got = {name: getattr(error, name, None) for name in self.attributes}
        detail = f"{got}, expected {self.attributes}\n{error}"
        self.tap.ok(got == self.attributes, self.name, detail)
        return True
