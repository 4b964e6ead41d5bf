#!/usr/bin/env python3
"""What a container and a virtual machine do alike beside the verbs of verbs_test.py: consoles, signals, restart policies, limits that change
while they run.
By the command line, by the API and by the command line over the API.
Usage: kinds_test.py NAGAYA GUESTS STATE [PART…]
As verbs_test.py; PARTs are names of functions."""
import json
import os
import sys
import time

from both_kinds import OK, STATUS, WRONG, Visitor, on_server


def live_limits(host, check):
    """Limits of a machine that runs: in the guest, in its process's cgroup, in its definition; and what needs a new start."""
    name = f"verbs-l-{os.getpid()}"
    status, said = host.call("POST", "/domains?start=true", {
        "name": name, "image": host.image, "kind": "vm", "networks": ["none"], "limits": {"memory": 256 << 20, "cpus": 2}, "user": "root",
        "hardware": {"balloon": {"deflateOnOom": False}}, "entrypoint": ["/bin/sh"], "command": ["-c", "while :; do sleep 1; done"]})
    check(status == 200, f"a machine of two processors: {said}")
    host.ready(name)

    def total():
        script = "while read a b c; do [ $a != MemTotal: ] || echo $b; done </proc/meminfo"
        return int(host.say("exec", name, "/bin/sh", "-c", script).stdout) >> 10

    def group(*files):
        """The first of these files that its cgroup has."""
        monitor = open(f"{host.folder.name}/run/vm/{name}/pid").read().strip()
        process = open(f"/proc/{monitor}/task/{monitor}/children").read().split()[-1]
        for line in open(f"/proc/{process}/cgroup"):
            _, controllers, path = line.strip().split(":", 2)
            for file in files:
                for where in (f"/sys/fs/cgroup/{controllers}{path}/{file}", f"/sys/fs/cgroup{path}/{file}"):
                    if os.path.exists(where):
                        return open(where).read().split()[0]
        return None

    def until(what, told):
        deadline = time.monotonic() + 30
        while not what() and time.monotonic() < deadline:
            time.sleep(0.2)
        check(what(), told)

    remote = ("--host", "unix://" + host.socket)
    full, bounded = total(), int(group("memory.limit_in_bytes", "memory.max"))
    for where in ((), remote):
        check(host.say(*where, "update", "-m", "160M", "-c", "0.5", "--cpu-shares", "300", "--cpuset-cpus", "0", name).returncode == 0, f"less {where}")
        until(lambda: total() < full - 80, f"the guest has less: {full}, {total()}")
        check(group("cpu.cfs_quota_us", "cpu.max") == "50000", f"quota {group('cpu.cfs_quota_us', 'cpu.max')}")
        check(group("cpuset.cpus") == "0", "pinned")
        check(int(group("memory.limit_in_bytes", "memory.max")) < bounded - (90 << 20), "its process may have less")
        limits = host.call("GET", f"/domains/{name}")[1]["definition"]["limits"]
        check(limits["memory"] == 160 << 20 and limits["cpus"] == 0.5 and limits["cpuset"] == "0", f"kept: {limits}")
        for words in (("-m", "257M"), ("-c", "3"), ("-c", "2.5")):
            done = host.say(*where, "update", *words, name)
            check(done.returncode == 125 and "started anew" in done.stderr, f"{where} {words}: {done.stderr}")
        check(host.call("GET", f"/domains/{name}")[1]["definition"]["limits"] == limits, "what was refused is not kept")
        check(host.say(*where, "update", "-m", "256M", "-c", "2", name).returncode == 0, f"as it was {where}")
        until(lambda: total() == full, f"the guest has all again: {full}, {total()}")
        check(group("cpu.cfs_quota_us", "cpu.max") in ("-1", "max"), "no quota")
        check(int(group("memory.limit_in_bytes", "memory.max")) == bounded, "its process may have all again")
    check(host.call("PATCH", f"/domains/{name}", {"limits": {"memory": 512 << 20}})[0] == 409, "a conflict")
    check(host.say("update", "-m", "160M", name).returncode == 0 and host.say("restart", "-t", "0", name).returncode == 0, "started anew")
    host.ready(name)
    check(full - 110 < total() < full - 80, f"what was said is what it is started with: {total()}")
    check(host.say("rm", "-f", name).returncode == 0, "removed")
    print("live limits of a machine: done", flush=True)


