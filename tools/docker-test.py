"""Proves the cluster of deploy/compose.cluster.yaml: real files go in through both gateways while a processor, a gateway and NATS
are killed and come back; every file must end `ready`, each of its rules having succeeded once, with the bytes that went in.

tools/docker.sh test calls it with an engine that runs and the images that it needs.
"""

import hashlib
import json
import os
import pathlib
import secrets
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
COMPOSE = os.environ["COMPOSE"].split()
WORK = pathlib.Path(os.environ["WORK"])
PROJECT = f"usp-test-{os.getpid()}"
PATIENCE_S = 120
# Files go in at least until everything that is to be killed has been killed and is back.
FILE_COUNT_MIN = 120


def say(text):
    print(f"docker: {text}", file=sys.stderr, flush=True)


def run(*command, check=True):
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    if check and done.returncode != 0:
        raise SystemExit(f"docker: {' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def compose(*arguments, check=True):
    return run(*COMPOSE, "-p", PROJECT, "-f", "deploy/compose.cluster.yaml", *arguments, check=check)


def container(service):
    return compose("ps", "-q", service)


def address(service):
    networks = json.loads(run("docker", "inspect", container(service)))[0]["NetworkSettings"]["Networks"]
    return next(iter(networks.values()))["IPAddress"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(base, path, token=None, body=None, headers=None):
    """Gives status and body; 0 when nobody answers."""
    request = urllib.request.Request(base + path, data=body, method="PUT" if body is not None else "GET", headers=headers or {})
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


def until(what, fact, patience_s=PATIENCE_S):
    begun = time.monotonic()
    while True:
        found = fact()
        if found:
            return found
        if time.monotonic() - begun > patience_s:
            raise SystemExit(f"docker: waited {patience_s} s for {what}, in vain\n{compose('logs', '--tail', '20', check=False)}")
        time.sleep(0.2)


def real_files():
    """The sources of this repository as texts, again and again under other names. The built-in rule applies to each."""
    paths = sorted(path for kind in ("*.rs", "*.md", "*.toml") for path in ROOT.glob(f"[cds]*/**/{kind}") if path.is_file())
    number = 0
    while True:
        for path in paths:
            number += 1
            yield f"{number:05}/{path.relative_to(ROOT)}.txt", path.read_bytes()


class Uploads(threading.Thread):
    """Puts file after file, alternating between the doors; one that is not answered is sent again through another door."""

    def __init__(self, doors, token):
        super().__init__(daemon=True)
        self.doors, self.token = doors, token
        self.stop = threading.Event()
        self.files, self.retries, self.by_door, self.failure = {}, 0, {name: 0 for name in doors}, None

    def run(self):
        try:
            for number, (key, content) in enumerate(real_files()):
                if self.stop.is_set() and number >= FILE_COUNT_MIN:
                    return
                self.put(number, key, content)
        except BaseException as error:  # told by whoever joins
            self.failure = error

    def put(self, number, key, content):
        names = list(self.doors)
        for turn in range(10_000):
            name = names[(number + turn) % len(names)]
            # The same key makes a repeated upload one upload.
            headers = {"Content-Type": "text/plain", "Idempotency-Key": f"docker-test-{key}"}
            status, body = ask(self.doors[name], f"/api/v1/buckets/default/files/{key}", self.token, content, headers)
            if status in (200, 201):
                self.files[json.loads(body)["id"]] = hashlib.sha256(content).hexdigest()
                self.by_door[name] += 1
                return
            if 400 <= status < 500:
                raise SystemExit(f"docker: {key} was refused: {status} {body.decode()}")
            self.retries += 1
            time.sleep(0.1)
        raise SystemExit(f"docker: {key} was never taken")


def check(base, token, file_id, digest):
    def final():
        status, body = ask(base, f"/api/v1/files/{file_id}/status", token)
        told = json.loads(body) if status == 200 else {}
        return told if told.get("state") in ("ready", "failed") else None

    told = until(f"file {file_id} to be ready", final)
    rules = [run["rule"] for run in told["runs"]]
    if told["state"] != "ready" or len(rules) != len(set(rules)) or any(run["state"] != "succeeded" for run in told["runs"]):
        raise SystemExit(f"docker: not ready once: {told}")
    status, content = ask(base, f"/api/v1/files/{file_id}/content", token)
    if status != 200 or hashlib.sha256(content).hexdigest() != digest:
        raise SystemExit(f"docker: file {file_id} does not hold what was uploaded ({status})")
    return len(rules)


def kill_and_start(service, uploads):
    """SIGKILL; at least some more files go in without it; then it comes back and is healthy."""
    before = len(uploads.files)
    run("docker", "kill", container(service))
    until(f"uploads to go on without {service}", lambda: uploads.failure or len(uploads.files) >= before + 5)
    run("docker", "start", container(service))
    say(f"killed {service} and started it again; {len(uploads.files)} files so far")


def healthy(service):
    state = json.loads(run("docker", "inspect", container(service)))[0]["State"]
    return state["Running"] and state.get("Health", {"Status": "healthy"})["Status"] == "healthy"


def main():
    secret = WORK / "node.secret"
    secret.write_text("uspn_" + secrets.token_hex(32))
    os.chown(secret, 10001, 10001)
    secret.chmod(0o400)
    http, grpc = free_port(), free_port()
    os.environ.update(USP_HTTP=f"127.0.0.1:{http}", USP_GRPC=f"127.0.0.1:{grpc}", USP_NODE_SECRET=str(secret))
    begun = time.monotonic()
    try:
        compose("up", "-d")
        base = f"http://127.0.0.1:{http}"
        until("the cluster to be ready", lambda: ask(base, "/readyz")[0] == 200)
        services = ["storage", "gateway-1", "gateway-2", "processor-1", "processor-2", "processor-3"]
        for service in services:
            until(f"{service} to be healthy", lambda service=service: healthy(service))
        say(f"the cluster is up after {time.monotonic() - begun:.0f} s")
        token = compose("exec", "-T", "storage", "usp", "token", "--role", "admin", "--ttl", "1h")
        doors = {name: f"http://{address(name)}:8080" for name in ("gateway-1", "gateway-2")} | {"proxy": base}
        uploads = Uploads(doors, token)
        uploads.start()
        for service in ("processor-2", "gateway-2", "nats"):
            kill_and_start(service, uploads)
        uploads.stop.set()
        uploads.join()
        if uploads.failure:
            raise uploads.failure
        for service in services:
            until(f"{service} to be healthy again", lambda service=service: healthy(service))
        runs = sum(check(base, token, file_id, digest) for file_id, digest in uploads.files.items())
        if runs != len(uploads.files):
            raise SystemExit(f"docker: {runs} runs for {len(uploads.files)} files: the rule for texts was to apply to each")
        say(
            f"{len(uploads.files)} files through {uploads.by_door}, {uploads.retries} sent again; all ready, {runs} runs, "
            f"each succeeded once, in {time.monotonic() - begun:.0f} s"
        )
    finally:
        compose("down", "--volumes", "--timeout", "40", check=False)
        secret.unlink()


main()
