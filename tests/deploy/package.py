#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The Debian package: built from the tarball that `make dist` makes, judged by lintian, unpacked, and its
programs run (debian/tests/smoke)."""

import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

from tap import Tap, skip_all

SOURCE = os.environ["abs_top_srcdir"]
BUILD = os.environ["abs_top_builddir"]
BUILD_TIMEOUT = 1800
TIMEOUT = 300


def clean_environment():
    """No make's options, and no other database's settings."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MAKE", "PG", "AM_", "TEST_")) and name != "MFLAGS"
    }


def run(*command, timeout=TIMEOUT, **more):
    more.setdefault("env", clean_environment())
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        timeout=timeout,
        **more,
    )


def end_of(text, lines=30):
    return "\n".join(text.splitlines()[-lines:])


def tarball(tap, directory):
    said = run(
        "make", "-s", "-C", BUILD, "distdir", f"distdir={directory}/source", timeout=BUILD_TIMEOUT
    )
    tap.ok(said.returncode == 0, "make distdir", end_of(said.stdout))
    return os.path.join(directory, "source")


def check_version(tap, source):
    with open(os.path.join(source, "debian/changelog"), encoding="utf-8") as file:
        packaged = re.match(r"openclaw-gateway \((\S+)\)", file.readline()).group(1)
    tap.equal(packaged, os.environ["VERSION"], "the changelog's version is that of configure.ac")


def check_source(tap, directory, source):
    """The source package too is judged: what it says it needs to be built."""
    if shutil.which("lintian") is None:
        tap.skip("lintian finds nothing in the source package", "lintian is not installed")
        return
    said = run("dpkg-source", "-b", source, cwd=directory)
    (description,) = glob.glob(os.path.join(directory, "*.dsc")) or [None]
    tap.ok(description is not None, "dpkg-source", end_of(said.stdout))
    if description is not None:
        said = run("lintian", "--allow-root", "--fail-on", "error,warning", description)
        tap.ok(said.returncode == 0, "lintian finds nothing in the source package", said.stdout)


def check_lintian(tap, directory):
    if shutil.which("lintian") is None:
        tap.skip("lintian finds nothing", "lintian is not installed")
        return
    (changes,) = glob.glob(os.path.join(directory, "*.changes"))
    said = run("lintian", "--allow-root", "--fail-on", "error,warning", changes)
    tap.ok(said.returncode == 0, "lintian finds nothing", said.stdout)
    overrides = glob.glob(os.path.join(SOURCE, "debian", "*lintian-overrides")) + glob.glob(
        os.path.join(SOURCE, "debian", "source", "lintian-overrides")
    )
    tap.equal(overrides, [], "and it was told to overlook nothing")


def check_installed(tap, directory):
    (package,) = glob.glob(os.path.join(directory, "openclaw-gateway_*.deb"))
    root = os.path.join(directory, "root")
    said = run("dpkg", "-x", package, root)
    tap.ok(said.returncode == 0, "it unpacks", said.stdout)
    said = run(
        os.path.join(SOURCE, "debian/tests/smoke"), env={**clean_environment(), "ROOT": root}
    )
    tap.ok(
        said.returncode == 0 and said.stdout.endswith("all well\n"),
        "its programs run (debian/tests/smoke)",
        said.stdout,
    )
    # nothing of a test build may be in it
    for program in ("http", "relay", "sweeper"):
        name = f"usr/sbin/openclaw-gateway-{program}"
        with open(os.path.join(root, name), "rb") as file:
            tap.ok(b"OPENCLAW_FAULT_AT" not in file.read(), f"{name} has no fault points")
    said = run("dpkg", "-f", package, "Depends")
    tap.ok(
        "websocketd" in said.stdout and "libpq5" in said.stdout,
        "it depends on what it needs",
        said.stdout,
    )
    said = run("dpkg", "-I", package, "conffiles")
    tap.ok(
        "/etc/openclaw-gateway/gateway.env" in said.stdout,
        "gateway.env is kept at upgrades",
        said.stdout,
    )


SERVICES = "openclaw-gateway-*.service"


