"""An agent that speaks A2A 1.0 by JSON-RPC, and asks for whom a text is before it writes it. Standard library only.

`editor.py PORT FILE` goes on in the background, writes the id of its process to FILE, and ends by itself after ten minutes.
"""

import json
import os
import signal
import sys
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = os.environ["EDITOR_KEY"]
PORT = int(sys.argv[1])
TASKS = {}


def card():
    address = {"url": f"http://127.0.0.1:{PORT}/a2a", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
    modes = {"defaultInputModes": ["text/plain"], "defaultOutputModes": ["application/json"]}
    skill = {"id": "write", "name": "write", "description": "Writes leaflets", "tags": ["text"]}
    about = {"name": "editor", "description": "Writes for given readers", "version": "1", "capabilities": {}}
    return {**about, **modes, "skills": [skill], "supportedInterfaces": [address]}


def status(state, words):
    parts = [{"text": words}]
    return {"state": state, "message": {"messageId": str(uuid.uuid4()), "role": "ROLE_AGENT", "parts": parts}}


def begin(message):
    # The same message again is the same task: a runner that was lost may have sent it.
    for task in TASKS.values():
        if task["message"]["messageId"] == message["messageId"]:
            return task
    task = {"id": str(uuid.uuid4()), "contextId": message.get("contextId") or str(uuid.uuid4()), "message": message}
    task["status"] = status("TASK_STATE_INPUT_REQUIRED", "For whom is it: nurses, or visitors?")
    TASKS[task["id"]] = task
    return task


def go_on(task, message):
    readers = message["parts"][0]["text"]
    inputs = next(part["data"]["inputs"] for part in task["message"]["parts"] if "data" in part)
    data = {"title": f"{inputs['topic']} for {readers}".capitalize(), "words": inputs["words"]}
    task["artifacts"] = [{"artifactId": "leaflet", "parts": [{"data": data}]}]
    task["status"] = status("TASK_STATE_COMPLETED", "written for " + readers)
    return task


def call(method, params):
    if method == "ListTasks":
        context = params["contextId"]
        return {"tasks": [task for task in TASKS.values() if task["contextId"] == context], "nextPageToken": ""}
    if method == "SendMessage":
        message = params["message"]
        task = TASKS[message["taskId"]] if "taskId" in message else None
        return {"task": go_on(task, message) if task else begin(message)}
    task = TASKS[params["id"]]
    if method == "CancelTask":
        task["status"] = status("TASK_STATE_CANCELED", "as you wish")
    return task


class Editor(BaseHTTPRequestHandler):
    def answer(self, code, document):
        body = json.dumps(document).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/.well-known/agent-card.json":
            self.answer(200, card())
        else:
            self.answer(404, {})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        reply = {"jsonrpc": "2.0", "id": asked["id"]}
        if self.headers.get("X-Api-Key") != KEY:
            self.answer(401, {})
        elif self.headers.get("A2A-Version") != "1.0":
            self.answer(200, reply | {"error": {"code": -32009, "message": "Version not supported"}})
        else:
            try:
                self.answer(200, reply | {"result": call(asked["method"], asked["params"])})
            except KeyError:
                self.answer(200, reply | {"error": {"code": -32001, "message": "Task not found"}})

    def log_message(self, *_):
        pass


SERVER = ThreadingHTTPServer(("127.0.0.1", PORT), Editor)
if child := os.fork():
    with open(sys.argv[2], "w") as file:
        file.write(str(child))
    print("the editor listens")
    sys.exit()
os.dup2(os.open(os.devnull, os.O_RDWR), 1)
os.dup2(1, 2)
signal.alarm(600)
SERVER.serve_forever()
