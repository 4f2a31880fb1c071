#!/usr/bin/env python3
"""Records the bodies that a real dockerd answers with, masked, as the shape to which ours are compared.

    record.py SOCKET VERSION...

The daemon has to be private and empty but for an image `box:latest` with a `cat`. Bodies are written to
VERSION/NAME.json beside this file, each as {"status": …, "body": …}. Ids, times, digests, addresses and what depends
on the host are masked.
"""
import json
import pathlib
import re
import socket
import sys
import time

MASKS = [
    (r"sha256:[0-9a-f]{64}", "<digest>"),
    (r"\b[0-9a-f]{64}\b", "<id>"),
    (r"\b[0-9a-f]{12}\b", "<short id>"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", "<time>"),
    (r"02:42(:[0-9a-f]{2}){4}", "<mac>"),
    (r"/[a-z0-9/_.-]*/(containers|volumes|overlay2|netns)/", r"/ROOT/\1/"),
]
NUMBERS = {"Created", "time", "timeNano", "Pid", "Size", "VirtualSize", "LayersSize", "SpaceReclaimed"}
HOST = {"info", "version"}


def mask(value, key=None, host=False):
    if isinstance(value, dict):
        return {mask(name): mask(member, name, host) for name, member in value.items()}
    if isinstance(value, list):
        return [mask(member, key, host) for member in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return 0 if host or key in NUMBERS else value
    if host:
        return "<text>"
    for pattern, word in MASKS:
        if not value.startswith("0001-"):
            value = re.sub(pattern, word, value)
    return value


class Daemon:
    def __init__(self, path, version):
        self.path, self.version = path, version
        self.folder = pathlib.Path(__file__).parent / version
        self.folder.mkdir(exist_ok=True)

    def ask(self, method, path, body=None):
        client = socket.socket(socket.AF_UNIX)
        client.connect(self.path)
        client.settimeout(30)
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} /v{self.version}{path} HTTP/1.0\r\nHost: d\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        client.sendall(head.encode() + content)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
        head, _, content = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), content.decode()

    def record(self, name, method, path, body=None, lines=False):
        status, content = self.ask(method, path, body)
        value = None
        if content.strip():
            value = [json.loads(line) for line in content.splitlines()] if lines else json.loads(content)
        if name == "networks":
            value.sort(key=lambda network: network["Name"])
        masked = {"status": status, "body": mask(value, host=name in HOST)}
        text = json.dumps(masked, indent=1, sort_keys=True) + "\n"
        (self.folder / f"{name}.json").write_text(text)
        return value


def session(daemon):
    began = int(time.time())
    daemon.record("version", "GET", "/version")
    daemon.record("info", "GET", "/info")
    daemon.record("unknown-route", "GET", "/nothing")
    daemon.record("images", "GET", "/images/json")
    daemon.record("image", "GET", "/images/box/json")
    daemon.record("history", "GET", "/images/box/history")
    daemon.record("no-image", "GET", "/images/nothing/json")
    daemon.record("volume-create", "POST", "/volumes/create", {"Name": "golden", "Labels": {"a": "b"}})
    daemon.record("volumes", "GET", "/volumes")
    daemon.record("volume", "GET", "/volumes/golden")
    daemon.record("no-volume", "GET", "/volumes/nothing")
    daemon.record("networks", "GET", "/networks")
    daemon.record("no-network", "GET", "/networks/nothing")

    config = {
        "Image": "box",
        "Cmd": ["cat"],
        "Env": ["A=b"],
        "OpenStdin": True,
        "Labels": {"a": "b"},
        "ExposedPorts": {"80/tcp": {}},
        "HostConfig": {"Binds": ["golden:/data"], "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "0"}]}},
    }
    container = daemon.record("create", "POST", "/containers/create?name=golden", config)["Id"]
    daemon.record("create-name-in-use", "POST", "/containers/create?name=golden", config)
    daemon.record("create-no-image", "POST", "/containers/create", {"Image": "nothing"})
    daemon.record("create-empty", "POST", "/containers/create", {})
    daemon.record("create-no-body", "POST", "/containers/create")
    daemon.record("container-created", "GET", f"/containers/{container}/json")
    daemon.record("no-container", "GET", "/containers/nothing/json")
    daemon.record("kill-not-running", "POST", f"/containers/{container}/kill")
    daemon.record("start", "POST", f"/containers/{container}/start")
    daemon.record("start-again", "POST", f"/containers/{container}/start")
    daemon.record("container-running", "GET", f"/containers/{container}/json?size=1")
    daemon.record("containers", "GET", "/containers/json?size=1")
    daemon.record("network", "GET", "/networks/bridge")
    daemon.record("remove-running", "DELETE", f"/containers/{container}")
    daemon.record("exec-no-command", "POST", f"/containers/{container}/exec", {})
    command = daemon.record("exec-create", "POST", f"/containers/{container}/exec", {"Cmd": ["true"]})["Id"]
    daemon.record("exec-start", "POST", f"/exec/{command}/start", {"Detach": True})
    time.sleep(1)
    daemon.record("exec", "GET", f"/exec/{command}/json")
    daemon.record("no-exec", "GET", "/exec/nothing/json")
    daemon.record("logs-no-stream", "GET", f"/containers/{container}/logs")
    daemon.record("rename-empty", "POST", f"/containers/{container}/rename?name=")
    daemon.record("bad-filter", "GET", "/containers/json?filters=%7B%22nothing%22%3A%5B%22a%22%5D%7D")
    daemon.record("stop", "POST", f"/containers/{container}/stop?t=0")
    daemon.record("stop-again", "POST", f"/containers/{container}/stop?t=0")
    daemon.record("wait", "POST", f"/containers/{container}/wait")
    daemon.record("container-exited", "GET", f"/containers/{container}/json")
    daemon.record("df", "GET", "/system/df")
    daemon.record("prune-containers", "POST", "/containers/prune")
    daemon.record("prune-containers-none", "POST", "/containers/prune")
    daemon.record("volume-remove", "DELETE", "/volumes/golden")
    daemon.record("prune-volumes-none", "POST", "/volumes/prune")
    daemon.record("prune-networks-none", "POST", "/networks/prune")
    daemon.record("tag", "POST", "/images/box/tag?repo=golden&tag=1")
    daemon.record("untag", "DELETE", "/images/golden:1")
    daemon.record("prune-images-none", "POST", "/images/prune")
    time.sleep(1)
    daemon.record("events", "GET", f"/events?since={began}&until={int(time.time())}&filters=%7B%22container%22%3A%5B%22golden%22%5D%7D", lines=True)
    daemon.record("swarm", "GET", "/swarm")
    daemon.record("services", "GET", "/services")
    daemon.record("plugins", "GET", "/plugins")
    daemon.record("no-plugin", "GET", "/plugins/nothing/json")


for version in sys.argv[2:]:
    session(Daemon(sys.argv[1], version))