def consoles(host, check):
    """Somebody types at a console of either kind, each way; two do so at once; it ends with the domain; one without a console says so."""
    ways, script = ("command", "request", "host"), 'echo begun; while read l; do [ "$l" != end ] || exit 3; echo "<$l>"; done'
    for kind in ("container", "vm"):
        name = f"verbs-c-{kind}-{os.getpid()}"
        document = {"name": name, "image": host.image, "kind": kind, "networks": ["none"], "limits": {"memory": 128 << 20}, "user": "root",
                    "entrypoint": ["/bin/sh"], "command": ["-c", script]}
        if kind == "container":
            document["interactive"] = True
        status, said = host.call("POST", "/domains", document)
        check(status == 200, f"{said}")
        check(host.call("GET", f"/domains/{name}/console")[0] in (400, 409, 426), "no console of what does not run")
        for way in ways:
            check(host.say("start", "-d", "-q", name).returncode == 0, "start")
            host.ready(name)
            visitor, other = Visitor(host, way, name), Visitor(host, "request", name)
            visitor.type(f"by {way}\n".encode())
            for one, told in ((visitor, "typist"), (other, "other")):
                check(one.sees(f"<by {way}>".encode()), f"the {told} sees what was typed at {kind} by {way}: {one.text}")
            other.type(b"by other\n")
            check(visitor.sees(b"<by other>"), f"each sees the other's, {kind} by {way}")
            other.leave()
            visitor.type(b"end\n")
            code = visitor.ended()
            check(code == 3, f"the end of {kind} by {way} is told: {code}")
            check(host.call("GET", f"/domains/{name}/wait?timeout=20")[1] == {"ended": True, "exitCode": 3}, f"ended: {kind} by {way}")
        if kind == "vm":
            check(host.say("start", "-d", "-q", name).returncode == 0, "start")
            host.ready(name)
            visitor = Visitor(host, "command", name, terminal=True)
            check(visitor.sees(b"begun\r\n") and b"\r\r" not in visitor.text, f"who comes sees what was written: {visitor.text}")
            visitor.type(b"at a terminal\n")
            check(visitor.sees(b"<at a terminal>"), f"a terminal: {visitor.text}")
            check(visitor.leave() == 0, "Ctrl-] leaves")
            check(host.say("exec", name, "/bin/true").returncode == 0, "it goes on")
            check(host.say("logs", "--tail", "1", name).stdout.strip() == "<at a terminal>", "the last line of its log")
        check(host.say("rm", "-f", name).returncode == 0, "removed")
        print(f"console of {kind}: done", flush=True)
    status, said = host.call("POST", "/domains?start=true", {"name": name, "image": host.image, "kind": "vm", "networks": ["none"], "user": "root",
                                                            "hardware": {"serial": [{"type": "null"}]}, "entrypoint": ["/bin/sh"], "command": ["-c", "read a"]})
    check(status == 200, f"{said}")
    done = host.say("attach", name)
    check(done.returncode == 125 and "cannot be reached" in done.stderr, f"no console: {done.stderr}")
    check(host.say("rm", "-f", name).returncode == 0, "removed")


# Signal: what becomes of a container and of a machine whose program answers TERM and INT with its end by code 5. A number: it ends so.
SIGNALS = [
    ("KILL", 137, 137),
    ("sigkill", 137, 137),
    ("9", 137, 137),
    ("TERM", 5, 5),
    ("SIGINT", 5, 5),
    ("15", 5, 5),
    ("HUP", 129, WRONG),
    ("USR1", 138, WRONG),
    ("CONT", OK, WRONG),
    ("RTMIN+3", 165, WRONG),
    ("NOSIGNAL", WRONG, WRONG),
    ("99", WRONG, WRONG),
]


