"""Services that answer with the prefix and the path that their server has read: `asgi` for
Daphne, `wsgi` for gunicorn."""


async def asgi(scope, receive, send):
    body = f"{scope['root_path']} {scope['path']}".encode()
    length = (b"Content-Length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})


def wsgi(environ, start_response):
    body = f"{environ['SCRIPT_NAME']} {environ['PATH_INFO']}".encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
