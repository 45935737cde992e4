"""``POST /reload``: look for another version now, and say which one answers."""

from modeldrop.handlers.serving.service import Service
from modeldrop.http.messages import Reply, json_reply, problem
from modeldrop.serving.served_version import NotServing, Serving


def answer_reload(service: Service) -> Reply:
    """200 with the version that answers from now on; 503 if another one is wanted and cannot be served."""
    before = service.version.now()
    after = service.version.reload()
    if isinstance(after, NotServing):
        kept = f"; version {before.version} goes on" if isinstance(before, Serving) else ""
        return problem(503, f"{after.reason}{kept}")
    changed = not isinstance(before, Serving) or before.digest != after.digest or before.version != after.version
    return json_reply(200, {"status": "ok", "model": after.model, "version": after.version, "changed": changed})
