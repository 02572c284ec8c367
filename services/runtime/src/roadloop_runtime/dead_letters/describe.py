"""A dead letter in words, for the person who has to decide what becomes of it."""

import json

from roadloop_runtime.cli.terminal import escape_controls
from roadloop_runtime.dead_letters.dead_letters import DeadLetterRecord
from roadloop_schemas.cloudevents import Header

SHOWN_BYTES = 4_096
NOT_SAID = "(its group does not say)"


def describe(dead_letter: DeadLetterRecord, limit_bytes: int = SHOWN_BYTES) -> str:
    """Say why a record died, what can be done, and what it was; key, headers and value are cut at a limit."""
    explanation = dead_letter.explanation
    origin = f"{explanation.get('topic', '?')}/{explanation.get('partition', '?')}/{explanation.get('offset', '?')}"
    lines = [
        f"letter   {dead_letter.place}",
        f"record   {origin}, given up by group {explanation.get('group', '?')}",
        f"reason   {dead_letter.reason}",
        f"detail   {explanation.get('message', NOT_SAID)}",
        f"field    {explanation.get('field', NOT_SAID)}",
        f"rule     {explanation.get('rule', NOT_SAID)}",
        f"remedy   {explanation.get('remedy', NOT_SAID)}",
        f"key      {_format_bytes(dead_letter.key, limit_bytes)}",
        "headers",
        *(f"  {_format_header(header, limit_bytes)}" for header in dead_letter.headers),
        "value",
        format_value(dead_letter.value, limit_bytes),
    ]
    return escape_controls("\n".join(lines))


def _format_header(header: Header, limit_bytes: int) -> str:
    name, value = header
    return f"{name}: {_format_bytes(value, limit_bytes)}"


def _format_bytes(value: bytes | None, limit_bytes: int) -> str:
    return "(null)" if value is None else format_text(value, limit_bytes).replace("\n", "\\n")


def format_value(value: bytes | None, limit_bytes: int) -> str:
    """Show JSON indented, other text as it is, and the rest in hex; say how much was cut."""
    if value is None:
        return "(null)"
    try:
        indented = json.dumps(json.loads(value), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return format_text(value, limit_bytes)
    return format_text(indented.encode(errors="backslashreplace"), limit_bytes)


def format_text(value: bytes, limit_bytes: int) -> str:
    """Decode UTF-8 that is cut at a limit, or show hex where it is no UTF-8."""
    shown, cut = value[:limit_bytes], len(value) - limit_bytes
    rest = f"… ({cut} bytes more)" if cut > 0 else ""
    try:
        value.decode()
    except UnicodeDecodeError:
        return f"hex {shown.hex(' ')}{rest}"
    return shown.decode(errors="ignore") + rest
