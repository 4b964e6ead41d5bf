#!/usr/bin/env python3
"""Client certificates end to end: authorities and certificates by openssl(1), callers Python's TLS, curl and `nagaya --host`.
Usage: certificates_test.py nagaya-server-fake [nagaya]"""
import datetime
import os
import shutil
import ssl
import subprocess
import sys
import tempfile

from harness import Server

failures = 0


def check(ok, what):
    global failures
    if not ok:
        failures += 1
    print("ok: " + what if ok else "FAILED: " + what, flush=True)


def openssl(*words):
    subprocess.run(["openssl", *words], check=True, capture_output=True)


class Authority:
    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.key, self.certificate = f"{folder}/{name}.key", f"{folder}/{name}.crt"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.key, "-out", self.certificate, "-subj", f"/CN={name}", "-days", "2")
        os.makedirs(f"{folder}/{name}.d")
        with open(f"{folder}/{name}.d/index", "w"):
            pass
        with open(f"{folder}/{name}.cnf", "w") as file:
            file.write(f"[ca]\ndefault_ca=own\n[own]\ndatabase={folder}/{name}.d/index\nnew_certs_dir={folder}/{name}.d\nrand_serial=yes\ndefault_md=sha256\n"
                       f"certificate={self.certificate}\nprivate_key={self.key}\npolicy=any\nunique_subject=no\n[any]\ncommonName=supplied\norganizationName=optional\n")

    def sign(self, subject, file, begin=-1, end=1):
        """Days from now. Gives certificate and key."""
        base = f"{self.folder}/{file}"
        stamp = [(datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=d)).strftime("%Y%m%d%H%M%SZ") for d in (begin, end)]
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", base + ".key", "-out", base + ".csr", "-subj", subject)
        openssl("ca", "-batch", "-config", f"{self.folder}/{self.name}.cnf", "-in", base + ".csr", "-out", base + ".crt", "-notext",
                "-startdate", stamp[0], "-enddate", stamp[1])
        return base + ".crt", base + ".key"


def main():
    program = sys.argv[1]
    nagaya = sys.argv[2] if len(sys.argv) > 2 else None
    if not shutil.which("openssl"):
        print("skipped: no openssl")
        return 77
    with tempfile.TemporaryDirectory(prefix="nagaya-certificates-") as folder:
        ours, other = Authority(folder, "ours"), Authority(folder, "other")
        with Server(program, "--tls-client-ca", ours.certificate, tcp=True) as server:
            run(server, ours, other, nagaya)
            check(server.stop() == 0, "the server ends well")
    print(f"{failures} failures")
    return 1 if failures else 0


def run(server, ours, other, nagaya):
    for name, role in (("laptop", "operator"), ("eye", "viewer"), ("boss", "admin"), ("gone", "admin"), ("later", "admin")):
        assert server.call("POST", "/v1/tokens", {"name": name, "role": role}).status == 201
    laptop, eye, boss, gone = (ours.sign(f"/CN={name}", name) for name in ("laptop", "eye", "boss", "gone"))

    def status(certificate, method="GET", path="/v1/domains", headers=None):
        """Of the answer; "refused": TLS itself said no."""
        try:
            return server.call(method, path, headers=headers, connection=server.tls(certificate)).status
        except (ssl.SSLError, ConnectionError, OSError):
            return "refused"

    check(status(None) == 401, "no certificate, no token: a caller without a name")
    check(status(eye) == 200, "a viewer sees")
    check(status(eye, "POST", "/v1/domains/db/pause") == 403, "and acts not")
    check(status(eye, "GET", "/v1/tokens") == 403, "nor sees tokens")
    check(status(laptop, "POST", "/v1/domains/db/pause") == 202, "an operator acts")
    check(status(laptop, "GET", "/v1/tokens") == 403, "and gives no tokens")
    check(status(boss, "GET", "/v1/tokens") == 200, "an admin does")
    check(status(ours.sign("/CN=nobody", "nobody")) == 401, "a name that no token has")
    check(status(ours.sign("/O=boss/CN=eye", "odd"), "GET", "/v1/tokens") == 403, "only the common name counts")
    # Two common names are none: nobody may choose which one is read.
    check(status(ours.sign("/CN=boss/CN=eye", "two"), "GET", "/v1/domains") in (401, "refused"), "two common names")
    check(status(other.sign("/CN=boss", "forged")) == "refused", "another authority's")
    check(status(ours.sign("/CN=boss", "expired", -3, -1)) == "refused", "one that has expired")
    check(status(ours.sign("/CN=boss", "early", 1, 2)) == "refused", "one that is not valid yet")
    check(status((boss[0], laptop[1])) == "refused" if pair_refused(server, boss[0], laptop[1]) is None else True, "another's key")
    check(status(gone, "GET", "/v1/tokens") == 200, "one whose token will be withdrawn")
    assert server.call("DELETE", "/v1/tokens/gone").status == 204
    check(status(gone) == 401, "is nobody afterwards")
    # An end of the token is the certificate's, too.
    assert server.call("DELETE", "/v1/tokens/later").status == 204
    past = server.call("POST", "/v1/tokens", {"name": "later", "role": "admin", "expires": "2001-01-01T00:00:00Z"})
    check(past.status in (400, 422) or status(ours.sign("/CN=later", "later")) == 401, "a token that has ended")

    if shutil.which("curl"):
        def curl(*words):
            done = subprocess.run(["curl", "-sS", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", server.state + "/server/tls.crt", *words,
                                   f"https://127.0.0.1:{server.port}/v1/domains"], capture_output=True, text=True, check=False)
            return done.stdout if done.returncode == 0 else "refused"
        check(curl("--cert", eye[0], "--key", eye[1]) == "200", "curl with a certificate")
        check(curl() == "401", "curl without")
        check(curl("--cert", f"{other.folder}/forged.crt", "--key", f"{other.folder}/forged.key") in ("refused", "000"), "curl with a forged one")
    said = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-CAfile", server.state + "/server/tls.crt", "-partial_chain"],
                          input="", capture_output=True, text=True, timeout=20, check=False).stdout
    check("CN = ours" in said and "Verify return code: 0" in said, "the server names the authority it takes")
    if not nagaya:
        return

    def remote(certificate, *words):
        options = ["--client-cert", certificate[0], "--client-key", certificate[1]] if certificate else []
        return subprocess.run([nagaya, "--host", f"https://127.0.0.1:{server.port}", "--ca-file", server.state + "/server/tls.crt", *options, *words],
                              capture_output=True, text=True, timeout=60, check=False)
    check("db" in remote(eye, "ps", "-a").stdout, "nagaya --host with a certificate")
    check(remote(eye, "stop", "db").returncode == 125, "a viewer's stop is refused")
    check(remote(boss, "token", "list").returncode == 0, "an admin's tokens")
    for certificate, what in ((None, "none"), (gone, "a withdrawn one"), ((f"{other.folder}/forged.crt", f"{other.folder}/forged.key"), "a forged one"),
                              ((f"{ours.folder}/expired.crt", f"{ours.folder}/expired.key"), "an expired one"), ((boss[0], laptop[1]), "another's key"),
                              ((ours.folder + "/missing", boss[1]), "a file that is not there")):
        done = remote(certificate, "ps")
        check(done.returncode == 125 and done.stderr.startswith("nagaya: ") and not done.stdout, f"nagaya --host with {what}: {done.stderr.strip()[:140]}")


def pair_refused(server, certificate, key):
    """Python refuses such a pair by itself: then the server is not asked."""
    try:
        server.tls((certificate, key))
    except ssl.SSLError as error:
        return error
    return None


sys.exit(main())
