#!/usr/bin/env python3
"""Every verb over a container and over a virtual machine, by the command line, by the API and by the command line over the API: both kinds answer alike.
Usage: verbs_test.py NAGAYA GUESTS STATE
GUESTS: folder with busybox; STATE: a state folder, made when it is missing; the guests' kernel is fetched into it once. Needs root; exit
code 77 says what is missing."""
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time

import websocket

from harness import UnixConnection

# What a step gives, of both kinds and either way: done, an exit code of a program, or why not. The command line's own errors are all 125;
# the API says which. {name} is the domain, {other} its second name.
OK, GONE, BUSY, WRONG = "ok", "missing", "conflict", "refused"
TABLE = [
    # step, command line, request, what both give
    ("inspect what is not there", "inspect missing", ("GET", "/domains/missing"), GONE),
    ("start what is not there", "start -d missing", ("POST", "/domains/missing/start"), GONE),
    ("remove what is not there", "rm missing", ("DELETE", "/domains/missing"), GONE),
    ("log of what is not there", "logs missing", ("GET", "/domains/missing/logs"), GONE),
    ("pause before the start", "pause {name}", ("POST", "/domains/{name}/pause"), BUSY),
    ("kill before the start", "kill {name}", ("POST", "/domains/{name}/kill"), BUSY),
    ("exec before the start", "exec {name} /bin/true", ("POST", "/domains/{name}/exec", {"command": ["/bin/true"]}), BUSY),
    ("start", "start -d -q {name}", ("POST", "/domains/{name}/start"), OK),
    ("start again", "start -d -q {name}", ("POST", "/domains/{name}/start"), BUSY),
    ("inspect", "inspect {name}", ("GET", "/domains/{name}"), OK),
    ("exec", "exec {name} /bin/true", ("POST", "/domains/{name}/exec", {"command": ["/bin/true"]}), OK),
    ("exec that fails", "exec {name} /bin/false", ("POST", "/domains/{name}/exec", {"command": ["/bin/false"]}), 1),
    ("exec of no program", "exec {name} /bin/none", ("POST", "/domains/{name}/exec", {"command": ["/bin/none"]}), 127),
    ("log", "logs {name}", ("GET", "/domains/{name}/logs"), OK),
    ("ports", "port {name}", None, OK),
    ("processes", "top {name}", ("GET", "/domains/{name}/top"), OK),
    ("statistics", "stats {name}", ("GET", "/domains/{name}/stats"), OK),
    ("remove what runs", "rm {name}", ("DELETE", "/domains/{name}"), BUSY),
    ("rename what runs", "rename {name} {other}", ("POST", "/domains/{name}/rename", {"name": "{other}"}), BUSY),
    ("pause", "pause {name}", ("POST", "/domains/{name}/pause"), OK),
    ("pause again", "pause {name}", ("POST", "/domains/{name}/pause"), BUSY),
    ("resume", "resume {name}", ("POST", "/domains/{name}/resume"), OK),
    ("resume again", "resume {name}", ("POST", "/domains/{name}/resume"), BUSY),
    ("update what runs", "update -m 96M -c 0.5 --cpu-shares 512 --pids-limit 600 --blkio-weight 200 {name}",
     ("PATCH", "/domains/{name}", {"limits": {"memory": 100663296, "cpus": 0.5, "cpuWeight": 20, "pids": 600}}), OK),
    ("more, but not more than at its start", "update -m 128M -c 1 {name}", ("PATCH", "/domains/{name}", {"limits": {"memory": 134217728, "cpus": 1}}), OK),
    ("update what is not there", "update -m 96M missing", ("PATCH", "/domains/missing", {"limits": {"memory": 100663296}}), GONE),
    ("a limit that cannot be", "update --cpuset-cpus 9999 {name}", ("PATCH", "/domains/{name}", {"limits": {"cpuset": "9999"}}), WRONG),
    ("restart", "restart -t 1 {name}", ("POST", "/domains/{name}/restart", {"timeout": 1}), OK),
    ("stop", "stop -t 1 {name}", ("POST", "/domains/{name}/stop", {"timeout": 1}), OK),
    ("wait for what has ended", "wait {name}", ("GET", "/domains/{name}/wait?timeout=5"), OK),
    ("its log stays", "logs {name}", ("GET", "/domains/{name}/logs"), OK),
    ("start after a stop", "start -d -q {name}", ("POST", "/domains/{name}/start"), OK),
    ("kill", "kill {name}", ("POST", "/domains/{name}/kill"), OK),
    ("ended by the kill", "wait {name}", ("GET", "/domains/{name}/wait?timeout=20"), OK),
    ("stop what has ended", "stop {name}", ("POST", "/domains/{name}/stop"), OK),
    ("update", "update -m 192M -c 1 {name}", ("PATCH", "/domains/{name}", {"limits": {"memory": 201326592, "cpus": 1}}), OK),
    ("rename", "rename {name} {other}", ("POST", "/domains/{name}/rename", {"name": "{other}"}), OK),
    ("the old name is free", "inspect {name}", ("GET", "/domains/{name}"), GONE),
    ("remove", "rm {other}", ("DELETE", "/domains/{other}"), OK),
    ("remove again", "rm {other}", ("DELETE", "/domains/{other}"), GONE),
]
STATUS = {200: OK, 201: OK, 204: OK, 404: GONE, 409: BUSY, 403: WRONG, 400: WRONG, 422: WRONG}


