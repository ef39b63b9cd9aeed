"""A stand-in for Kubernetes: it takes jobs as the API server does, and runs their commands on this machine."""

import base64
import json
import os
import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


class Kube:
    """Jobs run as processes, in an empty folder and with no environment but their own."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.plugin: Path | None = None
        """Where the executor is installed."""
        self.secrets: dict[str, dict[str, str]] = {}
        self.processes: dict[str, subprocess.Popen] = {}
        self.taken: list[dict] = []
        self.deleted: list[str] = []
        self.kill: list[str] = []
        """What happens to the next jobs: 'pod' dies as soon as it starts, or its 'node' does, and the pod with it."""
        self.gone: set[str] = set()
        """Jobs whose pod went with its node."""
        (folder / "empty").mkdir(parents=True)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"kube": self}))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
            "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{self.server.server_port}"}}],
            "users": [{"name": "me", "user": {"token": "none"}}],
        }
        self.config = folder / "kubeconfig"
        self.config.write_text(json.dumps(config))

    def start(self, body: dict) -> None:
        """Refuses what the API server refuses, as far as this project's jobs could get it wrong."""
        name, pod = body["metadata"]["name"], body["spec"]["template"]["spec"]
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name)
        assert len(name) <= 63
        assert pod["restartPolicy"] == "Never"
        (container,) = pod["containers"]
        requests, limits = (container["resources"].get(kind, {}) for kind in ("requests", "limits"))
        assert all(re.fullmatch(r"\d+[mM]?", amount) for amount in (requests | limits).values())
        assert not [name for name in requests if "/" in name and requests[name] != limits.get(name)]
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
        environment = {"PATH": "/usr/bin:/bin"}
        for item in container["env"]:
            reference = item["valueFrom"]["secretKeyRef"]
            environment[item["name"]] = base64.b64decode(self.secrets[reference["name"]][reference["key"]]).decode()
        self.taken.append(body)
        command = container["command"] + container["args"]
        if what := self.kill and self.kill.pop(0):
            command = ["sh", "-c", "echo Killed; exit 137"]
            self.gone |= {name} if what == "node" else set()
        with (self.folder / f"{name}.out").open("w") as out:
            self.processes[name] = subprocess.Popen(
                command, cwd=self.folder / "empty", env=environment, stdout=out, stderr=out, start_new_session=True
            )

    def status(self, name: str) -> dict:
        code = self.processes[name].poll()
        return {"active": 1} if code is None else {"failed": 1} if code else {"succeeded": 1}

    def pods(self, name: str) -> list[dict]:
        if name in self.gone:
            return []
        code = self.processes[name].poll()
        state = {"running": {}} if code is None else {"terminated": {"exitCode": code}}
        container = {
            "name": "snakemake",
            "image": "",
            "imageID": "",
            "ready": False,
            "restartCount": 0,
            "state": state,
        }
        return [{"metadata": {"name": f"{name}-pod"}, "spec": None, "status": {"containerStatuses": [container]}}]

    def stop(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                os.killpg(process.pid, 9)
        self.server.shutdown()


class Handler(BaseHTTPRequestHandler):
    kube: Kube
    protocol_version = "HTTP/1.1"

    def log_message(self, *words) -> None:
        pass

    def answer(self, content: dict | str, code: int = 200) -> None:
        kind = "text/plain" if isinstance(content, str) else "application/json"
        data = (content if isinstance(content, str) else json.dumps(content)).encode()
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def refuse(self, code: int, why: str) -> None:
        self.answer({"kind": "Status", "status": "Failure", "message": why, "code": code}, code)

    def body(self) -> dict:
        return json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")

    def do_POST(self) -> None:
        body = self.body()
        path = urlsplit(self.path).path
        if path == "/api/v1/namespaces/research/secrets":
            self.kube.secrets[body["metadata"]["name"]] = body["data"]
        elif path == "/apis/batch/v1/namespaces/research/jobs":
            try:
                self.kube.start(body)
            except (AssertionError, KeyError) as error:
                return self.refuse(422, repr(error))
        else:
            return self.refuse(404, path)
        return self.answer(body, 201)

    def do_GET(self) -> None:
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        if found := re.fullmatch(r"/apis/batch/v1/namespaces/research/jobs/(.+)/status", path):
            if found[1] in self.kube.deleted:
                return self.refuse(404, path)
            status = self.kube.status(found[1])
            return self.answer({"kind": "Job", "apiVersion": "batch/v1", "metadata": {}, "status": status})
        if path == "/api/v1/namespaces/research/pods":
            items = self.kube.pods(query["labelSelector"][0].removeprefix("job-name="))
            return self.answer({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})
        if found := re.fullmatch(r"/api/v1/namespaces/research/pods/(.+)-pod/log", path):
            if query.get("previous", [""])[0].lower() == "true":  # of a container that was restarted; none of ours is
                return self.refuse(400, f'previous terminated container "snakemake" in pod "{found[1]}" not found')
            return self.answer((self.kube.folder / f"{found[1]}.out").read_text())
        return self.refuse(404, path)

    def do_DELETE(self) -> None:
        self.body()
        folder, _, name = urlsplit(self.path).path.rpartition("/")
        if folder.endswith("/jobs"):
            self.kube.deleted.append(name)
            if self.kube.processes[name].poll() is None:
                os.killpg(self.kube.processes[name].pid, 9)
        return self.answer({"kind": "Status", "status": "Success"})
