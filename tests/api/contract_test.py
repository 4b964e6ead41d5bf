#!/usr/bin/env python3
"""Each operation of the API's document is called on a live server, and each answer compared with the document.
Usage: contract_test.py nagaya-server-fake openapi.yaml"""
import json
import sys

import jsonschema

from harness import Server, document, finished, operations, resolve

program, openapi = sys.argv[1:3]
doc = document(openapi)
table = {operation["operationId"]: (method, path, operation) for method, path, operation in operations(doc)}
called, failures = set(), []


def check(ok, what):
    if not ok:
        failures.append(what)
        print("FAILED", what)


def compare(operation, answer, name):
    """Status, media type and body as the document says."""
    responses = operation["responses"]
    expected = responses.get(str(answer.status)) or (responses["default"] if answer.status >= 400 else None)
    check(expected is not None, f"{name}: status {answer.status} is not in the document")
    if expected is None:
        return
    content = expected.get("content")
    if not content:
        check(answer.body == b"", f"{name}: {answer.status} has a body")
        return
    kind = answer.headers.get("content-type", "").split(";")[0]
    check(kind in content, f"{name}: media type {kind}")
    if kind.endswith("json"):
        validator = jsonschema.Draft202012Validator(content[kind]["schema"], format_checker=jsonschema.FormatChecker())
        for error in validator.iter_errors(answer.json()):
            check(False, f"{name}: {answer.status} {list(error.path)}: {error.message}")
    for header in expected.get("headers", {}):
        check(header.lower() in answer.headers, f"{name}: no field {header}")
    for header, value in (("x-content-type-options", "nosniff"), ("cache-control", "no-store")):
        if answer.status < 400:
            check(answer.headers.get(header) == value, f"{name}: {header} is {answer.headers.get(header)}")


def call(server, name, body=None, query="", headers=None, status=None, **parts):
    method, path, operation = table[name]
    called.add(name)
    answer = server.call(method, "/v1" + path.format(**parts) + query, body, headers)
    compare(operation, answer, name)
    if status is not None:
        check(answer.status == status, f"{name} {parts} {query}: {answer.status} instead of {status}: {answer.body[:300]}")
    return answer


def operate(server, name, state="done", **how):
    answer = call(server, name, status=202, **how)
    operation = finished(server, answer)
    jsonschema.validate(operation, resolve(doc, doc["components"]["schemas"]["Operation"]))
    check(operation["state"] == state, f"{name}: {operation}")
    return operation


