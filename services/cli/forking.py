"""The process that a site's workers are forked from: it imports their code and opens their models, once.

What it has then is theirs without a copy, until one of them writes to a page. It has one thread, no event loop and no
connection, for a fork takes none of these along. Next: services/fleet/fork_server.py, which asks for workers.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tidegate.brokers.process.heap import frozen_heap
from tidegate.brokers.process.lifecycle import end_with_parent, resolve
from tidegate.brokers.stage import Stage
from tidegate.schemas import TidegateError
from tidegate.schemas.message import learn_types
from tidegate.services.cli.terminal import flush
from tidegate.services.fleet.fork_server import ForkNotice, ForkRequest
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.privacy.site_key import KEY_BYTES, derive_key
from tidegate.services.settings import Settings

MODULE = "tidegate.services.cli"
PR_SET_NAME = 15
CommandRunner = Callable[[list[str]], None]


class ThreadsBeforeForkError(TidegateError, RuntimeError):
    """A thread runs where workers are to be forked: it would hold its locks for ever in each of them."""

    hint = "start one process for a site, without --processes or --replicas, and report which library it is"

    def __init__(self, threads: int) -> None:
        super().__init__(f"{threads} threads run in the process that workers are forked from")


def serve_forks(settings: Settings, stages: Sequence[Stage], run: CommandRunner) -> None:
    """Open what the stages need, then fork a worker for each request on stdin, until that ends.

    `run` is given the worker's command line. Workers end when this process does. Raises `ThreadsBeforeForkError`.
    """
    prepare(settings, stages)
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        raise ThreadsBeforeForkError(threads)
    with frozen_heap(), _ends_of_workers() as ends:
        _tell(ForkNotice())
        for line in _lines(0, ends):
            _fork(msgspec.json.decode(line, type=ForkRequest), run)


def prepare(settings: Settings, stages: Sequence[Stage]) -> None:
    """Import what the stages and a site's gateway run, and open the models that more than one of them reads, or that
    are large.

    A model that cannot be opened is left to the worker that needs it, which says so where a worker's faults are told.
    """
    from tidegate.services.evidence import worker  # noqa: F401 - for the workers
    from tidegate.services.gateway import composition  # noqa: F401
    from tidegate.services.knowledge.embedding import Embedder
    from tidegate.services.knowledge.extraction.field_reader import FieldReader
    from tidegate.services.knowledge.reader.unit_reader import UnitReader
    from tidegate.services.knowledge.safety_head import SafetyHead
    from tidegate.services.privacy.dlp.person_model import PersonModel
    from tidegate.services.replication import hub, site  # noqa: F401 - the sync worker is forked, too
    from tidegate.services.stages.prefilter.language import LanguageModel
    from tidegate.services.uplink import stream_check  # noqa: F401

    for stage in stages:
        resolve(stage)
    derive_key(bytes(KEY_BYTES), "the first use of the library of ciphers, which sets it up")
    models, names = StatePaths(settings).models, {stage.name for stage in stages}
    needed: list[tuple[set[str], Callable[[], object]]] = [
        ({"prefilter", "retriever", "drafter", "fast-lane", "cloud-verifier"}, lambda: Embedder.load(models)),
        ({"drafter", "fast-lane", "cloud-verifier"}, lambda: UnitReader.load(models)),
        ({"drafter"}, lambda: FieldReader.load(models)),
        ({"prefilter"}, lambda: SafetyHead.load(models)),
        ({"prefilter"}, lambda: LanguageModel(settings.prefilter.languages)),
        ({"prefilter"}, lambda: PersonModel.load(models) if settings.prefilter.name_model else None),
    ]
    for who, load in needed:
        if who & names:
            try:
                load()
            except (TidegateError, ValueError):
                continue
    learn_types()  # when all is imported, or each worker would look again


@contextmanager
def _ends_of_workers() -> Iterator[int]:
    """What can be read as soon as a worker has ended."""
    ends, wakes = os.pipe()
    os.set_blocking(wakes, False)
    before = signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    try:
        yield ends
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, before)
        os.close(ends)
        os.close(wakes)


def _lines(source: int, ends: int) -> Iterator[bytes]:
    """The lines of `source` until it is closed; tells of the workers that end meanwhile."""
    rest = b""
    while True:
        ready, _, _ = select.select([source, ends], [], [])
        if ends in ready:
            os.read(ends, 4096)
            _tell_ends()
        if source in ready:
            read = os.read(source, 1 << 16)
            if not read:
                return
            *lines, rest = (rest + read).split(b"\n")
            yield from lines


def _tell_ends() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:  # there is none left
            return
        if not pid:
            return
        _tell(ForkNotice(pid, os.waitstatus_to_exitcode(status)))


def _tell(notice: ForkNotice) -> None:
    os.write(1, msgspec.json.encode(notice) + b"\n")  # less than a pipe takes in one piece


def _fork(request: ForkRequest, run: CommandRunner) -> None:
    server = os.getpid()
    pid = os.fork()
    if pid:
        _tell(ForkNotice(pid))
        return
    code = 1
    try:
        _become_worker(request, server)
        run([*request.argv[request.argv.index(MODULE) + 1 :], "--parent", str(server)])  # the last one counts
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        flush()
        os._exit(code)  # nothing of the server's that is still to be left may be left here


def _become_worker(request: ForkRequest, server: int) -> None:
    """Have of the server its memory alone. Raises `OSError`; `SystemExit` where the server has just ended."""
    end_with_parent()
    if os.getppid() != server:
        raise SystemExit(1)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    with Path(os.devnull).open("rb") as nothing, Path(request.log).open("ab") as output:
        for own, file in ((0, nothing), (1, output), (2, output)):
            os.dup2(file.fileno(), own)
    os.environ.clear()
    os.environ.update(request.env)
    name = Path(request.log).stem.encode()
    ctypes.CDLL(None).prctl(PR_SET_NAME, name)  # what `ps` and `top` show; all have one command line
