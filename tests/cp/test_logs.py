import logging
import sys

from aiohttp.http_exceptions import BadHttpMessage, BadStatusLine

from cp.logs import ClientsFault


def record_of(error: Exception) -> logging.LogRecord:
    try:
        raise error
    except Exception:
        return logging.LogRecord("aiohttp.server", logging.ERROR, "f", 1, "Error", (), sys.exc_info())


def test_bytes_that_are_not_http_are_one_line() -> None:
    record = record_of(BadStatusLine("\x00" * 1000))
    assert ClientsFault().filter(record)
    assert record.exc_info is None
    assert record.levelno == logging.INFO
    assert "\n" not in record.getMessage()
    assert len(record.getMessage()) < 500


def test_what_was_sent_is_not_told() -> None:
    """A header that is malformed may still be somebody's token."""
    record = record_of(
        BadHttpMessage("Invalid header value char:\n\n  b'Authorization: Bearer eyJhbGci\\xff'")
    )
    assert ClientsFault().filter(record)
    assert "Invalid header" in record.getMessage() and "Bearer" not in record.getMessage()


def test_an_error_of_ours_keeps_its_traceback() -> None:
    record = record_of(RuntimeError("bug"))
    assert ClientsFault().filter(record)
    assert record.exc_info is not None
    assert record.levelno == logging.ERROR
