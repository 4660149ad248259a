"""Messages are read in any thread, also by several that are the first to read one of its type."""

from __future__ import annotations

import subprocess
import sys

RACE = """
import sys, threading, types
from tidegate.schemas.message import Message, decode, encode

FIELDS = "".join(f"    f{number}: 'Annotated[int, msgspec.Meta(ge=0)]' = 0\\n" for number in range(8))
SOURCE = "import msgspec\\nfrom typing import Annotated\\nfrom tidegate.schemas.message import Message\\n"
for depth in range(12):
    inner = f"    inner: 'S{depth - 1} | None' = None\\n" if depth else ""
    SOURCE += f"class S{depth}(msgspec.Struct, frozen=True):\\n{FIELDS}{inner}    def __post_init__(self): pass\\n"
SOURCE += "class Outer(Message, frozen=True, kw_only=True):\\n    inner: 'S11'\\n"

def read_in_threads(number):
    module = types.ModuleType(f"fresh{number}")
    sys.modules[module.__name__] = module
    exec(SOURCE, module.__dict__)
    data = encode(module.Outer(inner=module.S11()))
    barrier, read = threading.Barrier(4), []
    def go():
        barrier.wait()
        read.append(decode(data, module.Outer))
    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert len(read) == 4

sys.setswitchinterval(1e-6)
for number in range(60):
    read_in_threads(number)
"""


def test_threads_that_read_a_type_for_the_first_time_do_not_end_the_process() -> None:
    ended = subprocess.run([sys.executable, "-c", RACE], capture_output=True, check=False, timeout=60)
    assert ended.returncode == 0, ended.stderr.decode()[-400:]
