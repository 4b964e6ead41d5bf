#!/usr/bin/env python3
"""Every route of the document for every kind of caller: role × projects, over TLS with tokens.
Usage: access_test.py nagaya-server-fake openapi.yaml"""
import json
import sys

from harness import Server, document, finished, operations

program, openapi = sys.argv[1:3]
doc = document(openapi)
failures = 0
ROLES = ["viewer", "operator", "admin"]
# What a route's parameters are, for things of project "default" (what callers confined to "other" must not meet).
THINGS = {"domain": "db", "action": "pause", "image": "nothing", "network": "nothing", "volume": "data", "operation": None, "token": "nothing"}
BODIES = {
    "createDomain": {"image": "nothing", "project": "default"},
    "updateDomain": {"labels": {}},
    "putDomain": {"kind": "container", "image": "nothing", "project": "default"},
    "putNetwork": {"kind": "network", "name": "nothing"},
    "putVolume": {"kind": "volume", "name": "data", "project": "default"},
    "runExec": {"command": ["true"]},
    "pullImage": {"reference": "none"},
    "createNetwork": {"name": "default"},
    "createVolume": {"name": "data", "project": "default"},
    "createToken": {"name": "taken", "role": "viewer"},
}
QUERIES = {"openExec": "?command=sh", "getFiles": "?path=/", "putFiles": "?path=/missing", "waitForDomain": "?timeout=0", "streamEvents": "", "putDomain": "?dryRun=true", "putNetwork": "?dryRun=true",
           "putVolume": "?dryRun=true"}


def check(ok, what):
    global failures
    if not ok:
        failures += 1
        print("FAILED", what)


def allowed(operation, role, confined):
    """403, 404 or None (it comes through the gate) for a caller of this role who is confined to project "other" or not at all."""
    if ROLES.index(role) < ROLES.index(operation["x-role"]):
        return 403
    if not confined:
        return None
    return {"host": 403, "definition": 403, "domain": 404, "volume": 404, "operation": 404}.get(operation["x-scope"])


