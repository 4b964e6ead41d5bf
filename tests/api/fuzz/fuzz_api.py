#!/usr/bin/env python3
"""Requests made at random from the API's document, right and wrong, against a live server. No answer of 5xx, no hang, no lasting growth,
no way to end the server. The same seed makes the same requests.
Usage: fuzz_api.py nagaya-server-fake openapi.yaml [--seed N] [--requests N | --seconds N]"""
import argparse
import json
import os
import random
import socket
import sys
import time
from urllib.parse import quote

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import Server, document, operations, resolve  # noqa: E402

options = argparse.ArgumentParser()
options.add_argument("program")
options.add_argument("openapi")
options.add_argument("--seed", type=int, default=1)
options.add_argument("--requests", type=int, default=1500)
options.add_argument("--seconds", type=float)
arguments = options.parse_args()
rng = random.Random(arguments.seed)
doc = document(arguments.openapi)
table = [(m, p, o) for m, p, o in operations(doc)]

NAMES = ["db", "web", "old", "theirs", "data", "default", "debian:latest", "op1", "op2", "..", ".", "../../etc/passwd", "/etc/passwd", "-rf", "--help", "a\nb", "a\r\nX: y",
         "a\0b", "", "a" * 64, "a" * 65, "a" * 5000, "ä", "\u202e", "%00", "%2e%2e", "$(reboot)", "`id`", "'; DROP TABLE tokens;--", "{domain}", "~root", "con", "a/b", "*"]
NUMBERS = [0, 1, -1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64, -2**63, 10**30, 0.5, -0.0, 1e308, 1e-320]
VALUES = [None, True, False, [], {}, "", "x", [[]], {"": ""}, {"a": {"b": {"c": []}}}]


def string(schema):
    if "enum" in schema and rng.random() < 0.8:
        return rng.choice(schema["enum"])
    if rng.random() < 0.5:
        return rng.choice(NAMES)
    if schema.get("format") == "date-time":
        return rng.choice(["2030-01-01T00:00:00Z", "2030-01-01T00:00:00+99:99", "never", "2030-02-31T00:00:00Z"])
    limit = schema.get("maxLength", 100)
    return rng.choice(["x", "abc", "a-b_c.d", "K=V", "/tmp:/x:ro", "10.0.0.0/24", "x" * min(limit, 3000), "y" * min(limit + 1, 3001)])


def value(schema, depth=0):
    """Mostly what the schema says, sometimes anything."""
    if rng.random() < 0.08 or depth > 6:
        return rng.choice([rng.choice(VALUES), rng.choice(NUMBERS), rng.choice(NAMES)])
    kind = schema.get("type", "object")
    if kind == "string":
        return string(schema)
    if kind in ("integer", "number"):
        low, high = schema.get("minimum", 0), schema.get("maximum", 1000)
        return rng.choice([low, high, low - 1, high + 1, rng.choice(NUMBERS), rng.randint(int(low), int(high))])
    if kind == "boolean":
        return rng.random() < 0.5
    if kind == "array":
        return [value(schema.get("items", {}), depth + 1) for _ in range(rng.choice([0, 1, 1, 2, 5, 20]))]
    out = {}
    for name, inner in schema.get("properties", {}).items():
        if name in schema.get("required", []) and rng.random() < 0.95 or rng.random() < 0.3:
            out[name] = value(inner, depth + 1)
    if schema.get("additionalProperties") is not False and rng.random() < 0.3:
        extra = schema.get("additionalProperties")
        out[rng.choice(NAMES)] = value(extra if isinstance(extra, dict) else {"type": "string"}, depth + 1)
    if rng.random() < 0.1:
        out[rng.choice(["x", "__proto__", "constructor", "name ", "Image", "limits.memory"])] = rng.choice(VALUES)
    return out


def body_of(schema):
    choice = rng.random()
    if choice < 0.8:
        return json.dumps(value(schema), allow_nan=True).encode()
    if choice < 0.84:
        return b"[" * rng.choice([10, 33, 1000, 100000])
    if choice < 0.88:
        return b'{"a":' * rng.choice([10, 40, 10000]) + b"1"
    if choice < 0.91:
        return json.dumps({"image": "x" * rng.choice([1000, 600000, 3 << 20])}).encode()
    if choice < 0.94:
        return b'{"image":"\xff\xfe\x80"}'
    if choice < 0.97:
        text = bytearray(json.dumps(value(schema)).encode())
        for _ in range(rng.randint(1, 5)):
            if text:
                text[rng.randrange(len(text))] = rng.randrange(256)
        return bytes(text)
    return rng.randbytes(rng.randint(0, 300))


def parameter(schema):
    made = value(schema)
    if isinstance(made, bool):
        return "true" if made else "false"
    return made if isinstance(made, str) else json.dumps(made)


def escaped(text):
    return quote(text, safe="" if rng.random() < 0.8 else "/%", errors="surrogatepass")


