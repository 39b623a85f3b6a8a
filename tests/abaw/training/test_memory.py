"""A process that trains one network after another gives back what the earlier ones needed."""

import platform

import psutil
import torch

from abaw.training.workers import give_memory_back

MEBI = 2**20


def test_memory_that_is_free_between_things_in_use_goes_back_to_the_machine():
    process = psutil.Process()
    blocks = [torch.ones(16 * 1024) for _ in range(4000)]  # 64 KiB each: from the heap, not mapped one by one
    used = process.memory_info().rss
    kept = blocks[::100]
    del blocks
    give_memory_back()
    if platform.libc_ver()[0] == "glibc":  # other C libraries have their own ways
        assert used - process.memory_info().rss > 150 * MEBI
    assert all(bool((block == 1).all()) for block in kept)
