"""The exceptions of the library. A message names the place, what was found and what is allowed."""

from __future__ import annotations


class Error(RuntimeError):
    """What the library throws; `code` is the name of the C++ library's ErrorCode, or "closed"."""

    code: str = "unknown"


class BadFileError(Error):
    """A model, vocabulary, state or session file is damaged, missing or not what it says."""

    code = "bad_file"


class UnsupportedError(Error):
    """Well-formed, but nothing this build can run."""

    code = "unsupported"


class BadRequestError(Error, ValueError):
    """An argument is out of range."""

    code = "bad_request"


class NoDeviceError(Error):
    """There is no adapter, or not the one that was asked for."""

    code = "no_device"


class OutOfMemoryError(Error, MemoryError):
    """GPU or host memory does not suffice."""

    code = "out_of_memory"


class DeviceLostError(Error):
    """The GPU went away and could not be brought back: open the model anew."""

    code = "device_lost"


class CancelledError(Error):
    """The call was cancelled."""

    code = "cancelled"


class ClosedError(Error):
    """A model or session was used after close(), or in a process forked from the one that opened it."""

    code = "closed"


_CLASSES: dict[str, type[Error]] = {
    cls.code: cls
    for cls in (
        BadFileError,
        UnsupportedError,
        BadRequestError,
        NoDeviceError,
        OutOfMemoryError,
        DeviceLostError,
        CancelledError,
        ClosedError,
    )
}


def of_code(code: str, message: str) -> Error:
    """The exception for a code of the C++ library."""
    return _CLASSES.get(code, Error)(message)
