#!/usr/bin/env python3
"""How the server behaves on the wire: HTTP's corners, limits, streams, WebSockets, start and end.
Usage: live_test.py nagaya-server-fake [NAME…]"""
import base64
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import websocket

from harness import Server, finished

program = sys.argv[1]
tests = []


def test(function):
    tests.append(function)
    return function


def status(raw):
    return int(raw.split(b" ", 2)[1]) if raw.startswith(b"HTTP/1.1 ") else 0


def get(path, *lines, method="GET"):
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


@test
def methods_and_media_types(server):
    head = server.call("HEAD", "/v1/info")
    body = server.call("GET", "/v1/info")
    assert head.status == 200 and head.body == b"" and abs(int(head.headers["content-length"]) - len(body.body)) < 64
    answer = server.call("OPTIONS", "/v1/domains")
    assert answer.status == 204 and {"GET", "POST", "HEAD", "OPTIONS"} == set(answer.headers["allow"].split(", "))
    answer = server.call("DELETE", "/v1/domains")
    assert answer.status == 405 and "POST" in answer.headers["allow"]
    assert server.call("BREW", "/v1/domains").status == 405
    for accept, wanted in (("application/json", 200), ("*/*", 200), ("application/*;q=0.5", 200), ("text/html", 406), ("application/json;q=0", 406), ("", 200)):
        assert server.call("GET", "/v1/domains", headers={"Accept": accept}).status == wanted, accept
    assert server.call("POST", "/v1/images", "{}", {"Content-Type": "text/plain"}).status == 415
    assert server.call("POST", "/v1/images", b"\x1f\x8b", {"Content-Type": "application/json", "Content-Encoding": "gzip"}).status == 415
    assert server.call("POST", "/v1/images", '{"reference":"none"}', {"Content-Type": "application/json; charset=utf-8"}).status == 202


@test
def conditional_requests(server):
    first = server.call("GET", "/v1/images")
    again = server.call("GET", "/v1/images", headers={"If-None-Match": first.headers["etag"]})
    assert again.status == 304 and again.body == b"" and again.headers["etag"] == first.headers["etag"]
    assert server.call("GET", "/v1/images", headers={"If-None-Match": '"x", ' + first.headers["etag"]}).status == 304
    before = server.call("GET", "/v1/domains/old")
    # A definition that stays does not hide that the state has changed.
    finished(server, server.call("POST", "/v1/domains/old/start"))
    after = server.call("GET", "/v1/domains/old", headers={"If-None-Match": before.headers["etag"]})
    assert after.status == 200 and after.json()["state"] == "running"
    # And a state that changes does not stop a change of the definition.
    assert server.call("PATCH", "/v1/domains/old", {"labels": {"a": "b"}}, {"If-Match": before.headers["etag"]}).status == 200
    assert server.call("PATCH", "/v1/domains/old", {"labels": {"a": "c"}}, {"If-Match": before.headers["etag"]}).status == 412
    for value in ('W/"x"', '"', "", "x", '"x'):
        if value:
            assert server.call("PATCH", "/v1/domains/old", {"labels": {"a": "c"}}, {"If-Match": value}).status == 412, value
    assert server.call("PATCH", "/v1/domains/old", {"labels": {"a": "c"}}, {"If-Match": "*"}).status == 200
    finished(server, server.call("POST", "/v1/domains/old/stop", {"timeout": 0}))


@test
def keep_alive_pipelining_chunks_and_expect(server):
    raw = server.raw(get("/v1/domains") + get("/v1/missing") + get("/healthz", "Connection: close"))
    assert re.findall(rb"HTTP/1.1 (\d+)", raw) == [b"200", b"404", b"200"], raw[:500]
    body = json.dumps({"reference": "none-in-pieces"}).encode()
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(body[i:i + 3]), body[i:i + 3]) for i in range(0, len(body), 3)) + b"0\r\n\r\n"
    post = get("/v1/images", "Content-Type: application/json", "Transfer-Encoding: chunked", method="POST")
    raw = server.raw(post + chunked + get("/healthz", "Connection: close"))
    assert re.findall(rb"HTTP/1.1 (\d+)", raw) == [b"202", b"200"], raw[:500]
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(server.socket)
        s.settimeout(5)
        body = json.dumps({"reference": "none-at-all"}).encode()
        s.sendall(get("/v1/images", "Content-Type: application/json", f"Content-Length: {len(body)}", "Expect: 100-continue", method="POST"))
        assert s.recv(100).startswith(b"HTTP/1.1 100")
        s.sendall(body)
        assert s.recv(1000).startswith(b"HTTP/1.1 202")
    # Who is refused is not asked for the body.
    raw = server.raw(get("/v1/missing", "Content-Type: application/json", "Content-Length: 5", "Expect: 100-continue", method="POST"), wait=3)
    assert status(raw) == 404 and b"100 Continue" not in raw
    assert status(server.raw(get("/v1/images", "Content-Length: 5", "Expect: miracles", "Content-Type: application/json", method="POST") + b"{}   ")) == 417
    raw = server.raw(b"GET /healthz HTTP/1.0\r\nHost: x\r\n\r\n")
    assert b" 200 " in raw and raw.endswith(b"ok\n")


