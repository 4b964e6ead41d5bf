#!/usr/bin/env python3
"""Every verb over a container and over a virtual machine, by the command line, by the API and by the command line over the API: both kinds answer alike.
Usage: verbs_test.py NAGAYA GUESTS STATE
GUESTS: folder with busybox; STATE: a state folder, made when it is missing; the guests' kernel is fetched into it once. Needs root; exit
code 77 says what is missing."""
import io
import json
import os
import subprocess
import sys
import tarfile

from both_kinds import BUSY, GONE, OK, STATUS, WRONG, on_server
from harness import UnixConnection

# What a step gives (both_kinds.py), of both kinds and any way. {name} is the domain, {other} its second name.
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


def tar_of(name, content):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(content), 0o640
        tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def content_of(tar, name):
    with tarfile.open(fileobj=io.BytesIO(tar), mode="r") as read:
        return read.extractfile(name).read()


def files(host, check):
    """cp of both kinds: what the command brings in, the API gives out, and the other way round."""
    for kind in ("container", "vm"):
        name = f"verbs-f-{kind}-{os.getpid()}"
        host.make(kind, name)
        check(host.say("start", "-d", "-q", name).returncode == 0, f"start of {name}")
        host.ready(name)
        path = f"/v1/domains/{name}/files?path="

        def request(method, where, body=None):
            connection = UnixConnection(host.socket, timeout=60)
            connection.request(method, path + where, body, {"Content-Type": "application/x-tar"} if body else {})
            response = connection.getresponse()
            got = response.status, response.read()
            connection.close()
            return got

        def command(*words, text=b""):
            return subprocess.run([host.nagaya, "cp", *words], env=host.environment, input=text, capture_output=True, timeout=60, check=False)

        content = os.urandom(200_000)
        done = command("-", f"{name}:/", text=tar_of("one", content))
        check(done.returncode == 0, f"cp into {name}: {done.stderr}")
        status, tar = request("GET", "/one")
        check(status == 200 and content_of(tar, "one") == content, f"the file of {name} by the API: {status}")
        status, said = request("PUT", "/", tar_of("two", content[::-1]))
        check(status == 204, f"a file into {name} by the API: {status} {said}")
        done = command(f"{name}:/two", "-")
        check(done.returncode == 0 and content_of(done.stdout, "two") == content[::-1], f"cp out of {name}: {done.returncode} {done.stderr}")
        check(request("GET", "/none")[0] == 404, f"a file that {name} has not, by the API: {request('GET', '/none')}")
        check(command(f"{name}:/none", "-").returncode == 125, f"a file that {name} has not")
        host.say("rm", "-f", name)
        print(f"files of {kind}: done", flush=True)


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


def run(host, check):
    files(host, check)
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
                check(got == expected, f"{step}, {kind}, by {way}: {got} instead of {expected}: {str(said)[:300]}")
                if step.startswith(("start", "restart")) and got == OK:
                    host.ready(names["name"])
            print(f"{kind} by {way}: done", flush=True)


sys.exit(on_server(sys.argv[1:4], run))
