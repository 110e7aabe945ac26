"""What makes a run repeatable and readable: named random streams, and a journal of events."""

from stuntdouble.trace.journal import Event, Journal
from stuntdouble.trace.streams import Stream, Streams, stream_key, unit

__all__ = ["Event", "Journal", "Stream", "Streams", "stream_key", "unit"]
