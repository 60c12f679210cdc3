"""A generation call between its two events."""

from __future__ import annotations

from collections.abc import Callable

from scalesim.proxy.core.events import CallEnded, Event
from scalesim.proxy.core.model import CallId, Clock, Outcome, Usage

from .usage import Witness


class Call:
    """Posts its `CallEnded`, once."""

    def __init__(
        self,
        call: CallId,
        post: Callable[[Event], None],
        clock: Callable[[], float],
        *,
        acts_for: tuple[float, Clock] | None,
        abort_id: str | None,
        ends: bool,
        remember: Callable[[Usage], None] | None,
        read: Callable[[Witness], tuple[float, Clock] | None] | None,
        hear: Callable[[CallId, float, str], None] | None,
        record: Callable[[Call, float, Outcome, Usage | None], None] | None,
    ) -> None:
        """`ends`: its agent's activation does so with it. `remember` is called with the usage of a call that was answered whole,
        and `read` with its answer; of every call `hear`, with what it said (nothing, if it was not answered whole), and
        `record`, with when and how it ended."""
        self.abort_id = abort_id
        self.witness: Witness | None = None
        """Of the answer, once there is one."""
        self.status: int | None = None
        self.first_byte_at: float | None = None
        """Of the answer's body; only kept where it is recorded."""
        self._call = call
        self._post = post
        self._clock = clock
        self._acts_for = acts_for
        self._ends = ends
        self._remember = remember
        self._read = read
        self._hear = hear
        self._record = record
        self._ended = False

    def see_the_first(self) -> None:
        """A piece of the answer has come."""
        if self.first_byte_at is None and self._record is not None:
            self.first_byte_at = self._clock()

    def end(self, outcome: Outcome, usage: Usage | None = None) -> bool:
        """Posts `CallEnded` the first time it is called, and says whether this was it."""
        if self._ended:
            return False
        self._ended = True
        # The last byte is on its way already, and the client's next call cannot start before this one has ended.
        said = None
        if outcome is Outcome.DONE and self.witness is not None and self._read is not None:
            said = self._read(self.witness)
        at = self._clock()
        self._post(CallEnded(at, self._call, outcome, usage, self._acts_for, said, self._ends))
        if outcome is Outcome.DONE and usage is not None and self._remember is not None:
            self._remember(usage)
        if self._hear is not None:
            is_whole = outcome is Outcome.DONE and self.witness is not None
            self._hear(self._call, at, self.witness.text() if is_whole and self.witness else "")
        if self._record is not None:
            self._record(self, at, outcome, usage)
        return True

    def end_without_a_client(self) -> bool:
        """Ends a call that nobody waits for, and says whether it was cut off.

        It was not if the stream's own end has gone by: clients close right after they read it, and by then the end of
        the engine's connection may not have come.
        """
        if self._ended:
            return False
        if self.witness is not None and self.witness.saw_the_end():
            self.end(Outcome.DONE, self.witness.usage())
            return False
        return self.end(Outcome.CLIENT_GONE)
