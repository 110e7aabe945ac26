"""How much a client may take, and for how long.

Every limit ends in an answer or in a closed connection, and none in a server that waits:

    connections, per peer and in all    503, closed
    head: bytes, number of headers      431, closed
    head: seconds                       408, closed
    body: bytes                         413, closed
    bodies of all connections: bytes    503, closed
    body: bytes per second              408, closed
    requests sent ahead                 503, closed
    idle                                closed
    a reply that is not taken           closed
    a handler whose client said no more closed
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server allows.  Seconds are of wall time, whatever time the loop counts.

    Attributes:
        connections_max: Connections in all; each costs a descriptor, of which a process has 1024
            unless it asked for more.
        peer_connections_max: Connections of one address; 64 concurrent clients on one machine are
            expected, with a few each.
        head_bytes_max: Request line and headers; servers in the field allow 8 to 64 KiB.
        headers_max: Number of headers and trailers; servers in the field allow 100.
        body_bytes_max: One body.
        bodies_bytes_max: What all connections together may have sent of bodies that are not
            complete yet.
        pipelined_max: Requests that one read may bring at once.
        head_seconds: From the first byte of a head to its last; on a new connection, from its
            start.
        body_seconds: What a body may take in any case.
        body_rate_min: Bytes a second that a body must reach on average beyond that.
        idle_seconds: Between requests; longer than clients keep a connection that they do not use.
        stall_seconds: While a reply lies ready and not one byte of it is taken.
        orphan_seconds: How long a handler may go on for a client that has closed its side.
        linger_seconds: How long what still comes is read and dropped after a refusal, so that the
            refusal is not lost to a reset.
        handshake_seconds: For the handshake of TLS.
        tick_seconds: How often all this is looked at; every time above is met to within two.
        gzip_bytes_min: Text that is at least so long is compressed for clients that say they take
            it; None for never.  Compressing takes longer than a loopback or a fast network does.
        gzip_bytes_max: Text that is longer is not compressed: other connections wait meanwhile.
    """

    connections_max: int = 512
    peer_connections_max: int = 256
    head_bytes_max: int = 32 << 10
    headers_max: int = 100
    body_bytes_max: int = 16 << 20
    bodies_bytes_max: int = 128 << 20
    pipelined_max: int = 100
    head_seconds: float = 20.0
    body_seconds: float = 20.0
    body_rate_min: float = 1024.0
    idle_seconds: float = 120.0
    stall_seconds: float = 60.0
    orphan_seconds: float = 30.0
    linger_seconds: float = 2.0
    handshake_seconds: float = 10.0
    tick_seconds: float = 0.5
    gzip_bytes_min: int | None = None
    gzip_bytes_max: int = 1 << 20

    def ticks(self, seconds: float) -> int:
        """Return how many ticks must pass before so many seconds have."""
        return int(seconds / self.tick_seconds) + 1
