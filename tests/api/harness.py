"""A live server over the fake back end, and plain HTTP to it: what the tests of the API share."""
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import tempfile
import time

import yaml


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=20):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


class Server:
    """Started for a test, ended with it. `program` is nagaya-server-fake."""

    def __init__(self, program, *options, state=None, tcp=False):
        self.folder = tempfile.TemporaryDirectory(prefix="nagaya-api-")
        self.socket = os.path.join(self.folder.name, "api.sock")
        self.state = state or self.folder.name
        self.port = None
        words = [program, "--socket", self.socket, "--state", self.state, *options]
        if tcp:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
            words += ["--listen", f"127.0.0.1:{self.port}"]
        self.errors = open(os.path.join(self.folder.name, "errors"), "w+")
        self.process = subprocess.Popen(words, stderr=self.errors)
        deadline = time.monotonic() + 30
        while True:
            try:
                self.unix().request("GET", "/healthz")
                break
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("the server did not start: " + self.said())
                time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        self.folder.cleanup()

    def said(self):
        self.errors.seek(0)
        return self.errors.read()

    def stop(self, how=signal.SIGTERM):
        """Gives the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def unix(self):
        return UnixConnection(self.socket)

    def tls(self, certificate=None):
        context = ssl.create_default_context(cafile=os.path.join(self.state, "server", "tls.crt"))
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if certificate:
            context.load_cert_chain(*certificate)
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=20)

    def call(self, method, path, body=None, headers=None, connection=None):
        connection = connection or self.unix()
        headers = dict(headers or {})
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        try:
            try:
                connection.request(method, path, body, headers)
            except BrokenPipeError:
                pass  # refused before the body was taken: the answer is there
            response = connection.getresponse()
            return Answer(response.status, dict((k.lower(), v) for k, v in response.getheaders()), response.read())
        finally:
            connection.close()

    def raw(self, data, wait=5.0, half_close=False):
        """Sends bytes as they are; gives what comes back until the end, or until it is quiet for `wait` seconds."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.settimeout(wait)
            s.connect(self.socket)
            try:
                s.sendall(data)
                if half_close:
                    s.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            out = b""
            try:
                while piece := s.recv(65536):
                    out += piece
            except OSError:
                pass
            return out

    def resident(self):
        with open(f"/proc/{self.process.pid}/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


def document(path):
    with open(path) as f:
        return yaml.safe_load(f)


def resolve(doc, node):
    """Follows references, everywhere within the node."""
    if isinstance(node, dict):
        if "$ref" in node:
            target = doc
            for part in node["$ref"][2:].split("/"):
                target = target[part]
            return resolve(doc, target)
        return {k: resolve(doc, v) for k, v in node.items()}
    if isinstance(node, list):
        return [resolve(doc, v) for v in node]
    return node


def operations(doc):
    """(method, path, operation) with parameters of the path taken in, references resolved."""
    for path, item in doc["paths"].items():
        for method in ("get", "post", "put", "patch", "delete"):
            if method in item:
                operation = resolve(doc, item[method])
                operation["parameters"] = resolve(doc, item.get("parameters", [])) + operation.get("parameters", [])
                yield method.upper(), path, operation


def finished(server, answer, headers=None, connection=None):
    """The operation an answer of 202 tells of, when it has ended."""
    assert answer.status == 202, (answer.status, answer.body)
    return server.call("GET", answer.headers["location"] + "?wait=20", headers=headers, connection=connection).json()