class Host:
    def __init__(self, nagaya, guests, state):
        self.nagaya = nagaya
        self.folder = tempfile.TemporaryDirectory(prefix="nagaya-verbs-")
        work = self.folder.name
        self.environment = {**os.environ, "NAGAYA_STATE_DIR": os.path.abspath(state), "NAGAYA_RUNTIME_DIR": work + "/run"}
        self.socket = work + "/api.sock"
        self.image = f"verbs-{os.getpid()}"
        layout = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../scripts/oci-layout")
        subprocess.run([layout, work + "/layout", guests + "/busybox-amd64"], check=True)
        self.say("pull", "-q", f"oci:{work}/layout:1.0", "--name", self.image)
        self.server = subprocess.Popen([nagaya, "serve", "--socket", self.socket, "--state", work], env=self.environment, stderr=subprocess.PIPE, text=True)
        for line in self.server.stderr:
            if "Ctrl-C" in line:
                break

    def close(self):
        for name in self.say("ps", "-aq").stdout.split():
            if name.startswith("verbs-"):
                self.say("rm", "-f", name)
        self.say("rmi", self.image)
        self.server.send_signal(signal.SIGINT)
        ended = self.server.wait(40)
        self.folder.cleanup()
        return ended

    def say(self, *words):
        return subprocess.run([self.nagaya, *words], env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)

    def call(self, method, path, body=None):
        connection = UnixConnection(self.socket, timeout=120)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        connection.request(method, "/v1" + path, json.dumps(body) if body is not None else None, headers)
        response = connection.getresponse()
        text = response.read()
        where = response.getheader("location")
        connection.close()
        if response.status == 202:
            status, operation = self.call("GET", where[3:] + "?wait=110")
            return (200 if operation["state"] == "done" else operation["error"]["status"]), operation
        return response.status, json.loads(text) if text.startswith((b"{", b"[")) else text

    def make(self, kind, name):
        status, said = self.call("POST", "/domains", {
            "name": name, "image": self.image, "kind": kind, "networks": ["none"], "limits": {"memory": 128 << 20}, "user": "root",
            "entrypoint": ["/bin/sh"], "command": ["-c", "echo begun; while :; do sleep 1; done"]})
        assert status == 200, said

    def ready(self, name):
        """A machine is asked once it answers: a container is there at once."""
        deadline = time.monotonic() + 90
        while self.say("exec", name, "/bin/true").returncode != 0 and time.monotonic() < deadline:
            time.sleep(0.2)


