"""Products of matrices as the models have them, by MKL and by oneDNN: GFLOP/s of one thread, and the largest error.

    python -m benchmarks.products

Sizes are those of a Transformer layer on 32 patients of 225 gene sets, forward and backward. Each product is timed many
times, the two libraries in turns, and the best time counts. `fast_products` of the package takes oneDNN where its error
is that of single precision.
"""

import time

import torch

ROUNDS = 30
SIZES = {
    "feed-forward, 256 to 512": ((7200, 256), (256, 512)),
    "feed-forward, 512 to 256": ((7200, 512), (512, 256)),
    "gradient of its weights": ((256, 7200), (7200, 512)),
    "attention, 8 heads": ((256, 225, 32), (256, 32, 225)),
    "square": ((2048, 2048), (2048, 2048)),
}


def measure(left: torch.Tensor, right: torch.Tensor, *, precision: str) -> tuple[float, float]:
    """Seconds of a product, and its largest error."""
    torch.set_float32_matmul_precision(precision)
    start = time.perf_counter()
    found = left @ right
    took = time.perf_counter() - start
    return took, float((found.double() - left.double() @ right.double()).abs().max())


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print(
        "| product | MKL, GFLOP/s | oneDNN, GFLOP/s | ratio | error, MKL | error, oneDNN |", "|---" * 6 + "|", sep="\n"
    )
    for name, sizes in SIZES.items():
        left, right = (torch.randn(size, generator=torch.Generator().manual_seed(len(size))) for size in sizes)
        taken = [[measure(left, right, precision=one) for one in ("highest", "medium")] for _ in range(ROUNDS)]
        (mkl, mkl_error), (onednn, onednn_error) = (min(own) for own in zip(*taken, strict=True))
        operations = 2 * left.numel() * right.shape[-1] / 1e9
        print(
            f"| {name} | {operations / mkl:.0f} | {operations / onednn:.0f} | {mkl / onednn:.2f} "
            f"| {mkl_error:.1e} | {onednn_error:.1e} |"
        )


if __name__ == "__main__":
    main()