def signals(host, check):
    """kill by other signals."""
    remote = ("--host", "unix://" + host.socket)
    for column, kind in ((1, "container"), (2, "vm")):
        name = f"verbs-s-{kind}-{os.getpid()}"
        status, said = host.call("POST", "/domains", {
            "name": name, "image": host.image, "kind": kind, "networks": ["none"], "limits": {"memory": 128 << 20}, "user": "root",
            "entrypoint": ["/bin/sh"], "command": ["-c", "trap 'exit 5' TERM INT; while :; do sleep 0.1; done"]})
        check(status == 200, f"{said}")
        for number, row in enumerate(SIGNALS):
            signal_name, wanted = row[0], row[column]
            # The ways take turns: each end costs a machine's start.
            way = ("command", "request", "host")[number % 3]
            if host.call("GET", f"/domains/{name}")[1]["state"] != "running":
                check(host.say("start", "-d", "-q", name).returncode == 0, "start")
                host.ready(name)
            if way == "request":
                got = STATUS.get(host.call("POST", f"/domains/{name}/kill", {"signal": signal_name})[0])
            else:
                done = host.say(*(remote if way == "host" else ()), "kill", "-s", signal_name, name)
                got = OK if done.returncode == 0 else WRONG
            check(got == (WRONG if wanted == WRONG else OK), f"kill -s {signal_name} of a {kind} by {way}: {got}")
            if isinstance(wanted, int):
                ended = host.call("GET", f"/domains/{name}/wait?timeout=30")[1]
                check(ended == {"ended": True, "exitCode": wanted}, f"the end of a {kind} by {signal_name}: {ended}")
            else:
                check(host.say("exec", name, "/bin/true").returncode == 0, f"a {kind} goes on after {signal_name}")
        check(host.say("rm", "-f", name).returncode == 0, "removed")
        print(f"signals to a {kind}: done", flush=True)


def restarts(host, check):
    """Restart policies of both kinds: on crash, end by itself, kill and stop; changed while it runs; and with the host."""
    remote = ("--host", "unix://" + host.socket)

    def begun(name):
        return host.say("logs", name).stdout.count("begun")

    def until(what, told):
        deadline = time.monotonic() + 90
        while not what() and time.monotonic() < deadline:
            time.sleep(0.2)
        check(what(), told)

    def state(name):
        return host.call("GET", f"/domains/{name}")[1]["state"]

    for kind in ("container", "vm"):
        names = {what: f"verbs-p-{what}-{kind}-{os.getpid()}" for what in ("failing", "ending", "always", "unless", "plain")}
        scripts = {"failing": "echo begun; exit 3", "ending": "echo begun; exit 0"}

        def make(where, what, *options):
            done = host.say(*where, "run", "-d", *(("--container",) if kind == "container" else ("-m", "128M", "-q")), "--name", names[what], "--network", "none",
                            "-u", "root", *options, "--entrypoint", "/bin/sh", host.image, "-c", scripts.get(what, "trap 'exit 0' TERM; echo begun; while :; do sleep 0.2; done"))
            check(done.returncode == 0, f"run {what}: {done.stderr}")

        make((), "failing", "--restart", "on-failure:2")
        make(remote, "ending", "--restart", "on-failure")
        for what, code in (("failing", 3), ("ending", 0)):
            until(lambda: state(names[what]) == "stopped", f"{kind} {what} has ended")
            check(host.call("GET", f"/domains/{names[what]}")[1]["exitCode"] == code, f"exit code of {kind} {what}")
        check(begun(names["failing"]) == 3, f"a {kind} is started twice more: {begun(names['failing'])}")
        check(begun(names["ending"]) == 1, f"a {kind} that ends well is not started again: {begun(names['ending'])}")
        shown = host.call("GET", f"/domains/{names['failing']}")[1]
        check(shown.get("restart") == {"policy": "on-failure", "retries": 2}, f"the policy is shown: {shown.get('restart')}")

        make(remote, "always", "--restart", "always")
        make((), "unless", "--restart", "unless-stopped")
        make((), "plain")
        for what in ("always", "unless", "plain"):
            host.ready(names[what])
        # By force, and by its own end.
        for what, signal_name in (("always", "KILL"), ("unless", "TERM")):
            check(host.say("kill", "-s", signal_name, names[what]).returncode == 0, "kill")
            until(lambda: begun(names[what]) == 2, f"a {kind} is started again after {signal_name}")
            host.ready(names[what])
        check(host.call("GET", f"/domains/{names['always']}")[1]["restarts"] == 1, "how often")
        for where, what in (((), "unless"), (remote, "always")):
            check(host.say(*where, "stop", "-t", "5", names[what]).returncode == 0 and state(names[what]) == "stopped", f"a {kind} that was stopped stays so")
        started = host.say("start", "--autostart").stdout.split()
        check(started.count(names["always"]) == 1 and names["unless"] not in started and names["plain"] not in started, f"with the host: {started}")
        host.ready(names["always"])
        check(host.say("start", "-d", "-q", names["unless"]).returncode == 0, "start")
        host.ready(names["unless"])
        # All processes gone at once, as when the power fails.
        for what in ("always", "unless", "plain"):
            place = f"{host.folder.name}/run/{'vm' if kind == 'vm' else 'ct'}/{names[what]}"
            host.end_at_once(names[what], kind, place)
            until(lambda: state(names[what]) != "running", f"{what} is gone")
        started = host.say("start", "--autostart").stdout.split()
        check({names["always"], names["unless"]} <= set(started) and names["plain"] not in started, f"with the host: {started}")
        host.ready(names["always"])
        for where, what in (((), "always"), (remote, "unless")):
            check(host.say(*where, "update", "--restart", "no", names[what]).returncode == 0, "update --restart")
        if kind == "vm":  # a container's policy changes with its next start
            check(host.say("kill", names["always"]).returncode == 0, "kill")
            until(lambda: state(names["always"]) == "stopped", "it stays away")
        check(host.call("PATCH", f"/domains/{names['plain']}", {"autostart": True})[0] == 200, "autostart")
        for what in ("always", "unless"):
            host.say("stop", "-t", "0", names[what])
        check(names["plain"] in host.say("start", "--autostart").stdout.split(), "what is marked starts with the host")
        check(host.say("rm", "-f", *names.values()).returncode == 0, "removed")
        print(f"restart policies of a {kind}: done", flush=True)
    done = host.say("run", "-d", "--rm", "--restart", "always", "-m", "128M", host.image)
    check(done.returncode == 125 and "--rm and --restart" in done.stderr, f"refused: {done.stderr}")


