"""The framework's requests and responses as messages of ours."""

import flask

from modeldrop.http.messages import Asked, Reply


def asked_of(request: flask.Request) -> Asked:
    """What the framework's request asks."""
    return Asked(
        request.method,
        request.path,
        {name: ",".join(texts) for name, texts in request.args.lists()},
        request.headers,
        request.stream,
        request.environ.get("SERVER_NAME", ""),
        request.remote_addr or "",
    )


def response_of(reply: Reply) -> flask.Response:
    """The reply as the framework's response; what is to be done afterwards is done when it is on its way."""
    response = flask.Response(reply.body, reply.status, reply.headers, content_type=reply.content_type)
    if reply.afterwards is not None:
        response.call_on_close(reply.afterwards)
    return response