def run_script(directory, name, *arguments):
    """What a maintainer's script asks systemd and others to do, none of which is done."""
    fake = os.path.join(directory, "fake")
    running = os.path.join(fake, "running")  # as if systemd were the first process
    settings = os.path.join(fake, "etc")
    for folder in (running, os.path.join(fake, "bin"), settings):
        os.makedirs(folder, exist_ok=True)
    with open(os.path.join(settings, "gateway.env"), "w", encoding="ascii"):
        pass
    asked = os.path.join(fake, "asked")
    for tool in ("systemctl", "systemd-sysusers", "systemd-tmpfiles", "chown", "chmod") + (
        "deb-systemd-invoke",
        "deb-systemd-helper",
    ):
        path = os.path.join(fake, "bin", tool)
        with open(path, "w", encoding="ascii") as file:
            file.write(f'#!/bin/sh\necho "{tool} $*" >>{asked}\n')
        os.chmod(path, 0o755)
    path = os.path.join(directory, "control", name)
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    text = text.replace("/run/systemd/system", running).replace("/etc/openclaw-gateway", settings)
    with open(os.path.join(fake, name), "w", encoding="utf-8") as file:
        file.write(text)
    with open(asked, "w", encoding="ascii"):
        pass
    environment = {**clean_environment(), "PATH": f"{fake}/bin:{os.environ['PATH']}"}
    said = run("sh", "-e", os.path.join(fake, name), *arguments, env=environment)
    if said.returncode != 0:
        return f"{name} failed: {said.stdout}"
    with open(asked, encoding="ascii") as file:
        return file.read().replace(settings, "/etc/openclaw-gateway")


def invoked(asked, verb):
    return [line for line in asked.splitlines() if line.startswith(f"deb-systemd-invoke {verb} ")]


def check_life(tap, directory):
    """What an installation, an upgrade and a removal do with the services."""
    (package,) = glob.glob(os.path.join(directory, "openclaw-gateway_*.deb"))
    said = run("dpkg", "-e", package, os.path.join(directory, "control"))
    tap.ok(said.returncode == 0, "its maintainer's scripts", said.stdout)
    asked = run_script(directory, "postinst", "configure")
    tap.ok("failed" not in asked and "deb-systemd-invoke" not in asked, "nothing is started", asked)
    tap.ok(
        "chmod 640 /etc/openclaw-gateway/gateway.env" in asked
        and re.search("chown root:openclaw-gateway .*/gateway.env", asked)
        and asked.index("sysusers") < asked.index("chown"),
        "only its user reads gateway.env",
        asked,
    )
    asked = run_script(directory, "preinst", "upgrade", "0.0.9", "0.1.0")
    asked += run_script(directory, "prerm", "upgrade", "0.1.0")
    tap.ok("failed" not in asked and not invoked(asked, "stop"), "an upgrade stops nothing", asked)
    asked = run_script(directory, "postinst", "configure", "0.0.9")
    tap.ok(
        invoked(asked, "try-restart") == [f"deb-systemd-invoke try-restart {SERVICES}"]
        and asked.index("daemon-reload") < asked.index("try-restart")
        and "chmod" not in asked,
        "it starts anew what runs, and leaves modes alone",
        asked,
    )
    asked = " ".join(invoked(run_script(directory, "prerm", "remove"), "stop"))
    units = ["openclaw-gateway.target", "openclaw-gateway-sweep.timer", SERVICES]
    missing = [unit for unit in [*units, "openclaw-gateway-http.socket"] if unit not in asked.split()]
    tap.equal(missing, [], "a removal stops all")


def main():
    for tool in ("dpkg-buildpackage", "dh", "fakeroot" if os.getuid() else "dpkg"):
        if shutil.which(tool) is None:
            skip_all(f"{tool} is not installed")
    tap = Tap()
    with tempfile.TemporaryDirectory(prefix="ocgp-") as directory:
        source = tarball(tap, directory)
        if not os.path.isdir(source):
            return tap.done()
        check_version(tap, source)
        check_source(tap, directory, source)
        jobs = f"-j{os.cpu_count()}"
        said = run("dpkg-buildpackage", "-us", "-uc", "-b", jobs, cwd=source, timeout=BUILD_TIMEOUT)
        tap.ok(said.returncode == 0, "dpkg-buildpackage", end_of(said.stdout))
        if said.returncode == 0:
            check_lintian(tap, directory)
            check_installed(tap, directory)
            check_life(tap, directory)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
