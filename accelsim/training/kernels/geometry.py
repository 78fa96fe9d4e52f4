"""The sizes of one convolution on a block of images, and the memory that its kernels ask for."""

from dataclasses import dataclass, replace

from accelsim.network.layers import Conv

STRIP = 1024  # columns of a stacked product, at most (one row of the output at least)


@dataclass(frozen=True)
class Geometry:
    """Sizes of one convolution on a block of images."""

    C: int  # input channels
    H: int  # input rows
    W: int  # input columns
    K: int  # output channels
    P: int  # output rows
    Q: int  # output columns
    R: int  # kernel rows
    S: int  # kernel columns
    G: int  # groups
    N: int  # images of a block
    stride: tuple[int, int]  # rows, columns; of padding and dilation, too
    padding: tuple[int, int]
    dilation: tuple[int, int]

    @classmethod
    def of_layer(cls, layer: Conv, height: int, width: int, images: int) -> "Geometry":
        """Geometry of a conv layer on images of height x width."""
        P, Q, K = layer.output_shape(((height, width, layer.in_channels),))
        R, S = layer.kernel
        return cls(
            C=layer.in_channels,
            H=height,
            W=width,
            K=K,
            P=P,
            Q=Q,
            R=R,
            S=S,
            G=layer.groups,
            N=images,
            stride=layer.stride,
            padding=layer.padding,
            dilation=layer.dilation,
        )

    @property
    def reversed(self) -> "Geometry":
        """The stride-1 convolution that maps the output's gradient to the input's.

        Filters flipped and transposed.
        """
        padding = tuple(d * (k - 1) - p for d, k, p in zip(self.dilation, (self.R, self.S), self.padding, strict=True))
        return replace(
            self,
            C=self.K,
            H=self.P,
            W=self.Q,
            K=self.C,
            P=self.H,
            Q=self.W,
            stride=(1, 1),
            padding=(padding[0], padding[1]),
        )

    @property
    def reversible(self) -> bool:
        """Whether ``reversed`` computes the input's gradient."""
        return self.stride == (1, 1) and min(self.reversed.padding) >= 0

    @property
    def stored_rows(self) -> int:
        """Rows kept of each phase: those that the lowest tap of the last output row reaches."""
        return (self.dilation[0] * (self.R - 1)) // self.stride[0] + self.P

    @property
    def rows_shape(self) -> tuple[int, ...]:
        """(phases, G, S, C / G, rows, Q, N)."""
        return (self.stride[0], self.G, self.S, self.C // self.G, self.stored_rows, self.Q, self.N)

    @property
    def is_matrix(self) -> bool:
        """A 1 x 1 convolution at stride 1 reads its input as it stands."""
        return (self.R, self.S, *self.stride, *self.padding) == (1, 1, 1, 1, 0, 0)

    @property
    def is_thin(self) -> bool:
        """Whether single tap rows are so thin that stacking all R of them is faster."""
        return self.R > 3 and self.S * self.C // self.G < 64

    @property
    def strip(self) -> int:
        """Columns of one stacked product: some output rows, few enough to stay in the cache."""
        fitting = (n for n in range(1, self.P + 1) if self.P % n == 0 and n * self.Q * self.N <= STRIP)
        return max(fitting, default=1) * self.Q * self.N

    @property
    def scratch_size(self) -> int:
        """Floats of temporary memory that ``convolve`` and ``weight_gradient`` ask for."""
        stacked = self.R * self.S * (self.C // self.G) * self.strip
        return stacked if self.is_thin else self.K // self.G * self.P * self.Q * self.N
