"""What one message may weigh. ``GET /api/limits`` shows these figures; API.md's rules name them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds at the door. Bytes are counted after decompression, text in characters."""

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