def request():
    method, path, operation = rng.choice(table)
    target = "/v1" + path
    for one in operation["parameters"]:
        if one["in"] == "path":
            text = rng.choice(["db", "web", "old"]) if one["name"] == "domain" and rng.random() < 0.6 else parameter(one["schema"])
            target = target.replace("{%s}" % one["name"], escaped(text))
    words = []
    for one in operation["parameters"]:
        if one["in"] == "query" and (one.get("required") and rng.random() < 0.9 or rng.random() < 0.3):
            if one["name"] in ("wait", "timeout", "follow"):
                continue  # waiting is tested elsewhere: here it would only cost time
            schema = one["schema"]
            for _ in range(rng.choice([1, 1, 1, 2]) if schema.get("type") == "array" else 1):
                words.append(quote(one["name"]) + "=" + escaped(parameter(schema.get("items", schema) if schema.get("type") == "array" else schema)))
    if operation["operationId"] == "waitForDomain":
        words.append("timeout=0")
    if rng.random() < 0.05:
        words.append(rng.choice(["x=1", "%00=1", "a=%ff", "&&&", "=", "?", "tail=1&tail=2", "command=" + "z" * 40000]))
    if words:
        target += "?" + "&".join(words)
    if rng.random() < 0.08:
        method = rng.choice(["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "CONNECT", "BREW", "get", "G" * 300])
    lines = ["Host: " + rng.choice(["localhost"] * 20 + ["", "evil.example", "[::1", "a b", "x" * 300])]
    body = b""
    content = operation.get("requestBody", {}).get("content", {})
    if content and rng.random() < 0.97 or rng.random() < 0.03:
        kind = next(iter(content), "application/json")
        body = body_of(content[kind]["schema"]) if kind == "application/json" and content else rng.randbytes(rng.choice([0, 10, 5000]))
        lines.append("Content-Type: " + (kind if rng.random() < 0.95 else rng.choice(["text/plain", "", "application/json;", "multipart/form-data"])))
    if rng.random() < 0.05:
        lines.append(rng.choice(["If-Match: *", 'If-Match: "', "If-None-Match: W/", "Accept: text/html", "Accept: ,;q=", "Expect: 100-continue", "Range: bytes=0-1", "Last-Event-ID: 1",
                                 "Last-Event-ID: \x80", "Authorization: Bearer x", "Authorization: ", "Origin: https://evil", "Connection: upgrade", "Upgrade: websocket", "Cookie: a=b",
                                 "Transfer-Encoding: gzip", "X-Forwarded-For: 127.0.0.1", "X-HTTP-Method-Override: DELETE"]))
    chunked = body and rng.random() < 0.1
    if chunked:
        lines.append("Transfer-Encoding: chunked")
        pieces, at = b"", 0
        while at < len(body):
            size = rng.randint(1, 4000)
            piece = body[at:at + size]
            pieces += b"%x\r\n%s\r\n" % (len(piece), piece)
            at += size
        body = pieces + rng.choice([b"0\r\n\r\n"] * 9 + [b"zz\r\n"])
    elif body or rng.random() < 0.1:
        lines.append(f"Content-Length: {len(body)}")
    lines.append("Connection: close")
    streams = operation["operationId"] == "streamEvents"
    return operation["operationId"], streams, ("\r\n".join([f"{method} {target} HTTP/1.1", *lines, "", ""])).encode("utf-8", "surrogatepass") + body


def send(server, raw, wait):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(wait)
        s.connect(server.socket)
        out = b""
        try:
            s.sendall(raw)
        except OSError:
            pass  # it answered before it had taken all
        try:
            while piece := s.recv(65536):
                out += piece
                if len(out) > 1 << 22:
                    break
        except TimeoutError:
            return out, True
        except OSError:
            pass
        return out, False


def restore(server):
    """What the requests removed or stopped is there again, so that the next ones meet something."""
    there = {d["name"]: d for d in server.call("GET", "/v1/domains").json()}
    for name in ("db", "web", "old"):
        if name not in there:
            server.call("POST", "/v1/domains?start=true", {"name": name, "image": "alpine"})
        elif there[name]["state"] not in ("running", "paused"):
            server.call("POST", f"/v1/domains/{name}/start")
    for name in there:
        if name not in ("db", "web", "old", "theirs") and rng.random() < 0.5:
            server.call("DELETE", f"/v1/domains/{name}?force=true")
    for token in server.call("GET", "/v1/tokens").json():
        server.call("DELETE", "/v1/tokens/" + token["name"])


failures = []
counts = {}
with Server(arguments.program) as server:
    began = time.monotonic()
    memory = 0
    done = 0
    slowest = 0.0
    while done < arguments.requests if arguments.seconds is None else time.monotonic() - began < arguments.seconds:
        name, streams, raw = request()
        kind = rng.random()
        if kind < 0.04:
            # Gone in the middle.
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(server.socket)
                s.settimeout(5)
                try:
                    s.sendall(raw[:rng.randrange(len(raw) + 1)])
                except OSError:
                    pass
        else:
            at = time.monotonic()
            answer, late = send(server, raw, 0.2 if streams else 30)
            slowest = max(slowest, time.monotonic() - at if not streams else 0)
            code = answer.split(b" ", 2)[1].decode() if answer.startswith(b"HTTP/1.1 ") else "none"
            if code == "100":
                rest = answer.split(b"\r\n\r\n", 1)[1]
                code = rest.split(b" ", 2)[1].decode() if rest.startswith(b"HTTP/1.1 ") else "none"
            counts[code] = counts.get(code, 0) + 1
            # What is cut short by a wrong length may get no answer until the client goes; all else is answered.
            if code.startswith("5") or (code == "none" and not late) or (late and not streams):
                failures.append((name, code, late, raw[:600], answer[:300]))
                print("FAILED", failures[-1])
                if len(failures) > 20:
                    break
        done += 1
        if done % 100 == 0:
            restore(server)
            if server.process.poll() is not None:
                failures.append(("the server has ended", server.said()))
                print(failures[-1])
                break
            if done == 500:
                memory = server.resident()
    grown = server.resident() - memory if memory else 0
    if grown > 128 << 20:
        failures.append(("memory", grown))
    if server.process.poll() is None and server.call("GET", "/healthz").status != 200:
        failures.append(("health",))
    if server.process.poll() is None and server.stop() != 0:
        failures.append(("end", server.said()))
print(f"seed {arguments.seed}: {done} requests, {dict(sorted(counts.items()))}, slowest {slowest:.2f} s, {grown >> 20} MiB more, {len(failures)} failures")
sys.exit(1 if failures else 0)
