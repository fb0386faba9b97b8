#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""deploy/quickstart itself: start, start again, status, half a stack, a taken port, stop, delete."""

import contextlib
import os
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import tempfile

from cluster import free_tcp_port
from front import make_certificate
from stack import Stack, skip_without_stack, wait
from tap import Tap

SECRETS = ("ALICE_TOKEN", "BOB_TOKEN", "OPERATOR_TOKEN")
EXPECTED = SECRETS + (
    "GATEWAY_URL",
    "GATEWAY_WS_URL",
    "DATABASE_URL",
    "DIRECT_DATABASE_URL",
    "GATEWAYCTL",
)


def command_lines(text):
    """pid -> command line of every process that has text in it."""
    found = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                line = file.read().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line and int(entry) != os.getpid() and "janitor" not in line:
            found[int(entry)] = line
    return found


def alive(pid):
    """Not one whose parent has not heard yet that it is dead."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def all_pids(stack):
    return {name: (stack.pid(name), stack.supervisor(name)) for name in stack.SERVICES}


PLACE = ("PORT", "TLS_PORT", "TLS_CERTIFICATE", "TLS_KEY")


@contextlib.contextmanager
def told(stack, *unsaid, **said):
    """With other variables for deploy/quickstart than before, and without some."""
    kept = dict(stack._environment)
    for name in unsaid:
        del stack._environment[name]
    stack._environment.update(said)
    try:
        yield
    finally:
        stack._environment.clear()
        stack._environment.update(kept)


def speaks_tls(stack, certificate):
    """Whether the TLS port answers with this certificate; False where nobody listens."""
    context = ssl.create_default_context(cafile=certificate)
    try:
        with socket.create_connection(("127.0.0.1", int(stack._environment["TLS_PORT"])), 60) as raw:
            with context.wrap_socket(raw, server_hostname="localhost"):
                return True
    except ConnectionRefusedError:
        return False


def check_environment_file(tap, stack):
    path = os.path.join(stack.directory, "quickstart.env")
    tap.equal(stat.S_IMODE(os.stat(path).st_mode), 0o600, "quickstart.env is for its owner only")
    missing = [name for name in EXPECTED if not stack.env.get(name)]
    tap.equal(missing, [], "and has everything a client needs")
    tap.ok(os.path.isabs(stack.env["GATEWAYCTL"]), "GATEWAYCTL is an absolute path")
    with open(stack.env["GATEWAY_ENV"], encoding="utf-8") as file:
        lines = re.findall(r"^([A-Z_]+)=(.*)$", file.read(), re.M)
    script = '. "$GATEWAY_ENV"; ' + "; ".join(f'echo "${name}"' for name, _ in lines)
    read = subprocess.run(["sh", "-c", script], env=stack.env, capture_output=True, text=True, check=False)
    said = read.stdout.splitlines()
    tap.equal(said, [value.strip("'") for _, value in lines], "a shell reads gateway.env as the programs do")
    secrets = [stack.env[name] for name in SECRETS]
    secrets += [stack.env[n].split("@")[0].split(":")[-1] for n in EXPECTED if "DATABASE" in n]
    shown = [line for secret in secrets for line in command_lines(secret).values()]
    tap.equal(shown, [], "no token or password stands in an argument list")
    doctor = stack.ctl("doctor")
    tap.ok(doctor.returncode == 0, "gatewayctl doctor is content", doctor.stdout + doctor.stderr)
    tap.ok(f"pid {stack.pid('websocketd')}: --maxforks" in doctor.stdout, "and sees websocketd", doctor.stdout)
    tap.ok(re.search(r"^OK +relay +it answers", doctor.stdout, re.M), "and the relay answers it", doctor.stdout)


def check_roles(tap, stack):
    rights = stack.rows(
        "select rolsuper or rolcreatedb or rolcreaterole or rolbypassrls as strong,"
        " has_schema_privilege(rolname, 'openclaw', 'create') as ddl"
        " from pg_roles where rolname in ('openclaw_gateway', 'openclaw_sweeper')"
    )
    tap.equal(
        [(row["strong"], row["ddl"]) for row in rights],
        [("f", "f"), ("f", "f")],
        "the application's roles are weak and cannot change the schema",
    )
    tap.equal(stack.value("show fsync"), "on", "fsync is on")
    modes = {row["name"]: row for row in stack.admin("show databases")}
    pools = [int(modes[name]["max_connections"]) for name in ("openclaw", "openclaw_sweeper")]
    tap.ok(sum(pools) <= 20, "PgBouncer opens at most 20 server connections", str(pools))
    tap.ok(all(n > 0 for n in pools), "the sweeper has places of its own")
    configuration = {row["key"]: row["value"] for row in stack.admin("show config")}
    tap.equal(configuration["pool_mode"], "transaction", "in transaction mode")
    tap.ok(int(configuration["max_client_conn"]) >= 2000, "and takes 2000 clients")


def check_again(tap, stack):
    before = all_pids(stack)
    result = stack.quickstart("start", "--no-install")
    tap.equal(result.returncode, 0, "a second start succeeds")
    tap.ok("already" in result.stdout, "and says that everything runs already", result.stdout)
    tap.equal(all_pids(stack), before, "and touches nothing")
    tap.equal(stack.quickstart("status").returncode, 0, "status: all of it runs")


def check_half(tap, stack):
    tokens = dict(stack.tokens)
    keeper = stack.pid("keeper")
    stack.stop_service("keeper")
    for name in ("pgbouncer", "websocketd"):
        stack.stop_service(name)
    tap.equal(stack.quickstart("status").returncode, 1, "status: some of it runs")
    before = all_pids(stack)
    with told(stack, *PLACE):
        result = stack.quickstart("start", "--no-install", "--no-demo")
    tap.equal(result.returncode, 0, "start completes it on the port of before, if no other is asked for")
    stack.start()
    after = all_pids(stack)
    tap.ok(after["keeper"][0] not in (None, keeper), "start completes half a stack")
    tap.equal(after["postgres"], before["postgres"], "and leaves alone what runs")
    tap.equal(stack.tokens, tokens, "the tokens are still the same")
    tap.equal(stack.http("GET", "/readyz")[0], 200, "and it is ready")


def check_taken_port(tap):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        stack = Stack(environment={"PORT": str(port)}, start=False)
        result = stack.quickstart("start", "--no-install", "--no-demo")
        stack.close()
    tap.ok(result.returncode != 0, "a port in use is a failure")
    tap.ok(
        str(port) in result.stderr and "PORT=" in result.stderr,
        "which names the port and the option",
        result.stderr,
    )


def check_stop(tap, stack, certificate):
    groups = [pid for pair in all_pids(stack).values() for pid in pair]
    with stack.connect("bob"):
        result = stack.quickstart("stop")
    tap.equal(result.returncode, 0, "stop succeeds")

    def left():
        return [line for line in command_lines(stack.directory).values()]

    try:
        wait(lambda: not left(), "nothing is left", 3)
    except AssertionError:
        pass
    tap.equal(left(), [], "and leaves no process behind")
    tap.ok(not any(alive(pid) for pid in groups), "of any service")
    tap.equal(stack.quickstart("status").returncode, 3, "status: nothing runs")
    tap.equal(stack.quickstart("stop").returncode, 0, "stop twice is the same as once")
    tokens, url = dict(stack.tokens), stack.env["GATEWAY_URL"]
    with told(stack, *PLACE):
        stack.start()
    tap.equal(stack.env["GATEWAY_URL"], url, "start after stop listens where it did")
    tap.ok(speaks_tls(stack, certificate), "with TLS, too")
    with told(stack, TLS_PORT=""):
        result = stack.quickstart("start", "--no-install")
        tap.ok(result.returncode != 0 and "TLS_PORT" in result.stderr, "and is stopped first to be without", result)
    tap.equal(stack.tokens, tokens, "start after stop finds its agents again")
    status, _, _ = stack.http("POST", "/messages", {"to": "bob", "content": "x"}, tokens["alice"])
    tap.equal(status, 200, "and their tokens are good")
    stack.ctl("token", "revoke", "alice")
    stack.quickstart("stop")
    with told(stack, TLS_PORT=""):
        stack.start()
    tap.equal(stack.tokens["bob"], tokens["bob"], "start leaves a token that is good as it is")
    status, _, _ = stack.http("POST", "/messages", {"to": "bob", "content": "x"}, stack.tokens["alice"])
    tap.equal(status, 200, "and makes a new one for one that was revoked")
    tap.ok(not speaks_tls(stack, certificate), "TLS_PORT= is without TLS")
    with told(stack, *PLACE):
        stack.quickstart("stop")
        stack.start()
    tap.ok(not speaks_tls(stack, certificate), "and stays so")


def check_hosts(tap):
    """Where the gateway listens is said as an address, IPv6 with or without its brackets."""
    hosts = [("127.0.0.2", "127.0.0.2"), ("::1", "[::1]"), ("[::]", "[::]")]
    for host, said in hosts:
        if ":" in host and not has_ipv6():
            tap.skip(f"HOST={host}", "this machine has no IPv6")
            continue
        stack = Stack(environment={"HOST": host}, start=False)
        try:
            result = stack.quickstart("start", "--no-install")
            tap.ok(result.returncode == 0, f"HOST={host}: it starts, and shows its message", result.stdout + result.stderr)
            with open(os.path.join(stack.directory, "quickstart.env"), encoding="utf-8") as file:
                tap.ok(f"GATEWAY_URL=http://{said}:" in file.read(), f"HOST={host}: and says where it is")
            again = stack.quickstart("start", "--no-install")
            tap.ok("already" in again.stdout, f"HOST={host}: a second start finds it", again.stdout + again.stderr)
        finally:
            stack.close()


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
        return True
    except OSError:
        return False


def check_long_path(tap):
    parent = tempfile.mkdtemp(prefix="ocgs-")
    os.chmod(parent, 0o755)
    long_one = os.path.join(parent, "n" * 120)
    stack = Stack(environment={"VAR_DIR": long_one}, start=False)
    try:
        result = stack.quickstart("start", "--no-install", "--no-demo")
        tap.equal(result.returncode, 0, "it starts under a path longer than a socket's name")
        link = os.path.join(long_one, "runtime")
        target = os.path.islink(link) and os.readlink(link)
        tap.ok(target and len(target) < 60, "its sockets are in a short folder", str(target))
        gone = stack.quickstart("delete")
        tap.equal(gone.returncode, 0, "delete")
        tap.ok("build/" in gone.stdout and "packages" in gone.stdout, "says what is left", gone.stdout)
        tap.ok(not os.path.exists(target or "/"), "removes that one too")
        tap.ok(not os.path.exists(long_one), "and everything else")
    finally:
        stack.close()
        shutil.rmtree(parent, ignore_errors=True)


def check_space(tap):
    parent = tempfile.mkdtemp(prefix="ocgs-")
    os.chmod(parent, 0o755)
    stack = Stack(environment={"VAR_DIR": os.path.join(parent, "my clone", "var")}, start=False)
    try:
        # the demonstration is a client, and no browser
        os.makedirs(os.path.join(parent, "my clone", "var", "etc"))
        with open(os.path.join(parent, "my clone", "var", "etc", "gateway.local.env"), "w") as file:
            file.write("ALLOWED_ORIGINS=http://elsewhere\n")
        result = stack.quickstart("start", "--no-install")
        tap.ok(result.returncode == 0, "it starts under a path with a space, and shows its message", result)
        script = ". ./var/quickstart.env; $GATEWAYCTL agent list"
        shown = subprocess.run(
            ["sh", "-c", script],
            cwd=os.path.join(parent, "my clone"),
            capture_output=True,
            text=True,
            check=False,
        )
        tap.ok("alice" in shown.stdout, "a shell reads quickstart.env there", shown.stdout + shown.stderr)
        stack.quickstart("delete")
        tap.ok(not os.path.exists(os.path.join(parent, "my clone", "var")), "delete removes all of it")
    finally:
        stack.close()
        shutil.rmtree(parent, ignore_errors=True)


def check_unreachable(tap):
    if os.geteuid() != 0:
        tap.skip("a folder that the service users cannot enter", "only root has this problem")
        return
    parent = tempfile.mkdtemp(prefix="ocgs-")  # 0700
    hidden = os.path.join(parent, "var")
    stack = Stack(environment={"VAR_DIR": hidden}, start=False)
    try:
        result = stack.quickstart("start", "--no-install", "--no-demo")
        tap.equal(result.returncode, 0, "it starts in a folder that only root can enter")
        target = os.path.realpath(os.path.join(hidden, "state"))
        tap.ok("the data is in" in result.stdout, "and says where the data is", result.stdout)
        stack.quickstart("delete")
        tap.ok(not os.path.exists(target), "delete removes it")
    finally:
        stack.close()
        shutil.rmtree(parent, ignore_errors=True)


def main():
    skip_without_stack("openssl")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    tap = Tap()
    keys = tempfile.TemporaryDirectory(prefix="ocgf-")
    certificate, key = make_certificate(keys.name)
    tls = {"TLS_PORT": str(free_tcp_port()), "TLS_CERTIFICATE": certificate, "TLS_KEY": key}
    stack = Stack(environment=tls, start=False)
    tap.equal(stack.quickstart("status").returncode, 3, "status: nothing runs yet")
    tap.equal(stack.quickstart("--help").returncode, 0, "--help")
    tap.equal(stack.quickstart("nonsense").returncode, 64, "an unknown command is refused")
    with stack:
        stack.start()
        check_environment_file(tap, stack)
        check_roles(tap, stack)
        check_again(tap, stack)
        check_half(tap, stack)
        check_stop(tap, stack, certificate)
    check_taken_port(tap)
    check_hosts(tap)
    check_long_path(tap)
    check_space(tap)
    check_unreachable(tap)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
