"""A server of the Model Context Protocol on standard input and output, with one tool, by hand."""
import json
import sys

BOOKS = {"ocean": ["Moby Dick", "The Sea"], "space": ["Solaris"]}
TOOL = {
    "name": "find",
    "description": "Finds books on a subject",
    "inputSchema": {"type": "object", "properties": {"subject": {"type": "string"}}, "required": ["subject"]},
}


def answer(method, params):
    if method == "initialize":
        server = {"name": "library", "version": "1"}
        return {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": server}
    if method == "tools/list":
        return {"tools": [TOOL]}
    books = BOOKS.get(params["arguments"]["subject"], [])
    print("found", len(books), "books", file=sys.stderr)
    found = {"books": books, "count": len(books)}
    return {"content": [{"type": "text", "text": json.dumps(found)}], "structuredContent": found}


for line in sys.stdin:
    message = json.loads(line)
    if "id" in message and "method" in message:
        result = answer(message["method"], message.get("params"))
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
