"""A stand-in for Kubernetes: it takes jobs as the API server does, and runs their commands on this machine."""

import json
import os
import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


class Kube:
    """Jobs of ``bodies`` run as processes, in an empty folder and with no environment but their own."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.bodies: dict[str, dict] = {}
        self.processes: dict[str, subprocess.Popen] = {}
        self.taken: list[dict] = []
        self.deleted: list[str] = []
        self.kill = 0
        """Jobs that die as soon as they start."""
        self.refuse: list[int] = []
        """Codes of the next answers to lists of jobs."""
        self.obstacle = ""
        """Why no pod starts, for whoever asks first."""
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
        for kind in ("requests", "limits"):
            assert all(re.fullmatch(r"\d+M?", amount) for amount in container["resources"][kind].values())
        assert not [
            key
            for key in container["resources"]["requests"]
            if "/" in key and key not in container["resources"]["limits"]
        ]
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
        environment = {"PATH": "/usr/bin:/bin"} | {item["name"]: item["value"] for item in container["env"]}
        self.bodies[name] = body
        self.taken.append(body)
        command = container["command"]
        if self.kill:
            self.kill, command = self.kill - 1, ["sh", "-c", "echo Killed; exit 137"]
        with (self.folder / f"{name}.out").open("w") as out:
            self.processes[name] = subprocess.Popen(
                command, cwd=self.folder / "empty", env=environment, stdout=out, stderr=out, start_new_session=True
            )

    def status(self, name: str) -> dict:
        code = self.processes[name].poll()
        if code is None:
            return {"active": 1}
        kind = "Failed" if code else "Complete"
        return {
            "conditions": [{"type": kind, "status": "True", "message": "Job has reached the specified backoff limit"}]
        }

    def pod(self, name: str) -> dict:
        code = self.processes[name].poll()
        state = (
            {"terminated": {"exitCode": code, "reason": "Error" if code else "Completed"}}
            if code is not None
            else {"running": {}}
        )
        if self.obstacle:
            state = {"waiting": {"reason": self.obstacle, "message": "because"}}
        container = {"name": "job", "image": "", "imageID": "", "ready": False, "restartCount": 0, "state": state}
        return {"metadata": {"name": f"{name}-pod"}, "spec": None, "status": {"containerStatuses": [container]}}

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

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if urlsplit(self.path).path != "/apis/batch/v1/namespaces/research/jobs":
            return self.refuse(404, self.path)
        try:
            self.kube.start(body)
        except (AssertionError, KeyError) as error:
            return self.refuse(422, repr(error))
        return self.answer(body, 201)

    def do_GET(self) -> None:
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        key, _, value = query.get("labelSelector", [""])[0].partition("=")
        if path == "/apis/batch/v1/namespaces/research/jobs":
            if self.kube.refuse:
                return self.refuse(self.kube.refuse.pop(), "not now")
            found = [body for body in self.kube.bodies.values() if body["metadata"]["labels"].get(key) == value]
            items = [
                {"metadata": body["metadata"], "status": self.kube.status(body["metadata"]["name"])} for body in found
            ]
            return self.answer({"kind": "JobList", "apiVersion": "batch/v1", "metadata": {}, "items": items})
        if path == "/api/v1/namespaces/research/pods":
            found = [
                name for name, body in self.kube.bodies.items() if value in (name, body["metadata"]["labels"].get(key))
            ]
            items = [self.kube.pod(name) for name in found]
            self.kube.obstacle = ""
            return self.answer({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})
        if found := re.fullmatch(r"/api/v1/namespaces/research/pods/(.+)-pod/log", path):
            if "true" in query.get("previous", []):
                return self.refuse(400, "previous terminated container not found")
            return self.answer((self.kube.folder / f"{found[1]}.out").read_text())
        return self.refuse(404, self.path)

    def do_DELETE(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        name = urlsplit(self.path).path.rpartition("/")[2]
        if self.kube.bodies.pop(name, None) is None:
            return self.refuse(404, name)
        self.kube.deleted.append(name)
        if self.kube.processes[name].poll() is None:
            os.killpg(self.kube.processes[name].pid, 9)
        return self.answer({"kind": "Status", "status": "Success"})