def through_libvirt(host, where, kind, name, check):
    """What libvirt has a word for comes back as it was; a container is no domain of libvirt's."""
    def run(*words, text=None):
        return subprocess.run([host.nagaya, *where, *words], env=host.environment, input=text, capture_output=True, text=True, timeout=60)

    done = run("export", "-f", "libvirt", name)
    if kind == "container":
        check(done.returncode == 125 and not done.stdout, f"export of {name} for libvirt: {done.returncode} {done.stdout}")
        return
    check(done.returncode == 0 and f"{name}: left out: entrypoint" in done.stderr, f"export of {name} for libvirt: {done.stdout} {done.stderr}")
    # Only a machine of this host is known to have a disk and a kernel.
    check(("<kernel>" in done.stdout and "ua-nagaya-own-disk" in done.stdout) == (not where), done.stdout)
    back = run("apply", "-f", "-", "--strict", "--dry-run", text=done.stdout)
    fields = [line.split(":")[0].strip() for line in back.stdout.splitlines()[1:]]
    check(back.returncode == 0 and fields == ["command", "entrypoint", "user"], f"apply of {name} from libvirt: {back.stdout} {back.stderr}")


def definitions(host, check):
    """apply and export of both kinds, here and on the server: made, left as it is, changed, refused, removed."""
    for where in ((), ("--host", "unix://" + host.socket)):
        for kind in ("container", "vm"):
            name = f"verbs-d-{'server' if where else 'here'}-{kind}-{os.getpid()}"
            document = {"kind": kind, "name": name, "image": host.image, "networks": ["none"], "user": "root", "entrypoint": ["/bin/sh"],
                        "command": ["-c", "while :; do sleep 1; done"], "limits": {"memory": "128M"}, "labels": {"a": "b"}}

            def apply(*words, text=None, code=0, said=""):
                done = subprocess.run([host.nagaya, *where, "apply", "-f", "-", *words], env=host.environment, input=text or json.dumps(document),
                                      capture_output=True, text=True, timeout=120)
                check(done.returncode == code and said in done.stdout, f"apply {words} of {name}: {done.returncode} {done.stdout} {done.stderr}")

            apply("--dry-run", said="would be created")
            check(host.say("inspect", name).returncode != 0, "a dry run makes nothing")
            apply(said="created")
            apply(said="unchanged")
            exported = subprocess.run([host.nagaya, *where, "export", name], env=host.environment, capture_output=True, text=True, timeout=60).stdout
            apply(text=exported, said="unchanged")
            through_libvirt(host, where, kind, name, check)
            document["env"] = ["A=1"]
            apply("--dry-run", said="env")
            apply(said="configured (env)")
            apply(said="unchanged")
            apply("--start", said="started")
            host.ready(name)
            document["env"] = ["A=2"]
            apply(code=3, said="needs a restart")
            apply("--restart", said="configured and restarted (env)")
            host.ready(name)
            document["labels"] = {"a": "c"}
            apply(said="configured (labels)")
            if kind == "container":
                document["limits"]["pids"] = 77
                apply(said="configured (limits.pids)")
            apply(text=json.dumps({**document, "image": host.image + "x"}), code=3, said="made anew")
            apply(text=json.dumps({**document, "kind": "vm" if kind == "container" else "container"}), code=125)
            apply("--delete", code=125)
            apply("--delete", "--force", said="removed")
            apply("--delete", said="was not there")
            print(f"definitions of {kind} {'on a server' if where else 'here'}: done", flush=True)
        name = f"verbs-n-{os.getpid()}"
        text = f"kind: volume\nname: {name}\n---\nkind: network\nname: {name}\nmtu: 1400\n"
        for words, said in (((), "created"), ((), "unchanged"), (("--delete",), "removed")):
            done = subprocess.run([host.nagaya, *where, "apply", "-f", "-", *words], env=host.environment, input=text, capture_output=True, text=True, timeout=60)
            check(done.returncode == 0 and done.stdout.count(said) == 2, f"objects {words}: {done.stdout} {done.stderr}")


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


