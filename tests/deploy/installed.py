#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""`make install DESTDIR=`: what systemd, the web servers and PgBouncer say of what it has put there; and the
responder on a socket that systemd made."""

import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time

import fastcgi
from stack import wait
from tap import Tap

SOURCE = os.environ["abs_top_srcdir"]
BUILD = os.environ["abs_top_builddir"]
EXPOSURE_MAX = 25  # systemd-analyze's 2.5
TIMEOUT = 120


def made_for(name):
    """Where this build is to be installed."""
    text = read(BUILD, "Makefile")
    value = re.search(rf"^{name} = (.*)$", text, re.M).group(1)
    return value.replace("${prefix}", made_for("prefix") if "$" in value else "").lstrip("/")


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read()


USR, ETC = made_for("prefix"), made_for("sysconfdir")
EXPECTED = (
    """
@etc@/fail2ban/filter.d/openclaw-gateway.conf
@usr@/bin/gatewayctl
@usr@/libexec/openclaw-gateway-session
@usr@/lib/systemd/system/openclaw-gateway.target
@usr@/lib/systemd/system/openclaw-gateway-http.service
@usr@/lib/systemd/system/openclaw-gateway-http.socket
@usr@/lib/systemd/system/openclaw-gateway-migrate.service
@usr@/lib/systemd/system/openclaw-gateway-relay.service
@usr@/lib/systemd/system/openclaw-gateway-sweeper.service
@usr@/lib/systemd/system/openclaw-gateway-sweep.service
@usr@/lib/systemd/system/openclaw-gateway-sweep.timer
@usr@/lib/systemd/system/openclaw-gateway-websocketd.service
@usr@/lib/sysusers.d/openclaw-gateway.conf
@usr@/lib/tmpfiles.d/openclaw-gateway.conf
@usr@/sbin/openclaw-gateway-http
@usr@/sbin/openclaw-gateway-relay
@usr@/sbin/openclaw-gateway-sweeper
@usr@/share/doc/openclaw-gateway/examples/apache.conf
@usr@/share/doc/openclaw-gateway/examples/cgi-apache.conf
@usr@/share/doc/openclaw-gateway/examples/cgi-lighttpd.conf
@usr@/share/doc/openclaw-gateway/examples/cron
@usr@/share/doc/openclaw-gateway/examples/fail2ban-jail.conf
@usr@/share/doc/openclaw-gateway/examples/gateway.env
@usr@/share/doc/openclaw-gateway/examples/lighttpd.conf
@usr@/share/doc/openclaw-gateway/examples/nginx.conf
@usr@/share/doc/openclaw-gateway/examples/openclaw-gateway.json
@usr@/share/doc/openclaw-gateway/examples/openclaw-gateway.rules.yml
@usr@/share/doc/openclaw-gateway/examples/pgbouncer.ini
@usr@/share/doc/openclaw-gateway/examples/roles.sql
@usr@/share/doc/openclaw-gateway/migration/0001_dbos_system_123.sql
@usr@/share/man/man5/gateway.env.5
@usr@/share/man/man7/openclaw-gateway.7
@usr@/share/man/man8/gatewayctl.8
@usr@/share/man/man8/openclaw-gateway-http.8
@usr@/share/man/man8/openclaw-gateway-relay.8
@usr@/share/openclaw-gateway/problem/503.html
""".replace(
        "@usr@", USR
    )
    .replace("@etc@", ETC)
    .split()
)


def run(*command, **more):
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=TIMEOUT, **more
    )


def install(root):
    environment = {
        n: v for n, v in os.environ.items() if not n.startswith("MAKE") and n != "MFLAGS"
    }
    return run("make", "-s", "-C", BUILD, "install", f"DESTDIR={root}", env=environment)


def files(root):
    found = []
    for place, _, names in os.walk(root):
        found += [os.path.relpath(os.path.join(place, name), root) for name in names]
    return found


def check_files(tap, root):
    there = files(root)
    tap.equal([name for name in EXPECTED if name not in there], [], "everything is in its place")
    left = [
        name
        for name in there
        if re.search(
            r"@[A-Za-z_]+@", read(root, name) if "/bin/" not in name and is_text(root, name) else ""
        )
        and "docs/" not in name
    ]
    tap.equal(left, [], "no placeholder is left in it")
    tap.ok(
        not any(
            BUILD in read(root, name) or SOURCE in read(root, name)
            for name in there
            if is_text(root, name)
        ),
        "and no path of the machine it was built on",
    )


def is_text(root, name):
    with open(os.path.join(root, name), "rb") as file:
        return b"\0" not in file.read(4096)


# ---- systemd --------------------------------------------------------------------------------------


def units(root, ending):
    place = os.path.join(root, f"{USR}/lib/systemd/system")
    return sorted(os.path.join(place, n) for n in os.listdir(place) if n.endswith(ending))


def check_exposure(tap, root):
    if shutil.which("systemd-analyze") is None:
        tap.skip("the units' exposure", "systemd-analyze is not installed")
        return
    if "--offline" not in run("systemd-analyze", "--help").stdout:
        tap.skip("the units' exposure", "this systemd-analyze knows no --offline")
        return
    for unit in units(root, ".service"):
        said = run(
            "systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_MAX}", unit
        )
        level = said.stdout.strip().splitlines()[-1:] or [said.stderr]
        tap.ok(said.returncode == 0, level[0].strip("→ \n"), said.stdout + said.stderr)


def check_verified(tap, root):
    if shutil.which("systemd-analyze") is None:
        tap.skip("the units verified", "systemd-analyze is not installed")
        return
    system = next(
        (p for p in ("/usr/lib/systemd/system", "/lib/systemd/system") if os.path.isdir(p)), ""
    )
    # where systemd looks first, whatever the prefix of this build
    ours = os.path.join(root, "etc/systemd/system")
    shutil.copytree(os.path.join(root, f"{USR}/lib/systemd/system"), ours)
    for name in (
        "sysinit.target",
        "basic.target",
        "sockets.target",
        "timers.target",
        "shutdown.target",
    ):
        if not os.path.exists(os.path.join(ours, name)):
            shutil.copy(os.path.join(system, name), ours)
    for name in ("usr/bin/websocketd", "bin/sh"):
        path = os.path.join(root, name)
        if not os.path.exists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            shutil.copy("/bin/true", path)
    checked = [
        os.path.join(ours, name)
        for name in sorted(os.listdir(ours))
        if name.startswith("openclaw") and not name.endswith(".target")
    ]
    said = run("systemd-analyze", "verify", "--man=no", f"--root={root}", *checked)
    faults = [
        line
        for line in (said.stdout + said.stderr).splitlines()
        # of the host's own targets, which are not all here
        if "openclaw" in line and "not found" not in line
    ]
    tap.equal(faults, [], "systemd-analyze verify finds nothing")
    broken = os.path.join(ours, "openclaw-gateway-http.service")
    text = read(broken)
    with open(broken, "w", encoding="utf-8") as file:
        file.write(text.replace("NoNewPrivileges=", "NoNewPrivilege="))
    said = run("systemd-analyze", "verify", "--man=no", f"--root={root}", broken)
    tap.ok("NoNewPrivilege" in said.stderr, "and would find something", said.stderr)


def check_users(tap, root):
    if shutil.which("systemd-sysusers") is None:
        tap.skip("the service's user is made", "systemd-sysusers is not installed")
        return
    os.makedirs(os.path.join(root, "etc"), exist_ok=True)
    said = run(
        "systemd-sysusers", f"--root={root}", f"{root}/{USR}/lib/sysusers.d/openclaw-gateway.conf"
    )
    tap.ok(
        re.search(
            r"^openclaw-gateway:.*:/nonexistent:/usr/sbin/nologin$", read(root, "etc/passwd"), re.M
        ),
        "systemd-sysusers makes the service's user",
        said.stderr,
    )


def setting(path, section, name):
    """The value in a unit; None: it is not set."""
    current, value = "", None
    for line in read(path).splitlines():
        if line.startswith("["):
            current = line.strip("[]")
        elif current == section and line.startswith(f"{name}="):
            value = line.partition("=")[2]
    return value


def check_restarts(tap, root):
    """Whatever is killed comes back, however often; so does a schema whose database was not there yet."""
    kept = ("http", "websocketd", "sweeper", "relay", "migrate")
    for path in units(root, ".service"):
        name = os.path.basename(path).removeprefix("openclaw-gateway-").removesuffix(".service")
        if name in kept:
            tap.equal(
                (setting(path, "Service", "Restart"), setting(path, "Unit", "StartLimitIntervalSec")),
                ("on-failure" if name == "migrate" else "always", "0"),
                f"{os.path.basename(path)} is started again without end",
            )
    (path,) = units(root, ".socket")
    tap.equal(setting(path, "Socket", "TriggerLimitIntervalSec"), "0", "and its socket stays open")


class Activated:
    """The unit's responder, on a socket that systemd-socket-activate made, with nothing but what the unit
    gives it."""

    def __init__(self, root, directory):
        unit = read(root, f"{USR}/lib/systemd/system/openclaw-gateway-http.service")
        command = re.search(r"^ExecStart=(.*)$", unit, re.M).group(1).split()
        self.path = os.path.join(directory, "http.sock")
        self.log = open(os.path.join(directory, "log"), "w+", encoding="utf-8")
        settings = {
            "GATEWAY_ENV": "/dev/null",
            "RUNTIME_DIR": os.path.join(directory, "run"),
            "HTTP_SOCKET": os.path.join(directory, "not-this-one.sock"),
            "DATABASE_URL": "postgresql://nobody@/nowhere?host=/nonexistent",
        }
        self.process = subprocess.Popen(
            ["systemd-socket-activate", "-l", self.path]
            + [f"-E{name}={value}" for name, value in settings.items()]
            + [root + command[0], *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )
        wait(lambda: os.path.exists(self.path), "the socket is there")


def check_activation(tap, root):
    if shutil.which("systemd-socket-activate") is None:
        tap.skip(
            "the responder is activated by its socket", "systemd-socket-activate is not installed"
        )
        return
    with tempfile.TemporaryDirectory(prefix="ocga-") as directory:
        service = Activated(root, directory)
        answer = fastcgi.request(service.path, "GET", "/healthz", timeout=TIMEOUT)
        tap.equal(answer.status, 200, "the first request starts the responder and is answered")
        tap.ok(
            not os.path.exists(os.path.join(directory, "not-this-one.sock")), "on no other socket"
        )
        # without its database it says so, and lives
        answer = fastcgi.request(service.path, "GET", "/readyz", timeout=TIMEOUT)
        tap.equal(answer.status, 503, "it is not ready without a database")
        service.process.send_signal(signal.SIGTERM)
        tap.equal(service.process.wait(TIMEOUT), 0, "SIGTERM ends it well")
        tap.ok(os.path.exists(service.path), "and the socket is left to who made it")
        service.log.close()


# ---- the relay ------------------------------------------------------------------------------------


class Notified:
    """What a program says to systemd."""

    def __init__(self, directory):
        self.path = os.path.join(directory, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(TIMEOUT)

    def until(self, word):
        heard = []
        while word not in heard:
            heard += self.socket.recv(4096).decode().splitlines()
        return heard


def check_relay(tap, root):
    """The relay as its unit starts it: what systemd waits for, and what it has to have room for."""
    unit = os.path.join(root, f"{USR}/lib/systemd/system/openclaw-gateway-relay.service")
    constants = {
        name: int(value)
        for file in ("relay.h", "main.c")
        for name, value in re.findall(
            r"^#define (\w+) +(\d+)\b", read(SOURCE, "src/relay", file), re.M
        )
    }
    tap.ok(
        int(setting(unit, "Service", "LimitNOFILE")) > constants["CLIENTS_MAX"] + 100,
        "the relay's unit has descriptors for all its clients",
    )
    tap.ok(
        int(setting(unit, "Service", "WatchdogSec")) * 1000 >= 3 * constants["BEAT_MS"],
        "and a watchdog that misses two beats before it bites",
    )
    tap.ok(
        int(setting(unit, "Service", "TimeoutStopSec")) * 1000 >= 2 * constants["STOP_GRACE_MS"],
        "and lets it answer what is on the way",
    )
    with tempfile.TemporaryDirectory(prefix="ocgr-") as directory:
        notified = Notified(directory)
        log = open(os.path.join(directory, "log"), "w+", encoding="utf-8")
        process = subprocess.Popen(
            [root + setting(unit, "Service", "ExecStart")],
            env={
                "PATH": os.environ["PATH"],
                "GATEWAY_ENV": "/dev/null",
                "RUNTIME_DIR": os.path.join(directory, "run"),
                "DATABASE_URL": "postgresql://nobody@/nowhere?host=/nonexistent",
                "NOTIFY_SOCKET": notified.path,
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            notified.until("READY=1")
            place = os.path.join(directory, "run", "relay.sock")
            tap.equal(
                stat.S_IMODE(os.stat(place).st_mode),
                0o600,
                "when it says that it is ready, its socket is there, for its user only",
            )
            notified.until("WATCHDOG=1")
            process.send_signal(signal.SIGTERM)
            notified.until("STOPPING=1")
            tap.equal(process.wait(TIMEOUT), 0, "it says that it lives, and SIGTERM ends it well")
            tap.ok(not os.path.exists(place), "and its socket is gone")
        finally:
            process.kill()
            log.close()


# ---- the user and the passwords -------------------------------------------------------------------


def check_passwords(tap, root, examples):
    """Who has the configuration has the passwords: also who is no unit."""
    name = "/etc/openclaw-gateway/pgpass"
    text = read(examples, "gateway.env")
    services = [read(unit) for unit in units(root, ".service")]
    tap.ok(
        all(f"LoadCredential=pgpass:/{ETC}/openclaw-gateway/pgpass" in unit for unit in services)
        and f"PGPASSFILE={name}\n" in text,
        "the units and gateway.env name the same file of passwords",
    )
    with tempfile.TemporaryDirectory(prefix="ocgi-") as directory:
        passwords, settings = (os.path.join(directory, n) for n in ("pgpass", "gateway.env"))
        with open(passwords, "w", encoding="ascii") as file:
            file.write("*:*:*:*:secret\n")
        os.chmod(passwords, 0o644)  # so that libpq says that it has seen it
        with open(settings, "w", encoding="utf-8") as file:
            file.write(re.sub("host=[^&]*", "host=/nonexistent", text).replace(name, passwords))
        said = run(
            os.path.join(root, USR, "bin/gatewayctl"),
            "--config",
            settings,
            "agent",
            "list",
            env={"PATH": os.environ["PATH"]},
        )
        tap.ok(passwords in said.stderr, "gatewayctl takes the passwords from there", said.stderr)


def check_cgi_user(tap, root):
    """The CGI program shares files with the others, so it has their user; and its folders are made."""
    folders = read(root, f"{USR}/lib/tmpfiles.d/openclaw-gateway.conf")
    for name, pattern in (("lighttpd", 'server.username = "(.*)"'), ("apache", "^User (.*)$")):
        text = read(root, f"{USR}/share/doc/openclaw-gateway/examples/cgi-{name}.conf")
        tap.equal(
            re.findall(pattern, text, re.M), ["openclaw-gateway"], f"cgi-{name}.conf: whose it is"
        )
        used = set(re.findall(r"/var/lib/openclaw-gateway/\w+(?:/\w+)?", text))
        used = {path for path in used if not path.endswith(("/apache", "/error"))}  # files
        made = re.findall(r"^d (\S+) 0750 openclaw-gateway", folders, re.M)
        tap.ok(used and used <= set(made), f"cgi-{name}.conf: its folders are made", sorted(used))


# ---- other packages' configuration ----------------------------------------------------------------


def check_examples(tap, root):
    """As they stand, but for the folders of the machine."""
    examples = os.path.join(root, f"{USR}/share/doc/openclaw-gateway/examples")
    front = os.path.join(root, "front")
    for name in ("empty", "tmp"):
        os.makedirs(os.path.join(front, name), exist_ok=True)
    gateway = os.path.join(root, f"{USR}/sbin/openclaw-gateway-http")
    for name, program, arguments in (
        ("lighttpd.conf", "lighttpd", ["-tt", "-f"]),
        ("apache.conf", "apache2", ["-t", "-f"]),
        ("nginx.conf", "nginx", ["-e", "stderr", "-t", "-c"]),
        ("cgi-lighttpd.conf", "lighttpd", ["-tt", "-f"]),
        ("cgi-apache.conf", "apache2", ["-t", "-f"]),
    ):
        path = next(
            (p for p in (f"/usr/sbin/{program}", shutil.which(program)) if p and os.path.exists(p)),
            None,
        )
        if path is None:
            tap.skip(name, f"{program} is not installed")
            continue
        try:
            pwd.getpwnam("www-data")
        except KeyError:
            tap.skip(name, "there is no user www-data here")
            continue
        text = read(examples, name)
        text = re.sub("/var/lib/openclaw-gateway/(front|cgi)", front, text)
        text = re.sub('((?:User|Group|name =) "?)openclaw-gateway', r"\1www-data", text)  # one that is here
        text = text.replace(f"/{USR}/sbin/openclaw-gateway-http", gateway)
        text = text.replace(
            f"/{USR}/share/openclaw-gateway", os.path.join(root, USR, "share/openclaw-gateway")
        )
        copy = os.path.join(root, name)
        with open(copy, "w", encoding="utf-8") as file:
            file.write(text)
        said = run(path, *arguments, copy)
        tap.ok(said.returncode == 0, f"{program} takes {name}", said.stdout + said.stderr)
    check_passwords(tap, root, examples)
    said = run(
        os.path.join(root, USR, "bin/gatewayctl"),
        "--config",
        os.path.join(examples, "gateway.env"),
        "--check-config",
        env={"PATH": os.environ["PATH"]},
    )
    tap.equal(said.returncode, 0, "gatewayctl takes gateway.env")
    sample = os.path.join(examples, "gateway.env")
    said = run("sh", "-c", '. "$0"; echo "$DATABASE_URL"', sample, env={"PATH": os.environ["PATH"]})
    tap.ok(said.stdout.rstrip().endswith("&port=6432"), "and a shell reads it so, too", said.stdout)
    pooler = read(examples, "pgbouncer.ini")
    sizes = [int(n) for n in re.findall(r"^openclaw\S* = .*pool_size=(\d+)", pooler, re.M)]
    tap.ok(
        len(sizes) == 2 and sum(sizes) < 20 and "pool_mode = transaction" in pooler,
        "PgBouncer: transaction pooling, places for the gateway and for the sweeper, and one of 20 left",
        sizes,
    )


def check_cron(tap, root):
    cron = read(root, f"{USR}/share/doc/openclaw-gateway/examples/cron")
    fields = cron.strip().splitlines()[-1].split(None, 6)
    tap.equal(
        (fields[:6], fields[6].split()[3:5]),
        (["*"] * 5 + ["openclaw-gateway"], ["openclaw-gateway-sweeper", "--once"]),
        "the cron line: a sweep every minute, as the service's user",
    )
    with tempfile.TemporaryDirectory(prefix="ocgi-") as directory:
        for name, text in {
            "openclaw-gateway-sweeper": 'echo swept; echo "$1 $DATABASE_URL: a fault" >&2',
            "logger": f'echo "logger $*" >{directory}/logged; cat >>{directory}/logged',
        }.items():
            with open(os.path.join(directory, name), "w", encoding="ascii") as file:
                file.write(f"#!/bin/sh\n{text}\n")
            os.chmod(os.path.join(directory, name), 0o755)
        command = fields[6].replace("/run/openclaw-gateway", directory)
        settings = dict(re.findall(r"^([A-Z_]+)=(.*)$", cron, re.M))
        settings["PATH"] = f"{directory}:{os.environ['PATH']}"
        said = run("sh", "-c", command, env=settings)
        tap.equal((said.returncode, said.stdout, said.stderr), (0, "", ""), "it sends no mail")
        tap.ok(
            re.fullmatch(
                "logger -t openclaw-gateway-sweeper\n--once postgresql://openclaw_sweeper@/openclaw_sweeper"
                r".*: a fault\n",
                read(directory, "logged"),
            ),
            "what goes wrong is logged, and it has the sweeper's places in the pooler",
            read(directory, "logged"),
        )


def main():
    tap = Tap()
    with tempfile.TemporaryDirectory(prefix="ocgi-") as root:
        os.chmod(root, 0o755)
        began = time.monotonic()
        said = install(root)
        tap.equal((said.returncode, said.stderr), (0, ""), "make install DESTDIR=")
        print(f"# in {time.monotonic() - began:.0f} s", flush=True)
        check_files(tap, root)
        check_exposure(tap, root)
        check_verified(tap, root)
        check_users(tap, root)
        check_restarts(tap, root)
        check_activation(tap, root)
        check_relay(tap, root)
        check_examples(tap, root)
        check_cgi_user(tap, root)
        check_cron(tap, root)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
