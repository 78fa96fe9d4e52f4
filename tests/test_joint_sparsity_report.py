"""reports/joint-sparsity.md says what was measured, and nothing else."""

from experiments import joint_sparsity


def test_the_page_is_what_its_command_writes_of_the_stored_figures() -> None:
    assert joint_sparsity.REPORT.read_text(encoding="utf-8") == joint_sparsity.page()


def test_files_come_largest_first_with_the_loss_of_the_worse_domain() -> None:
    """Half the bytes are twice the ratio: 4 bytes of each of 1,000 parameters in 400 and in 100 bytes."""
    operations = {"dense": 800.0, "winograd": 100.0}

    def file(size: int, spatial: float, winograd: float) -> dict[str, object]:
        accuracy = {"top1_reference": 91.0, "top1_spatial": spatial, "top1_winograd": winograd}
        return {"parameters": 1000, "file_bytes": size, "operations": operations, "accuracy": accuracy}

    models = {"resnet20-b": file(100, 89.5, 90.0), "resnet20-a": file(400, 90.5, 90.25), "other": file(1, 0, 0)}
    rows = [line for line in joint_sparsity.small_files(models).splitlines() if line.startswith("| `")]
    assert rows == [
        "| `resnet20-a` | 10.00x | 8.00x | 90.50 | 90.25 | 0.75 |",
        "| `resnet20-b` | 40.00x | 8.00x | 89.50 | 90.00 | 1.50 |",
    ]
