"""OpenTelemetry, if the operator has installed it and starts the service with `opentelemetry-instrument`.

The instrumentation of aiohttp makes the spans. Here are the ids of the trace for the log, the header for requests to
others, and the removal of the query from a span. Without the package nothing of this costs anything.
"""

try:
    from opentelemetry import propagate, trace
except ImportError:
    propagate = trace = None

IS_INSTALLED = trace is not None


def ids() -> dict[str, str]:
    """Return `trace_id` and `span_id` of the current span in hexadecimal; nothing without one."""
    if not IS_INSTALLED:
        return {}
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def headers() -> dict[str, str]:
    """Return the headers that let another service continue the trace (W3C Trace Context); none without a span."""
    carrier: dict[str, str] = {}
    if ids():
        propagate.inject(carrier)
    return carrier


def hide_query(path: str, url: str) -> None:
    """Take the query out of the attributes of the request's span: a search or a cursor is the user's, not the log's.

    The names are those of both conventions for HTTP spans, the older and the stable one.

    Args:
        path: The path alone.
        url: The whole address without its query.
    """
    trace.get_current_span().set_attributes({"http.target": path, "http.url": url, "url.query": ""})