def life(server):
    call(server, "getInfo", status=200)
    call(server, "listDomains", status=200)
    check([d["name"] for d in call(server, "listDomains", query="?kind=vm").json()] == ["web"], "filter by kind")
    check([d["name"] for d in call(server, "listDomains", query="?project=other").json()] == ["theirs"], "filter by project")
    definition = {"name": "new", "kind": "container", "image": "alpine", "labels": {"tier": "one"}, "command": ["sleep", "1"]}
    operate(server, "createDomain", body=definition, query="?start=true")
    call(server, "createDomain", body=definition, status=409)
    operate(server, "createDomain", body={"image": "nothing"}, state="failed")
    check([d["name"] for d in call(server, "listDomains", query="?label=tier=one").json()] == ["new"], "filter by label")
    # A definition: what differs is changed, what is equal stays; what needs a restart says so.
    check(call(server, "putDomain", domain="new", query="?dryRun=true", body=definition, status=200).json()["action"] == "none", "nothing to change")
    planned = call(server, "putDomain", domain="new", query="?dryRun=true", body={**definition, "env": ["A=1"]}, status=200).json()
    check(planned["action"] == "restart" and [c["field"] for c in planned["changes"]] == ["env"], f"a plan: {planned}")
    call(server, "putDomain", domain="new", body={**definition, "env": ["A=1"]}, status=409)
    call(server, "putDomain", domain="other", body=definition, status=400)
    call(server, "putDomain", domain="made", body={"image": "alpine"}, status=400)
    hint = call(server, "putDomain", domain="made", body={"kind": "container", "imag": "alpine", "image": "alpine"}, status=400).json()
    check("image" in hint.get("hint", ""), f"the nearest name: {hint}")
    operate(server, "putDomain", domain="made", body={"kind": "container", "image": "alpine"})
    operate(server, "putDomain", domain="made", body={"kind": "container", "image": "alpine", "labels": {"a": "b"}})
    check(call(server, "getDomain", domain="made").json()["labels"] == {"a": "b"}, "it was changed")
    operate(server, "deleteDomain", domain="made", query="?force=true")
    network = {"kind": "network", "name": "put", "driver": "user"}
    check(call(server, "putNetwork", network="put", body=network, status=200).json()["action"] == "create", "a network is made")
    check(call(server, "putNetwork", network="put", body=network, status=200).json()["action"] == "none", "a network stays")
    call(server, "deleteNetwork", network="put", status=204)
    check(call(server, "putVolume", volume="put", body={"kind": "volume", "name": "put"}, status=200).json()["action"] == "create", "a volume is made")
    call(server, "deleteVolume", volume="put", status=204)
    detail = call(server, "getDomain", domain="new", status=200)
    etag = detail.headers["etag"]
    call(server, "getDomain", domain="missing", status=404)
    call(server, "getDomain", domain="-x", status=400)
    call(server, "updateDomain", domain="new", body={"labels": {"tier": "two"}}, headers={"If-Match": '"old"'}, status=412)
    changed = call(server, "updateDomain", domain="new", body={"labels": {"tier": "two"}}, headers={"If-Match": etag}, status=200)
    check(changed.headers["etag"] != etag, "the ETag changes with the definition")
    call(server, "updateDomain", domain="new", body={"labels": {"tier": "three"}}, headers={"If-Match": etag}, status=412)
    for action, state in (("pause", "paused"), ("resume", "running"), ("stop", "stopped"), ("start", "running"), ("restart", "running"), ("kill", "stopped")):
        operate(server, "actOnDomain", domain="new", action=action)
        check(call(server, "getDomain", domain="new").json()["state"] == state, f"state after {action}")
    operate(server, "actOnDomain", domain="new", action="kill", state="failed")
    operate(server, "actOnDomain", domain="new", action="rename", body={"name": "newer"})
    call(server, "getDomain", domain="new", status=404)
    call(server, "getLogs", domain="newer", query="?tail=1", status=200)
    check(call(server, "getLogs", domain="web", query="?tail=2").body == b"second line\nthird line\n", "the last two lines")
    call(server, "getStats", domain="web", status=200)
    call(server, "getStats", domain="newer", status=409)
    check(set(call(server, "listStats", status=200).json()) == {"web", "db", "theirs"}, "statistics of those that run")
    call(server, "getProcesses", domain="web", status=200)
    check(call(server, "waitForDomain", domain="newer", status=200).json() == {"ended": True, "exitCode": 137}, "how it ended")
    check(call(server, "waitForDomain", domain="web", query="?timeout=1", status=200).json() == {"ended": False}, "it did not end")
    result = call(server, "runExec", domain="web", body={"command": ["echo", "hi"], "input": "there"}, status=200).json()
    check(result["stdout"] == "echo hi\nthere", "what it wrote")
    call(server, "openConsole", domain="web", status=426)
    call(server, "openExec", domain="web", query="?command=sh", status=426)
    call(server, "openExec", domain="web", status=400)
    tar = b"x" * 300000
    called.add("putFiles")
    put = server.call("PUT", "/v1/domains/web/files?path=/srv", tar, {"Content-Type": "application/x-tar"})
    compare(table["putFiles"][2], put, "putFiles")
    check(put.status == 204, f"putFiles: {put.status} {put.body}")
    check(call(server, "getFiles", domain="web", query="?path=/srv", status=200).body == tar, "the same bytes come back")
    call(server, "getFiles", domain="web", query="?path=/missing", status=404)
    operate(server, "deleteDomain", domain="web", state="failed")
    operate(server, "deleteDomain", domain="web", query="?force=true")
    operate(server, "deleteDomain", domain="newer")