@test
def what_is_no_request(server):
    for raw in (b"\r\n\r\n\x00\x01", b"nonsense\r\n\r\n", b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", b"GET /\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
                b"POST /v1/images HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                b"POST /v1/images HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
                b"POST /v1/images HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b"POST /v1/images HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n"):
        answer = server.raw(raw, wait=3, half_close=True)
        assert status(answer) in (400, 413), (raw, answer[:200])
    assert status(server.raw(b"GET /healthz HTTP/1.1\r\n\r\n")) == 400, "no Host"
    assert status(server.raw(b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")) == 400, "two Hosts"
    assert status(server.raw(get("/v1/images", "Transfer-Encoding: chunked", "Content-Type: application/json", method="POST") + b"zz\r\n")) == 400
    assert status(server.raw(get("/healthz", "X: " + "y" * 70000))) == 431
    assert status(server.raw(get("/" + "a" * 70000))) == 431


@test
def sizes(server):
    big = json.dumps({"reference": "x" * (3 << 20)})
    assert server.call("POST", "/v1/images", big, {"Content-Type": "application/json"}).status == 413
    head = get("/v1/images", "Content-Type: application/json", "Transfer-Encoding: chunked", method="POST")
    assert status(server.raw(head + b"10000\r\n" + b"x" * 65536 + b"\r\n" * 1 + (b"10000\r\n" + b"x" * 65536 + b"\r\n") * 40)) == 413
    assert server.call("POST", "/v1/images", "[" * 1000000, {"Content-Type": "application/json"}).status == 400
    assert server.call("GET", "/v1/info", "body", {"Content-Type": "application/json"}).status == 400


@test
def logs_follow_until_the_client_goes(server):
    before = server.descriptors()
    connection = server.unix()
    connection.request("GET", "/v1/domains/web/logs?follow=true&tail=1")
    response = connection.getresponse()
    assert response.status == 200 and response.read1(100) == b"third line\n"
    assert response.read1(100).startswith(b"line 0")
    connection.close()
    deadline = time.monotonic() + 10
    while server.descriptors() > before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert server.descriptors() <= before, "descriptors of a stream that nobody reads"


def events_of(server, path="/v1/events", headers=None, connection=None):
    connection = connection or server.unix()
    connection.request("GET", path, headers=headers or {})
    response = connection.getresponse()
    assert response.status == 200, response.read()

    def lines():
        event = {}
        while line := response.readline():
            line = line.rstrip(b"\n")
            if not line and event:
                yield event
                event = {}
            elif line and not line.startswith(b":"):
                key, _, value = line.partition(b": ")
                event[key.decode()] = value.decode()
    return connection, lines()


@test
def events_resume(server):
    connection, events = events_of(server)
    for action in ("pause", "resume", "pause", "resume"):
        finished(server, server.call("POST", f"/v1/domains/web/{action}"))
    seen = [next(events) for _ in range(12)]  # each verb: operation begins, the change, operation ends
    connection.close()
    assert sorted(e["event"] for e in seen) == ["operation"] * 8 + ["paused"] * 2 + ["resumed"] * 2
    connection, events = events_of(server, headers={"Last-Event-ID": seen[4]["id"]})
    assert [next(events)["id"] for _ in range(7)] == [e["id"] for e in seen[5:]], "what was missed, once, in order"
    connection.close()
    connection, events = events_of(server, f"/v1/events?since={seen[0]['id']}&domain=web")
    assert json.loads(next(events)["data"])["domain"] == "web"
    connection.close()
    for bad in ("x", "-1", "1x"):
        assert server.call("GET", "/v1/events", headers={"Last-Event-ID": bad}).status == 400


@test
def a_follower_who_does_not_read_holds_nothing_up(server):
    before = server.resident()
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(server.socket)
        s.sendall(get("/v1/events?since=0"))
        for i in range(150):
            finished(server, server.call("POST", f"/v1/domains/db/{'pause' if i % 2 == 0 else 'resume'}"))
        assert server.resident() - before < 64 << 20


def open_socket(server, path, protocols=("nagaya.terminal",), **how):
    plain = socket.socket(socket.AF_UNIX)
    plain.connect(server.socket)
    return websocket.create_connection("ws://localhost" + path, socket=plain, subprotocols=list(protocols), suppress_origin=True, timeout=10, **how)


def read_until(ws, wanted):
    text = b""
    while wanted not in text:
        code, data = ws.recv_data()
        assert code == websocket.ABNF.OPCODE_BINARY, (code, data, text)
        text += data
    return text


@test
def terminals(server):
    ws = open_socket(server, "/v1/domains/web/console")
    assert ws.getsubprotocol() == "nagaya.terminal"
    read_until(ws, b"web# ")
    ws.send(json.dumps({"resize": [132, 43]}))
    ws.send_binary(b"size\r")
    read_until(ws, b"132 43")
    ws.send_binary(b"echo hello\r")
    read_until(ws, b"\r\nhello\r\n")
    ws.send_binary(b"exit 7\r")
    text = b""
    while True:
        code, data = ws.recv_data()
        if code == websocket.ABNF.OPCODE_TEXT:
            assert json.loads(data) == {"exit": 7}
            break
    code, data = ws.recv_data(control_frame=True)
    assert code == websocket.ABNF.OPCODE_CLOSE and int.from_bytes(data[:2], "big") == 1000
    for path, wanted in (("/v1/domains/missing/console", 404), ("/v1/domains/old/console", 409), ("/v1/domains/web/exec?command=missing", 404),
                         ("/v1/domains/web/exec", 400), ("/v1/info", 400)):
        try:
            open_socket(server, path)
            assert False, path
        except websocket.WebSocketBadStatusException as refused:
            assert refused.status_code == wanted, (path, refused.status_code)
    try:
        open_socket(server, "/v1/domains/web/console", protocols=("other",))
        assert False
    except websocket.WebSocketBadStatusException as refused:
        assert refused.status_code == 400
    for nonsense in ("x", "{}", '{"resize":[0,1]}', '{"resize":[1,70000]}', '{"resize":["1",2]}', "[" * 100):
        ws = open_socket(server, "/v1/domains/web/console")
        ws.send(nonsense)
        while True:
            code, data = ws.recv_data(control_frame=True)
            if code == websocket.ABNF.OPCODE_CLOSE:
                assert int.from_bytes(data[:2], "big") == 1008, nonsense
                break
        ws.close()


@test
def streams_of_a_program(server):
    ws = open_socket(server, "/v1/domains/web/exec?command=sh&terminal=false", protocols=("nagaya.streams",))
    ws.send_binary(b"\0echo out\nerror bad\n")
    got = {1: b"", 2: b""}
    while got[1] != b"out\n" or got[2] != b"bad\n":
        code, data = ws.recv_data()
        got[data[0]] += data[1:]
    ws.send_binary(b"\0")  # the end of input
    while True:
        code, data = ws.recv_data()
        if code == websocket.ABNF.OPCODE_TEXT:
            assert json.loads(data) == {"exit": 0}
            break
    ws.close()


@test
def terminals_press_back(server):
    before = server.resident()
    ws = open_socket(server, "/v1/domains/web/exec?command=sh&terminal=false", protocols=("nagaya.streams",))
    ws.send_binary(b"\0flood 200000000\n")
    time.sleep(1.5)
    assert server.resident() - before < 48 << 20, "a client that does not read costs no memory"
    total = 0
    while total < 20_000_000:
        total += len(ws.recv_data()[1]) - 1
    # Input that nobody takes stops the client.
    ws.settimeout(2)
    sent = 0
    try:
        while sent < 100_000_000:
            ws.send_binary(b"\0" + b"y" * 65536)
            sent += 65536
    except (websocket.WebSocketTimeoutException, TimeoutError, BlockingIOError, OSError):
        pass
    assert sent < 20_000_000, "a program that does not read presses back"
    ws.sock.close()
    assert server.call("GET", "/healthz").status == 200


@test
def a_client_that_goes_ends_what_it_ran(server):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(server.socket)
        body = json.dumps({"command": ["sleep"], "timeout": 600}).encode()
        s.sendall(get("/v1/domains/web/exec", "Content-Type: application/json", f"Content-Length: {len(body)}", method="POST") + body)
        time.sleep(0.3)
    # Thirty-two such calls would fill the workers if they stayed.
    for _ in range(40):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(server.socket)
            s.sendall(get("/v1/domains/web/exec", "Content-Type: application/json", f"Content-Length: {len(body)}", method="POST") + body)
    deadline = time.monotonic() + 20
    while True:
        answer = server.call("POST", "/v1/domains/web/exec", {"command": ["echo"]})
        if answer.status == 200:
            break
        assert answer.status == 503 and time.monotonic() < deadline, answer.status
        time.sleep(0.2)


@test
def other_sites_pages(server):
    assert server.call("GET", "/v1/info", headers={"Origin": "https://evil.example"}).status == 403
    assert server.call("GET", "/v1/info", headers={"Origin": "null"}).status == 403
    assert server.call("GET", "/v1/info", headers={"Sec-Fetch-Site": "cross-site"}).status == 403
    assert server.call("GET", "/v1/info", headers={"Sec-Fetch-Site": "same-origin"}).status == 200
    try:
        plain = socket.socket(socket.AF_UNIX)
        plain.connect(server.socket)
        websocket.create_connection("ws://localhost/v1/domains/web/console", socket=plain, subprotocols=["nagaya.terminal"], origin="https://evil.example")
        assert False
    except websocket.WebSocketBadStatusException as refused:
        assert refused.status_code == 403


@test
def fields_cannot_be_smuggled(server):
    answer = server.call("POST", "/v1/images", {"reference": "none\r\nX-Evil: 1"})
    assert answer.status == 400 and "x-evil" not in answer.headers
    for path in ("/v1/domains/a%0d%0aX-Evil:1", "/v1/domains/%2e%2e", "/v1/domains/..%2f..%2fetc%2fpasswd", "/v1/domains/-rf"):
        answer = server.call("GET", path)
        assert answer.status == 400 and "x-evil" not in answer.headers, path


@test
def metrics(server):
    text = server.call("GET", "/metrics").body.decode()
    assert 'nagaya_domain_cpu_seconds_total{domain="web",kind="vm",project="default"}' in text
    seen = set()
    for line in text.splitlines():
        if line.startswith("# TYPE"):
            name = line.split()[2]
            assert name not in seen, name
            seen.add(name)
        elif not line.startswith("#"):
            assert re.fullmatch(r'[a-z_]+(\{([a-z_]+="([^"\\]|\\.)*",?)*\})? [-+0-9.e]+(inf|nan)?', line), line
            base = re.sub(r"_(bucket|sum|count)$", "", line.split("{")[0].split(" ")[0])
            assert base in seen or line.split("{")[0].split(" ")[0] in seen, line
    assert server.call("POST", "/metrics").status == 405
    assert server.call("GET", "/metrics?x=1").status == 200


@test
def interrupted_operations_and_tokens_survive(server):
    with tempfile.TemporaryDirectory() as state:
        with Server(program, state=state) as first:
            secret = first.call("POST", "/v1/tokens", {"name": "a", "role": "admin"}).json()["secret"]
            operation = first.call("POST", "/v1/images", {"reference": "slow"}).json()["id"]
            first.stop(signal.SIGKILL)
        with Server(program, state=state) as second:
            answer = second.call("GET", f"/v1/operations/{operation}", headers={"Authorization": "Bearer " + secret})
            assert answer.status == 200 and answer.json()["state"] == "failed" and "interrupted" in answer.json()["error"]["detail"]
            connection, events = events_of(second, "/v1/events?since=0")
            assert next(events)["event"] == "operation"
            connection.close()


@test
def one_server_for_one_state(server):
    other = subprocess.run([program, "--socket", server.socket + "2", "--state", server.state], capture_output=True, timeout=20)
    assert other.returncode == 125 and b"another server" in other.stderr


@test
def it_ends_well_under_way(server):
    with Server(program) as own:
        ws = open_socket(own, "/v1/domains/web/console")
        connection, events = events_of(own)
        logs = own.unix()
        logs.request("GET", "/v1/domains/web/logs?follow=true")
        assert logs.getresponse().status == 200
        idle = own.unix()
        idle.request("GET", "/healthz")
        idle.getresponse().read()
        waiting = own.unix()
        waiting.request("GET", "/v1/domains/web/wait?timeout=600")
        began = time.monotonic()
        assert own.stop() == 0
        assert time.monotonic() - began < 15, "it does not wait for what never ends"
        try:
            while ws.recv_data(control_frame=True)[0] != websocket.ABNF.OPCODE_CLOSE:
                pass
        except BrokenPipeError:
            pass  # it came, and cannot be answered any more
        assert waiting.getresponse().status == 503
        connection.close()


@test
def sockets_of_systemd(server):
    with tempfile.TemporaryDirectory() as folder:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(folder + "/s")
        listening.listen()
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(folder + "/n")
        notify.settimeout(20)

        # The environment is made in the child, which knows its own number.
        script = ("import os,sys; os.dup2(int(sys.argv[1]), 3, inheritable=True); os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1');"
                  "os.execv(sys.argv[2], sys.argv[2:])")
        child = subprocess.Popen(["/usr/bin/python3", "-c", script, str(listening.fileno()), program, "--state", folder],
                                 pass_fds=[listening.fileno()], env={**os.environ, "NOTIFY_SOCKET": folder + "/n"}, stderr=subprocess.DEVNULL)
        try:
            assert notify.recv(100) == b"READY=1"
            connection = http.client.HTTPConnection("localhost")
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(folder + "/s")
            connection.request("GET", "/v1/info")
            assert connection.getresponse().status == 200
            child.terminate()
            assert notify.recv(100) == b"STOPPING=1"
            assert child.wait(20) == 0
        finally:
            child.kill()
            child.wait()


@test
def over_tls(server):
    with tempfile.TemporaryDirectory() as folder:
        web = folder + "/web"
        os.makedirs(web + "/assets")
        open(web + "/index.html", "w").write("<title>console</title>")
        open(web + "/assets/a.js", "w").write("1")
        run = lambda *words: subprocess.run(words, check=True, capture_output=True, cwd=folder)
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=ca", "-days", "2")
        for name in ("ci", "nobody"):
            run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", name + ".key", "-out", name + ".csr", "-subj", "/CN=" + name)
            run("openssl", "x509", "-req", "-in", name + ".csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-out", name + ".crt", "-days", "2")
        with Server(program, "--web", web, "--tls-client-ca", folder + "/ca.crt", tcp=True) as own:
            secret = own.call("POST", "/v1/tokens", {"name": "ci", "role": "operator"}).json()["secret"]
            bearer = {"Authorization": "Bearer " + secret}
            assert own.call("GET", "/v1/info", connection=own.tls()).status == 401
            assert own.call("GET", "/v1/info", headers=bearer, connection=own.tls()).json()["caller"] == {"name": "ci", "role": "operator"}
            certificate = (folder + "/ci.crt", folder + "/ci.key")
            assert own.call("GET", "/v1/info", connection=own.tls(certificate)).json()["caller"]["name"] == "ci"
            assert own.call("GET", "/v1/info", connection=own.tls((folder + "/nobody.crt", folder + "/nobody.key"))).status == 401
            # The console's page needs no token, and carries its rules.
            page = own.call("GET", "/", connection=own.tls())
            assert page.status == 200 and b"console" in page.body
            policy = page.headers["content-security-policy"]
            assert "default-src 'none'" in policy and "unsafe-eval" not in policy and "script-src 'self'" in policy and "frame-ancestors 'none'" in policy
            assert "max-age" in page.headers["strict-transport-security"]
            assert own.call("GET", "/assets/a.js", connection=own.tls()).headers["cache-control"].endswith("immutable")
            assert own.call("GET", "/assets/../../etc/passwd.x", connection=own.tls()).status == 404
            # Names that are not ours: DNS rebinding; pages of others; our own page.
            assert own.call("GET", "/v1/info", headers={**bearer, "Host": "evil.example"}, connection=own.tls()).status == 421
            assert own.call("GET", "/v1/info", headers={**bearer, "Host": f"localhost:{own.port}"}, connection=own.tls()).status == 200
            assert own.call("GET", "/v1/info", headers={**bearer, "Origin": "https://evil.example"}, connection=own.tls()).status == 403
            origin = f"https://127.0.0.1:{own.port}"
            assert own.call("GET", "/v1/info", headers={**bearer, "Origin": origin}, connection=own.tls()).status == 200
            # A browser's token for a WebSocket; the server's answer does not repeat it.
            secure = ssl.create_default_context(cafile=own.state + "/server/tls.crt")
            secure.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            open_tls = lambda protocols, **how: websocket.create_connection(f"wss://127.0.0.1:{own.port}/v1/domains/web/console", sslopt={"context": secure},
                                                                            subprotocols=protocols, timeout=10, **(how or {"suppress_origin": True}))
            ws = open_tls(["nagaya.terminal", "nagaya.bearer." + secret], origin=origin)
            assert ws.getsubprotocol() == "nagaya.terminal"
            read_until(ws, b"web# ")
            for protocols, how, wanted in ((["nagaya.terminal"], {}, 401), (["nagaya.terminal", "nagaya.bearer.x"], {}, 401),
                                           (["nagaya.terminal", "nagaya.bearer." + secret], {"origin": "https://evil.example"}, 403)):
                try:
                    open_tls(protocols, **how)
                    assert False
                except websocket.WebSocketBadStatusException as refused:
                    assert refused.status_code == wanted
            # The token in a subprotocol is for WebSockets alone.
            assert own.call("GET", "/v1/info", headers={"Sec-WebSocket-Protocol": "nagaya.bearer." + secret}, connection=own.tls()).status == 401
            connection, events = events_of(own, headers=bearer, connection=own.tls())
            # A token that is withdrawn ends what it opened.
            assert own.call("DELETE", "/v1/tokens/ci").status == 204
            while True:
                code, data = ws.recv_data(control_frame=True)
                if code == websocket.ABNF.OPCODE_CLOSE:
                    assert int.from_bytes(data[:2], "big") == 1008
                    break
            assert list(events) == [] or True
            connection.close()
            # Guessing is slowed down.
            statuses = {own.call("GET", "/v1/info", headers={"Authorization": "Bearer wrong"}, connection=own.tls()).status for _ in range(40)}
            assert statuses == {401, 429}, statuses
            # Old TLS, and no TLS.
            old = ssl.create_default_context(cafile=own.state + "/server/tls.crt")
            old.maximum_version = ssl.TLSVersion.TLSv1_1
            try:
                old.wrap_socket(socket.create_connection(("127.0.0.1", own.port)), server_hostname="127.0.0.1")
                assert False, "TLS 1.1"
            except (ssl.SSLError, OSError):
                pass
            with socket.create_connection(("127.0.0.1", own.port), timeout=5) as plain:
                plain.sendall(get("/v1/info"))
                try:
                    assert b"200" not in plain.recv(100)
                except OSError:
                    pass
            mode = os.stat(own.state + "/server/tls.key").st_mode & 0o777
            assert mode == 0o600, oct(mode)
            os.kill(own.process.pid, signal.SIGHUP)
            assert own.call("GET", "/healthz", connection=own.tls()).status == 200
            assert own.stop() == 0


@test
def other_users(server):
    if os.geteuid() != 0:
        print("   (skipped: only root can be others)")
        return
    with tempfile.TemporaryDirectory() as state, Server(program, "--group", "daemon", state=state) as own:
        assert os.stat(own.socket).st_mode & 0o777 == 0o660
        os.chmod(own.folder.name, 0o755)
        os.chmod(own.socket, 0o666)
        script = ("import os,socket,sys\nos.setgroups([int(g) for g in sys.argv[3].split(',') if g])\nos.setgid(int(sys.argv[2].split(':')[1]))\n"
                  "os.setuid(int(sys.argv[2].split(':')[0]))\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n"
                  "s.sendall(b'GET /v1/info HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n')\nd=b''\nwhile (p:=s.recv(65536)): d+=p\nsys.stdout.buffer.write(d)")
        as_user = lambda who, groups: subprocess.run(["/usr/bin/python3", "-c", script, own.socket, who, groups], capture_output=True, timeout=20).stdout
        assert status(as_user("65534:65534", "")) == 403
        assert b'"role":"operator"' in as_user("65534:1", "")  # daemon is group 1 on Debian
        assert b'"role":"operator"' in as_user("65534:65534", "1")
        assert b'"role":"admin"' in as_user("0:0", "")


wanted = sys.argv[2:]
failed = 0
with Server(program) as shared:
    for one in tests:
        if wanted and one.__name__ not in wanted:
            continue
        began = time.monotonic()
        try:
            one(shared)
            print(f"ok   {one.__name__} ({time.monotonic() - began:.1f} s)", flush=True)
        except Exception:
            failed += 1
            print(f"FAILED {one.__name__}\n{traceback.format_exc()}", flush=True)
    if shared.process.poll() is not None:
        failed += 1
        print("FAILED the server has ended:", shared.said())
sys.exit(1 if failed else 0)
