"""What one message may weigh, and how slowly a download may be taken."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds at the door, as ``GET /api/limits`` shows them.

    Bytes are counted after decompression, text in characters.
    """

    body_bytes: int = 5 * 1024 * 1024
    batch_bytes: int = 64 * 1024 * 1024
    batch_lines: int = 10_000
    depth: int = 64
    nodes: int = 5_000
    text: int = 255
    error_message_bytes: int = 64 * 1024
    stack_bytes: int = 256 * 1024
    node_data_bytes: int = 1024 * 1024
    page_size_default: int = 50
    page_size_max: int = 500
    offset_max: int = 10_000


@dataclass(frozen=True, slots=True)
class DownloadPace:
    """How fast a client has to take a streamed answer, which holds a thread until it has.

    Only the time counts in which we wait for the client. In each window of so many seconds it takes
    the least rate on average, else it is cut; so the first window is its grace.
    """

    bytes_per_second: int = 1024
    window_seconds: float = 30.0
