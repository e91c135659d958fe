"""Work on a GPU that is captured once and played back: a launch of a graph in place of hundreds of kernels."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch


class Captured:
    """Runs work on a device: as it is on a CPU; on CUDA as a graph, once the same work was done before.

    The work takes nothing and gives nothing: it changes tensors in place, which are the same as long as its key is.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.captures = device.type == "cuda"
        """Work is played back, so that shapes should be few, and a look at the device costs more than a token."""
        self._key: Hashable = None
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, key: Hashable, work: Callable[[], None]) -> None:
        if not self.captures:
            work()
        elif key != self._key:
            # The first time loads kernels and makes handles, which a capture must not.
            self._key, self._graph = key, None
            aside = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
            aside.wait_stream(torch.cuda.current_stream(self._device))
            with torch.cuda.stream(aside):
                work()
            torch.cuda.current_stream(self._device).wait_stream(aside)
        else:
            if self._graph is None:
                self._graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(self._graph):  # only notes what is to be done
                    work()
            self._graph.replay()
