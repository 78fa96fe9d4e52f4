"""State dicts of PyTorch: the same arrays as in the network, and nothing in a file runs."""

import pickle
import sys
import zipfile

import numpy as np
import pytest

from accelsim.cli import main
from accelsim.errors import InputError
from accelsim.network.state_dict import read_state_dict
from accelsim.network.weights import read_weights
from accelsim.network.zoo import named_graph


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_saved_network_comes_back(tmp_path, wrapped):
    torch = pytest.importorskip("torch")
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).half()
    state = network.state_dict()
    path = tmp_path / "net.pth"
    torch.save({"epoch": 3, "state_dict": state} if wrapped else state, path)
    arrays = read_weights(path)
    assert set(arrays) == {name for name, tensor in state.items() if tensor.is_floating_point()}
    for name, array in arrays.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, state[name].float().numpy())


def test_a_network_of_the_zoo_is_imported_by_name(tmp_path, capsys):
    torch = pytest.importorskip("torch")
    shapes = named_graph("resnet20-cifar10").parameters
    torch.save({name: torch.full(shape, 0.01) for name, shape in shapes.items()}, tmp_path / "r.pt")
    arguments = ["import", str(tmp_path / "r.pt"), "--network", "resnet20-cifar10", "-o", str(tmp_path / "r.dual")]
    assert main(arguments) == 0
    assert "269,722 parameters" in capsys.readouterr().err


class Runs:
    """What a pickle of somebody's runs."""

    def __reduce__(self):
        return print, ("ran",)


def test_what_a_pickle_would_run_does_not_run(tmp_path, capsys):
    torch = pytest.importorskip("torch")
    torch.save({"a": Runs()}, tmp_path / "evil.pt")
    with pytest.raises(InputError, match=r"evil\.pt: not a state dict"):
        read_state_dict(tmp_path / "evil.pt")
    (tmp_path / "old.pt").write_bytes(pickle.dumps(Runs()))
    with pytest.raises(InputError, match=r"old\.pt: not a file of torch\.save"):
        read_state_dict(tmp_path / "old.pt")
    assert capsys.readouterr().out == ""


def test_sizes_are_bounded_before_memory_is_taken(tmp_path):
    torch = pytest.importorskip("torch")
    huge = torch.zeros(1).expand(1 << 40)  # one number, told of as a million million
    torch.save({"w": huge}, tmp_path / "huge.pt")
    with pytest.raises(InputError, match=r"over 100000 tensors or \d+ numbers in them"):
        read_state_dict(tmp_path / "huge.pt")
    torch.save({"w": torch.zeros(5000)}, tmp_path / "stored.pt")
    with zipfile.ZipFile(tmp_path / "stored.pt") as stored, zipfile.ZipFile(tmp_path / "packed.pt", "w") as packed:
        for name in stored.namelist():
            packed.writestr(name, stored.read(name), zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="members are packed"):
        read_state_dict(tmp_path / "packed.pt")
    torch.save([torch.zeros(3)], tmp_path / "list.pt")
    with pytest.raises(InputError, match="holds no state dict"):
        read_state_dict(tmp_path / "list.pt")


@pytest.mark.parametrize(("version", "told"), [(None, "pip install torch"), ("2.5.1", "expected 2.6 or newer")])
def test_without_a_pytorch_that_can_it_is_told_what_to_do(tmp_path, monkeypatch, version, told):
    class Module:
        __version__ = version

    monkeypatch.setitem(sys.modules, "torch", None if version is None else Module())
    (tmp_path / "x.pt").write_bytes(b"")
    with pytest.raises(InputError, match=told):
        read_state_dict(tmp_path / "x.pt")


def test_what_is_no_plain_tensor_by_name_is_refused(tmp_path):
    torch = pytest.importorskip("torch")
    w = torch.ones(2, 3)
    states = {
        "sparse": ({"a": w.to_sparse()}, "'a' is torch.sparse_coo on cpu"),
        "meta": ({"a": w.to("meta")}, "'a' is torch.strided on meta"),
        "numbers": ({0: w, "0": 2 * w}, "by other things than their names"),
        "two": ({"model": {"a": w}, "state_dict": {"a": 2 * w}}, "expected one state dict"),
        "stretched": ({"a": torch.ones(1).expand(300_000_000)}, "numbers in them"),  # 1.2 GB of a file of 1 kB
    }
    for name, (state, message) in states.items():
        torch.save(state, tmp_path / f"{name}.pt")
        with pytest.raises(InputError, match=message):
            read_state_dict(tmp_path / f"{name}.pt")


def test_an_archive_of_an_unknown_version_is_refused(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"a": torch.ones(2)}, tmp_path / "a.pt")
    content = bytearray((tmp_path / "a.pt").read_bytes())
    content[content.index(b"PK\x01\x02") + 6] = 200  # the version that its first member needs
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(InputError, match=r"not a file of torch\.save"):
        read_state_dict(tmp_path / "a.pt")
