"""A real server with an image that both kinds of domain start from, and people at consoles."""
import json
import os
import pty
import select
import signal
import socket
import subprocess
import tempfile
import time

import websocket

from harness import UnixConnection

# What a request or a command gives: done, or why not. The command line's own errors are all 125; the API says which.
OK, GONE, BUSY, WRONG = "ok", "missing", "conflict", "refused"
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

    def end_at_once(self, name, kind, place):
        """kill -9 of its monitor and all below it."""
        if kind == "vm":
            monitor = int(open(place + "/pid").read())
        else:
            monitor = json.loads(self.say("inspect", name).stdout)["status"]["monitor"]

        def below(process):
            out = [process]
            for task in os.listdir(f"/proc/{process}/task"):
                for child in open(f"/proc/{process}/task/{task}/children").read().split():
                    out += below(int(child))
            return out

        os.kill(monitor, signal.SIGSTOP)  # so that it starts nothing meanwhile
        for process in reversed(below(monitor)):
            os.kill(process, signal.SIGKILL)

    def ready(self, name):
        """A machine is asked once it answers: a container is there at once."""
        deadline = time.monotonic() + 90
        while self.say("exec", name, "/bin/true").returncode != 0 and time.monotonic() < deadline:
            time.sleep(0.2)


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


def on_server(arguments, run):
    """Calls run(host, check) with a server of its own for NAGAYA GUESTS STATE; the exit code."""
    if os.geteuid() != 0:
        print("skipped: this test of containers is root's")
        return 77
    host = Host(*arguments)
    failures = 0

    def check(ok, what):
        nonlocal failures
        if not ok:
            failures += 1
            print("FAILED", what, flush=True)

    try:
        run(host, check)
    finally:
        check(host.close() == 0, "the server did not end well")
    print(f"{failures} failures")
    return 1 if failures else 0
