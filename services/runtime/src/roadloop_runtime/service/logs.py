"""JSON logs to stdout, one event per line. Floods of a client in an outage are cut to a few lines."""

import logging
import sys
import time

import structlog

PER_WINDOW = 5
WINDOW_S = 10.0


class FloodFilter(logging.Filter):
    """Lets the first few of one kind of line through per window; the next window says how many were held back."""

    def __init__(self) -> None:
        super().__init__()
        self._windows: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        kind = (record.name, str(record.msg))
        opened_at, count = self._windows.get(kind, (0.0, 0))
        now = time.monotonic()
        if now - opened_at > WINDOW_S:
            self._windows[kind] = (now, 1)
            if count > PER_WINDOW:
                record.msg = f"{record.msg} [{count - PER_WINDOW} more like this were held back]"
            return True
        self._windows[kind] = (opened_at, count + 1)
        return count < PER_WINDOW


def configure(service: str, level: str) -> None:
    """Set logging up once per process."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    handler.addFilter(FloodFilter())
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for chatty_logger in ("aiokafka", "uvicorn", "faust", "mode", "faster_coco_eval"):
        logging.getLogger(chatty_logger).setLevel(logging.WARNING)
    structlog.contextvars.bind_contextvars(service=service)
