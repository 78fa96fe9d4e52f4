"""Forward, gradients and running statistics of whole networks against PyTorch (optional: ``pip install .[peers]``)."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from accelsim.network.graph import Graph  # noqa: E402
from accelsim.network.zoo import alexnet, resnet18, resnet20, squeezenet11  # noqa: E402
from accelsim.training.compiled import CompiledNetwork, Execution, Learning  # noqa: E402, Execution, Learning
from accelsim.training.first_weights import initial_arrays  # noqa: E402
from accelsim.training.losses import cross_entropy  # noqa: E402
from tests.training.torch_twin import Twin  # noqa: E402

CASES = {
    "resnet20": (resnet20().with_input_shape((16, 16, 3)), 6),
    "resnet18": (resnet18().with_input_shape((64, 64, 3)), 4),
    "resnet18-pooled": (resnet18(pooled=True).with_input_shape((64, 64, 3)), 4),
    "alexnet": (alexnet(), 2),
}


@pytest.mark.parametrize("name", CASES)
def test_a_training_step_equals_pytorchs(name: str) -> None:
    """One of three batches must agree in all gradients: where a ReLU's input is zero to within rounding, float32 and
    float64 take different branches, which happens to PyTorch as to us; a real fault shows in every batch."""
    faults = []
    for seed in range(3):
        faults.append(different_gradients(*CASES[name], seed))
        if not faults[-1]:
            return
    raise AssertionError(f"gradients that differ, by batch: {faults}")


def different_gradients(graph: Graph, batch: int, seed: int) -> list[str]:
    """Names of the arrays whose gradient is not PyTorch's; logits and statistics are asserted."""
    rng = np.random.default_rng(seed)
    arrays = initial_arrays(graph, 0)
    x = rng.standard_normal((batch, *graph.input_shape)).astype(np.float32)
    classes = graph.shapes[graph.nodes[-1].name][-1]
    labels = rng.integers(0, classes, batch)

    twins = [Twin(graph, arrays).train().to(precision) for precision in (torch.float32, torch.float64)]
    for twin in twins:
        images = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).to(twin.dtype)
        output = twin(images)
        torch.nn.functional.cross_entropy(output, torch.from_numpy(labels), label_smoothing=0.1).backward()

    gradients = {name: np.zeros_like(array) for name, array in arrays.items() if "running" not in name}
    compiled = CompiledNetwork(
        graph,
        arrays,
        batch,
        learning=Learning(gradients=gradients, training=True),
        execution=Execution(block=2),
    )
    logits = compiled.forward(x)
    _, d_logits = cross_entropy(logits, labels, 0.1)
    compiled.backward(d_logits)

    # Batch-norm and ReLU magnify rounding, so the measure is PyTorch's own: how far its float32 is from its float64.
    single, double = twins
    np.testing.assert_allclose(logits, output.detach().numpy(), atol=1e-4 * float(output.detach().abs().max()))
    for key, array in arrays.items():
        if "running" in key:
            np.testing.assert_allclose(array, double.array(key).numpy(), rtol=1e-3, atol=1e-5, err_msg=key)
    different = []
    for key, gradient in gradients.items():
        exact = double.array(key).grad.numpy()
        theirs = np.linalg.norm(single.array(key).grad.numpy() - exact)
        if np.linalg.norm(gradient - exact) >= 4 * theirs + 1e-5 * np.linalg.norm(exact) + 1e-6:
            different.append(key)
    return different


def test_squeezenet_infers_as_the_inference_pass() -> None:
    """Concat has no twin above; the inference pass is tested against published accuracies."""
    from accelsim.network.forward import forward
    from accelsim.network.graph import Network

    graph = squeezenet11()
    arrays = initial_arrays(graph, 0)
    x = np.random.default_rng(0).standard_normal((2, *graph.input_shape)).astype(np.float32)
    expected = forward(Network(graph, arrays), x)
    np.testing.assert_allclose(
        CompiledNetwork(graph, arrays, 2).forward(x), expected, atol=1e-4 * np.abs(expected).max()
    )
