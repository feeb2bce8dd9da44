"""What every service's HTTP side has in common: problem+json, ETags, cursors, strict bodies, and the edge around it.

- `problem`: an error as a value, and as `application/problem+json` (RFC 9457).
- `edge`: ASGI middleware around any application: trace, limits, health, errors.
- `conditional`: ETag, If-Match, If-None-Match (RFC 9110).
- `cursor`: opaque signed cursors and `limit`.
- `body`: a strict JSON body as a msgspec Struct.
"""
