"""The model. Batch normalisation and dropout make a curve depend on the number of processes."""

from torch import Tensor, nn


class Block(nn.Module):
    """Adds to its input (n, width, h, w) what a convolution makes of it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        convolution = nn.Conv2d(width, width, 3, padding=1)
        self.layers = nn.Sequential(nn.GroupNorm(8, width), nn.GELU(), convolution)

    def forward(self, x: Tensor) -> Tensor:
        """The sum."""
        changed: Tensor = self.layers(x)
        return x + changed


class Classifier(nn.Sequential):
    """From images (n, 1, 8, 8) to a score for each class (n, classes)."""

    def __init__(self, classes: int = 10, width: int = 32) -> None:
        super().__init__(
            nn.Conv2d(1, width, 3, padding=1),
            *(Block(width), nn.AvgPool2d(2)),
            *(Block(width), nn.AvgPool2d(2)),
            *(nn.Flatten(), nn.Linear(4 * width, classes)),
        )
