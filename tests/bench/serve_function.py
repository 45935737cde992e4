"""``python -m tests.bench.serve_function NAME SOURCE PORT``: a function under uvicorn, in one process until it ends.

The framework's own server does the same with gunicorn around it, whose sockets make asyncio leave out TCP_NODELAY:
with few clients each answer then takes 40 ms, and nothing else can be measured.
"""

import sys

import functions_framework
import uvicorn
from a2wsgi import WSGIMiddleware
from starlette.applications import Starlette

if __name__ == "__main__":
    name, source, port = sys.argv[1:]
    app = functions_framework.create_app(target=name, source=source)
    if not isinstance(app, Starlette):
        app = WSGIMiddleware(app)
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning", access_log=False)