class Visitor:
    """Somebody at a console: by a command with pipes or on a terminal, or by a WebSocket."""

    def __init__(self, host, way, name, terminal=False):
        self.text, self.way, self.master = b"", way, None
        if way == "request":
            plain = socket.socket(socket.AF_UNIX)
            plain.connect(host.socket)
            self.ws = websocket.create_connection(f"ws://localhost/v1/domains/{name}/console", socket=plain, subprotocols=["nagaya.terminal"],
                                                  suppress_origin=True, timeout=60)
            return
        words = [host.nagaya, *(("--host", "unix://" + host.socket) if way == "host" else ()), "attach", name]
        ends = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        if terminal:
            self.master, slave = pty.openpty()
            ends = {"stdin": slave, "stdout": slave, "stderr": slave}
        self.process = subprocess.Popen(words, env=host.environment, start_new_session=True, **ends)
        if terminal:
            os.close(slave)

    def type(self, text):
        if self.way == "request":
            self.ws.send_binary(text)
        elif self.master is not None:
            os.write(self.master, text)
        else:
            self.process.stdin.write(text)
            self.process.stdin.flush()

    def sees(self, wanted):
        deadline = time.monotonic() + 60
        while wanted not in self.text and time.monotonic() < deadline:
            if self.way == "request":
                code, data = self.ws.recv_data()
                if code != websocket.ABNF.OPCODE_BINARY:
                    break
                self.text += data
                continue
            out = self.master if self.master is not None else self.process.stdout.fileno()
            if select.select([out], [], [], 1)[0]:
                try:
                    got = os.read(out, 65536)
                except OSError:  # nobody has the terminal any more
                    break
                if not got:
                    break
                self.text += got
        return wanted in self.text

    def ended(self):
        """Its exit code."""
        if self.way == "request":
            while True:
                code, data = self.ws.recv_data()
                if code == websocket.ABNF.OPCODE_TEXT:
                    return json.loads(data)["exit"]
                if code == websocket.ABNF.OPCODE_CLOSE:
                    return None
        if self.master is None:
            self.process.stdin.close()
        return self.process.wait(60)

    def leave(self):
        if self.way == "request":
            self.ws.close()
        elif self.master is not None:
            self.type(b"\x1d")
            self.sees(b"goes on")
            return self.process.wait(60)
        else:
            self.process.terminate()
            self.process.wait(60)
        return 0


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


def by_command(host, words, names, where=()):
    done = host.say(*where, *(w.format(**names) for w in words.split()))
    code = done.returncode
    if words.startswith("exec") and code not in (0, 125):
        return code, done.stderr
    return OK if code == 0 else "error" if code == 125 else code, done.stderr


def by_request(host, request, names):
    method, path, *body = request
    filled = json.loads(json.dumps(body[0]).replace("{name}", names["name"]).replace("{other}", names["other"])) if body else None
    status, said = host.call(method, path.format(**names), filled)
    if status == 200 and "/exec" in path and said["exitCode"] != 0:
        return said["exitCode"], said
    return STATUS.get(status, status), said


def main():
    nagaya, guests, state = sys.argv[1:4]
    if os.geteuid() != 0:
        print("skipped: this test of containers is root's")
        return 77
    host = Host(nagaya, guests, state)
    failures = 0

    def check(ok, what):
        nonlocal failures
        if not ok:
            failures += 1
            print("FAILED", what, flush=True)

    try:
        consoles(host, check)
        runs_on_server(host, check)
        live_limits(host, check)
        definitions(host, check)
        remote = ("--host", "unix://" + host.socket)
        for way in ("command", "request", "host"):
            for kind in ("container", "vm"):
                names = {"name": f"verbs-a-{way}-{kind}-{os.getpid()}", "other": f"verbs-b-{way}-{kind}-{os.getpid()}"}
                host.make(kind, names["name"])
                for step, words, request, wanted in TABLE:
                    if way == "request" and request is None:
                        continue
                    got, said = by_request(host, request, names) if way == "request" else by_command(host, words, names, remote if way == "host" else ())
                    expected = wanted
                    if way != "request" and wanted in (GONE, BUSY, WRONG):
                        expected = "error"
                    if got != expected:
                        failures += 1
                        print(f"FAILED {step}, {kind}, by {way}: {got} instead of {expected}: {str(said)[:300]}", flush=True)
                    if step.startswith(("start", "restart")) and got == OK:
                        host.ready(names["name"])
                print(f"{kind} by {way}: done", flush=True)
    finally:
        if host.close() != 0:
            failures += 1
            print("FAILED the server did not end well")
    print(f"{len(TABLE)} steps, {failures} failures")
    return 1 if failures else 0


sys.exit(main())