with Server(program, tcp=True) as server:
    made = server.call("POST", "/v1/tokens", {"name": "taken", "role": "viewer"})
    assert made.status == 201
    THINGS["operation"] = finished(server, server.call("POST", "/v1/domains/db/pause"))["id"]
    finished(server, server.call("POST", "/v1/domains/db/resume"))
    callers = {}
    for role in ROLES:
        for confined in (False, True):
            body = {"name": f"{role}-{confined}", "role": role}
            if confined:
                body["projects"] = ["other"]
            callers[role, confined] = server.call("POST", "/v1/tokens", body).json()["secret"]

    count = 0
    for method, path, operation in operations(doc):
        name = operation["operationId"]
        target = "/v1" + path
        for parameter, value in THINGS.items():
            target = target.replace("{%s}" % parameter, str(value))
        target += QUERIES.get(name, "")
        for (role, confined), secret in callers.items():
            wanted = allowed(operation, role, confined)
            if name == "streamEvents" and wanted is None:
                continue  # it does not end; its filter is tested below
            headers = {"Authorization": "Bearer " + secret}
            body = BODIES.get(name)
            if name == "putFiles":
                body, headers["Content-Type"] = b"x" * 10, "application/x-tar"
            if operation.get("x-websocket"):
                headers.update({"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                                "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="})
                if wanted is not None:  # the others stop behind the gate (400), for want of a subprotocol
                    headers["Sec-WebSocket-Protocol"] = "nagaya.terminal"
            answer = server.call(method, target, body, headers, server.tls())
            if wanted is None:
                # Behind the gate there may be nothing of that name: then the answer is not about the caller.
                check(answer.status not in (401, 403), f"{name} as {role}, confined {confined}: {answer.status} {answer.body[:200]}")
                if operation["x-scope"] in ("domain", "volume", "operation"):
                    mine = answer.status != 404 or b"missing" in answer.body
                    check(mine, f"{name} as {role}, confined {confined}: {answer.status} {answer.body[:200]}")
                if answer.status == 202 and "location" in answer.headers:
                    finished(server, answer)
            else:
                check(answer.status == wanted, f"{name} as {role}, confined {confined}: {answer.status} instead of {wanted} {answer.body[:200]}")
            count += 1
            # What was changed is put back for the next caller.
            if server.call("GET", "/v1/domains/db").status == 404:
                finished(server, server.call("POST", "/v1/domains", {"name": "db", "image": "alpine", "kind": "container"}))
            if server.call("GET", "/v1/domains/db").json()["state"] == "paused":
                finished(server, server.call("POST", "/v1/domains/db/resume"))
            if server.call("GET", "/v1/domains/db").json()["state"] != "running":
                finished(server, server.call("POST", "/v1/domains/db/start"))
            if server.call("GET", "/v1/volumes/data").status == 404:
                server.call("POST", "/v1/volumes", {"name": "data"})
        # Nobody, and somebody with a wrong token.
        for headers in ({}, {"Authorization": "Bearer nagaya_0000000000000000_x"}, {"Authorization": "Basic YTpi"}):
            answer = server.call(method, target, None, headers, server.tls())
            check(answer.status in (401, 429) and "problem" in answer.headers["content-type"], f"{name} by nobody: {answer.status}")

    def confined(method, path, body=None):
        return server.call(method, path, body, {"Authorization": "Bearer " + callers["operator", True]}, server.tls())

    # Lists leave out what is not theirs.
    check([d["name"] for d in confined("GET", "/v1/domains").json()] == ["theirs"], "domains of the project alone")
    check(set(confined("GET", "/v1/stats").json()) == {"theirs"}, "statistics of the project alone")
    check(confined("GET", "/v1/volumes").json() == [], "volumes of the project alone")
    check(all(o.get("project") in (None, "other") for o in confined("GET", "/v1/operations").json()), "operations of the project alone")
    check(b'"db"' not in confined("GET", "/metrics").body and b'"theirs"' in confined("GET", "/metrics").body, "metrics of the project alone")
    # What a definition asks of the host is for its administrators.
    for definition, field in (({"privileged": True}, "privileged"), ({"volumes": ["ok:/a", "/etc:/b"]}, "volumes[1]"),
                              ({"volumes": ["./x:/b"]}, "volumes[0]"), ({"devices": ["/dev/sda"]}, "devices"), ({"capAdd": ["ALL"]}, "capAdd"), ({"pid": "host"}, "pid"),
                              ({"security": ["seccomp=unconfined"]}, "security"), ({"hardware": {"disks": [{"path": "/etc/shadow"}]}}, "hardware"),
                              ({"sysctls": ["a=1"]}, "sysctls"), ({"limits": {"deviceReadBps": ["/dev/sda:1"]}}, "limits.deviceReadBps"), ({"networks": ["host"]}, "networks[0]")):
        for secret in (callers["operator", True], callers["operator", False], callers["admin", True]):
            answer = server.call("POST", "/v1/domains", {"image": "alpine", "kind": "container", **definition}, {"Authorization": "Bearer " + secret}, server.tls())
            check(answer.status == 403 and answer.json()["field"] == field, f"{definition}: {answer.status} {answer.body[:200]}")
    answer = confined("POST", "/v1/domains", {"image": "alpine", "volumes": ["data:/x"]})
    check(answer.status == 404, f"another project's volume: {answer.status}")
    # What a confined caller makes without naming a project is theirs.
    operation = confined("POST", "/v1/domains", {"image": "alpine", "name": "mine"}).json()
    check(operation["project"] == "other", "made in the caller's project")
    # A token that is withdrawn while an operation waits stops it from acting.
    finished(server, server.call("POST", "/v1/domains/theirs/stop", {"timeout": 0}))
    check(server.call("DELETE", "/v1/tokens/operator-True").status == 204, "withdrawn")
    # 429: the wrong tokens above came from the same address.
    check(confined("GET", "/v1/domains").status in (401, 429), "a withdrawn token")
    check(b"nagaya_" not in server.call("GET", "/v1/tokens").body, "no secrets")
    check(server.stop() == 0, "the server ends well")

print(f"{count} calls, {failures} failures")
sys.exit(1 if failures or not count else 0)