def runs_on_server(host, check):
    """run over a server: in the foreground with output and exit code, and gone afterwards."""
    remote = ("--host", "unix://" + host.socket)
    for kind in ("container", "vm"):
        name = f"verbs-r-{kind}-{os.getpid()}"
        done = host.say(*remote, "run", "--rm", *(("--container",) if kind == "container" else ("-m", "128M")), "--name", name, "--network", "none", "-u", "root",
                        "--entrypoint", "/bin/sh", host.image, "-c", "echo out of it; exit 4")
        check(done.returncode == 4 and "out of it" in done.stdout, f"run of {kind}: {done.returncode} {done.stdout} {done.stderr}")
        check(host.call("GET", f"/domains/{name}")[0] == 404, f"{kind} is gone")
        done = host.say(*remote, "run", "-d", *(("--container",) if kind == "container" else ("-m", "128M")), "--name", name, "--network", "none", "-u", "root",
                        "--entrypoint", "/bin/sh", host.image, "-c", "while :; do sleep 1; done")
        check(done.returncode == 0 and done.stdout.strip() == name, f"run -d of {kind}: {done.stdout} {done.stderr}")
        host.ready(name)
        check(host.say(*remote, "rm", "-f", name).returncode == 0, "removed")
        print(f"run of {kind} on a server: done", flush=True)


def objects(host, check):
    """Networks and images here and on the server, by the same words."""
    for where in ((), ("--host", "unix://" + host.socket)):
        name = f"verbs-net-{os.getpid()}"
        steps = [(("network", "create", name, "--mtu", "1400", "--no-ip6"), 0), (("network", "create", name), 125), (("network", "inspect", name), 0),
                 (("network", "ls"), 0), (("network", "ls", "-q"), 0), (("network", "rm", name), 0), (("network", "rm", name), 125), (("network", "inspect", name), 125),
                 (("network", "rm", "user"), 125), (("network", "create", name, "--mtu", "x"), 125), (("network", "create", "a/b"), 125), (("network", "create"), 125),
                 (("network",), 125), (("rmi", "verbs-no-image"), 125), (("rmi",), 125)]
        for words, code in steps:
            done = host.say(*where, *words)
            check(done.returncode == code, f"{where} {words}: {done.returncode} {done.stderr}")
            if words[:2] in (("network", "inspect"), ("network", "ls")) and code == 0:
                check(name in done.stdout, f"{where} {words}: {done.stdout}")
            if words[:2] == ("network", "inspect") and code == 0:
                check(json.loads(done.stdout)[0]["mtu"] == 1400, f"{done.stdout}")
    print("networks and images: done", flush=True)


PARTS = [objects, consoles, signals, restarts, live_limits, runs_on_server]


def run(host, check):
    wanted = sys.argv[4:]
    for part in PARTS:
        if not wanted or part.__name__ in wanted:
            part(host, check)


sys.exit(on_server(sys.argv[1:4], run))