def objects(server):
    call(server, "listImages", status=200)
    operate(server, "pullImage", body={"reference": "busybox"})
    operate(server, "pullImage", body={"reference": "none"}, state="failed")
    call(server, "getImage", image="busybox", status=200)
    call(server, "getImage", image="missing", status=404)
    call(server, "deleteImage", image="alpine", status=409)
    call(server, "deleteImage", image="busybox", status=204)
    for kind, body in (("Network", {"name": "lan", "kind": "bridge", "subnet": "10.9.0.0/24"}), ("Volume", {"name": "vol", "labels": {"a": "b"}})):
        part = {kind.lower(): body["name"]}
        call(server, f"list{kind}s", status=200)
        call(server, f"create{kind}", body=body, status=201)
        call(server, f"create{kind}", body=body, status=409)
        call(server, f"get{kind}", status=200, **part)
        call(server, f"delete{kind}", status=204, **part)
        call(server, f"delete{kind}", status=404, **part)
    call(server, "deleteNetwork", network="default", status=409)


def rest(server):
    all_operations = call(server, "listOperations", status=200).json()
    check(len(all_operations) > 10, "operations are kept")
    call(server, "getOperation", operation=all_operations[0]["id"], status=200)
    call(server, "getOperation", operation="op999999", status=404)
    call(server, "cancelOperation", operation=all_operations[0]["id"], status=409)
    slow = call(server, "pullImage", body={"reference": "slow"}, status=202).json()["id"]
    call(server, "pullImage", body={"reference": "slow"}, status=409)
    call(server, "cancelOperation", operation=slow, status=202)
    check(call(server, "getOperation", operation=slow, query="?wait=20").json()["state"] == "cancelled", "cancelled")
    token = call(server, "createToken", body={"name": "ci", "role": "viewer", "projects": ["default"]}, status=201).json()
    check(len(token["secret"]) > 40, "a secret")
    check("secret" not in call(server, "listTokens", status=200).json()[0], "no secret in the list")
    call(server, "deleteToken", token="ci", status=204)
    call(server, "deleteToken", token="ci", status=404)
    # The stream of events from the beginning: each is an Event.
    method, path, operation = table["streamEvents"]
    called.add("streamEvents")
    connection = server.unix()
    connection.request("GET", "/v1/events?since=0")
    response = connection.getresponse()
    check(response.status == 200 and response.getheader("content-type") == "text/event-stream", "an event stream")
    kinds, last = set(), 0
    while not {"removed", "stopped"} <= kinds:
        line = response.fp.readline() if not response.chunked else response.readline()
        if line.startswith(b"data: "):
            event = json.loads(line[6:])
            jsonschema.validate(event, resolve(doc, doc["components"]["schemas"]["Event"]))
            check(event["id"] > last, "ids go up")
            last = event["id"]
            kinds.add(event["kind"])
    check({"created", "started", "stopped", "paused", "resumed", "operation"} <= kinds, f"kinds of events: {kinds}")
    connection.close()


def problems(server):
    """Every operation that takes a JSON body refuses what is none of its schema, naming the field."""
    for name, (method, path, operation) in table.items():
        body = operation.get("requestBody")
        if not body or "application/json" not in body["content"]:
            continue
        parts = {p["name"]: "start" if p["name"] == "action" else "db" for p in operation["parameters"] if p["in"] == "path"}
        answer = call(server, name, body={"nonsense": 1}, status=400, **parts)
        compare(operation, answer, name)
        check(answer.json().get("field"), f"{name}: the field is named")
        call(server, name, body=[], status=400, **parts)
        answer = server.call(method, "/v1" + path.format(**parts), "{}", {"Content-Type": "text/plain"})
        check(answer.status == 415, f"{name}: text/plain gives {answer.status}")
    for name, (method, path, operation) in table.items():
        if method != "GET" or operation.get("x-websocket"):
            continue
        parts = {p["name"]: "db" for p in operation["parameters"] if p["in"] == "path"}
        answer = server.call(method, "/v1" + path.format(**parts) + "?nonsense=1")
        check(answer.status == 400 and answer.json()["field"] == "nonsense", f"{name}: an unknown parameter gives {answer.status}")


with Server(program) as server:
    problems(server)
    life(server)
    objects(server)
    rest(server)
    check(server.call("GET", "/v1/openapi.json").json() == doc, "the server's document is the document")
    check(server.call("GET", "/v1/openapi.yaml").body == open(openapi, "rb").read(), "the server's YAML is the document")
    check(server.stop() == 0, "the server ends well")
left = set(table) - called
check(not left, f"operations without a test: {sorted(left)}")
print(f"{len(called)} operations, {len(failures)} failures")
sys.exit(1 if failures else 0)
