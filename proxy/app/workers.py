"""Several processes that share the port for clients: one that only watches over them, and starts those anew that die."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from scalesim.proxy.configuration import Configuration

from .listeners import bound_socket

log = logging.getLogger(__name__)

AGAIN_S = 0.5
"""Before a worker that died is started anew; twice as long each time if it did not live long."""
LONGEST_S = 30.0
LONG_S = 10.0
"""Who lived for so long did not die of its start."""
_TOLD = frozenset({signal.SIGINT, signal.SIGTERM})
_SIGNALS = _TOLD | {signal.SIGHUP, signal.SIGCHLD}


class Workers:
    """`work` serves in a process of its own, on a port that it shares with others, and returns its exit code."""

    def __init__(self, configuration: Configuration, work: Callable[[Configuration], int]) -> None:
        self._configuration = configuration
        self._port = configuration.settings.port
        self._work = work
        self._alive: dict[int, tuple[int, float]] = {}
        """Numbers and beginnings by process id."""
        self._due: dict[int, float] = {}
        """When those that died are to be started again."""
        self._pauses: dict[int, float] = {}
        self._ends, self._held = os.pipe()
        self._last = _TOLD if configuration.can_be_read_again else _TOLD | {signal.SIGHUP}
        """Signals to end by: a closed terminal is one, where there is nothing to read again."""

    def run(self) -> int:
        """Until SIGINT or SIGTERM: then all of them finish what runs, and a second signal cuts that off. SIGHUP has the config file, keys and certificates
        read again, and is as SIGTERM where there are none. The exit code: that of the first worker that cannot serve at all, else 0. Raises `CannotListen`."""
        settings = self._configuration.settings
        # Keeps the port while no worker listens, and finds one that is free; it takes no connection itself.
        with bound_socket(settings.host, settings.port, shared=True) as reserved:
            self._port = reserved.getsockname()[1]
            before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
            try:
                return self._watch()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _watch(self) -> int:
        ending, code = False, 0
        for number in range(self._configuration.settings.workers):
            self._start(number)
        while self._alive or not ending:
            told = self._next_signal()
            if told in self._last:
                ending = True
                self._due.clear()
                self._tell(signal.SIGTERM)
            elif told == signal.SIGHUP:
                self._tell(signal.SIGHUP)
            for number, status, lived_s in self._ended():
                if ending:
                    continue
                if status > 0 and number not in self._pauses and lived_s < LONG_S:
                    # It says itself what is wrong, and none of the others will do better.
                    ending, code = True, status
                    self._tell(signal.SIGTERM)
                    continue
                self._start_later(number, status, lived_s)
            now = time.monotonic()
            for number in [one for one, due in self._due.items() if due <= now]:
                del self._due[number]
                self._start(number)
        return code

    def _next_signal(self) -> int | None:
        wait_s = min(self._due.values(), default=None)
        if wait_s is None:
            return signal.sigwaitinfo(_SIGNALS).si_signo
        found = signal.sigtimedwait(_SIGNALS, max(0.0, wait_s - time.monotonic()))
        return None if found is None else found.si_signo

    def _start_later(self, number: int, status: int, lived_s: float) -> None:
        pause_s = AGAIN_S if lived_s >= LONG_S else min(2 * self._pauses.get(number, AGAIN_S / 2), LONGEST_S)
        self._pauses[number] = pause_s
        self._due[number] = time.monotonic() + pause_s
        how = f"signal {-status}" if status < 0 else f"status {status}"
        log.error("worker %d has ended (%s), and is started again in %g s", number, how, pause_s)

    def _ended(self) -> list[tuple[int, int, float]]:
        found = []
        for process, (number, began) in list(self._alive.items()):
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                del self._alive[process]
                found.append((number, os.waitstatus_to_exitcode(status), time.monotonic() - began))
        return found

    def _tell(self, what: signal.Signals) -> None:
        for process in self._alive:
            with suppress(ProcessLookupError):
                os.kill(process, what)

    def _start(self, number: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        process = os.fork()
        if process:
            self._alive[process] = number, time.monotonic()
            return
        code = 1
        try:
            # Signals of the terminal go to the one that watches, which passes them on.
            os.setpgid(0, 0)
            os.close(self._held)
            threading.Thread(target=self._end_when_alone, daemon=True).start()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            code = self._work(self._configuration_of(number))
        except BaseException:
            log.exception("worker %d failed", number)
        finally:
            logging.shutdown()
            sys.stdout.flush()
            os._exit(code)

    def _end_when_alone(self) -> None:
        """The other end is closed once nobody watches any more."""
        os.read(self._ends, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    def _configuration_of(self, number: int) -> Configuration:
        port = self._configuration.settings.admin_port
        return self._configuration.with_ports(self._port, port + number if port else 0)
