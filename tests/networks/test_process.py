"""What torch keeps for a whole process is as it was after a function of E2M, however that ends."""

import pytest
import torch

from e2m.networks.process import restored
from e2m.training import loop
from tests.training.test_loop import Counter, recipe


def kept():
    fills = torch.utils.deterministic.fill_uninitialized_memory
    return torch.get_num_threads(), torch.get_deterministic_debug_mode(), fills


@pytest.fixture(autouse=True)
def _as_before():
    with restored():
        yield


@pytest.fixture(params=[(1, "default", True), (2, "warn", False), (3, "error", True)])
def before(request):
    """What a caller may have set."""
    threads, mode, fills = request.param
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode(mode)
    torch.utils.deterministic.fill_uninitialized_memory = fills
    return kept()


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_threads_and_algorithms_are_as_before(before, error):
    @restored()
    def work():
        torch.set_num_threads(4)
        torch.set_deterministic_debug_mode("warn" if before[1] != 1 else "default")
        torch.utils.deterministic.fill_uninitialized_memory = not before[2]
        assert all(one != other for one, other in zip(kept(), before, strict=True))
        if error:
            raise error

    if error:
        with pytest.raises(error):
            work()
    else:
        work()
    assert kept() == before


@pytest.mark.parametrize("stop", [None, 2])
def test_a_training_repeats_its_results_and_leaves_the_process_as_it_was(before, tmp_path, stop):
    during = []

    class Watched(Counter):
        def epoch(self, epoch):
            during.append(kept())
            return super().epoch(epoch)

    try:
        loop.run(lambda: Watched(stop=stop), tmp_path / "a.pt", recipe(), progress=False)
    except KeyboardInterrupt:
        assert stop
    assert set(during) == {(before[0], 1, False)}
    assert kept() == before
