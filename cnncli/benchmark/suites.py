"""The distinct convolutions of known networks, without what is around them."""

import re
from dataclasses import dataclass

from cnncli.errors import SpecificationError
from cnncli.layers import Shape
from cnncli.layers.conv import Conv
from cnncli.layers.depthwise_conv import DepthwiseConv

# CHANNELSxSIZE>FILTERS KERNEL, then "/2" for a stride of 2, "p0" for other padding than half the kernel and "dw"
# for as many groups as channels
SUITES = {
    # He et al. 2016, the stride of 2 in the 3x3 convolutions as every library has it
    "resnet50": (8, """
        3x224>64 7/2, 64x56>64 1, 64x56>64 3, 64x56>256 1, 256x56>64 1,
        256x56>128 1, 128x56>128 3/2, 128x28>512 1, 256x56>512 1/2, 512x28>128 1, 128x28>128 3,
        512x28>256 1, 256x28>256 3/2, 256x14>1024 1, 512x28>1024 1/2, 1024x14>256 1, 256x14>256 3,
        1024x14>512 1, 512x14>512 3/2, 512x7>2048 1, 1024x14>2048 1/2, 2048x7>512 1, 512x7>512 3"""),
    "resnet18": (8, """
        3x224>64 7/2, 64x56>64 3, 64x56>128 3/2, 64x56>128 1/2, 128x28>128 3, 128x28>256 3/2, 128x28>256 1/2,
        256x14>256 3, 256x14>512 3/2, 256x14>512 1/2, 512x7>512 3"""),
    # Simonyan and Zisserman 2015, configuration D
    "vgg16": (4, """
        3x224>64 3, 64x224>64 3, 64x112>128 3, 128x112>128 3, 128x56>256 3, 256x56>256 3, 256x28>512 3, 512x28>512 3,
        512x14>512 3"""),
    # Howard et al. 2017
    "mobilenet": (8, """
        3x224>32 3/2, 32x112>32 3 dw, 32x112>64 1, 64x112>64 3/2 dw, 64x56>128 1, 128x56>128 3 dw, 128x56>128 1,
        128x56>128 3/2 dw, 128x28>256 1, 256x28>256 3 dw, 256x28>256 1, 256x28>256 3/2 dw, 256x14>512 1,
        512x14>512 3 dw, 512x14>512 1, 512x14>512 3/2 dw, 512x7>1024 1, 1024x7>1024 3 dw, 1024x7>1024 1"""),
    # LeCun et al. 1998
    "lenet": (64, "1x28>6 5, 6x14>16 5 p0"),
    # cifar-small, then ResNet-20 (He et al. 2016, section 4.2) with projections
    "cifar": (64, """
        3x32>32 3, 32x32>32 3, 32x16>64 3, 64x16>64 3,
        3x32>16 3, 16x32>16 3, 16x32>32 3/2, 16x32>32 1/2, 32x16>32 3, 32x16>64 3/2, 32x16>64 1/2, 64x8>64 3"""),
}  # fmt: skip


@dataclass(frozen=True)
class Item:
    """A convolution of a suite. `first`: it reads the images, whose gradient nobody asks for."""

    name: str
    layer: Conv | DepthwiseConv
    shape: Shape
    batch: int

    @property
    def output(self) -> Shape:
        return self.layer.output_shape(self.shape)

    @property
    def groups(self) -> int:
        return self.shape.channels if isinstance(self.layer, DepthwiseConv) else 1

    @property
    def first(self) -> bool:
        return self.shape.channels <= 3


def suite(name: str, batch: int | None = None) -> list[Item]:
    """The convolutions of a suite, with another batch if one is given."""
    usual, text = SUITES[name]
    return [parse(part.strip(), batch or usual) for part in text.split(",")]


NUMBER = r"([1-9]\d{0,3})"
PATTERN = re.compile(rf"{NUMBER}x{NUMBER}>{NUMBER} {NUMBER}(?:/{NUMBER})?( p0)?( dw)?")


def parse(text: str, batch: int) -> Item:
    """One convolution from its text. Raises SpecificationError where it is none."""
    found = PATTERN.fullmatch(text)
    if not found:
        raise SpecificationError(f'{text!r} is no convolution such as "64x56>128 3/2"')
    channels, size, filters, kernel, stride = (int(n or 1) for n in found.groups()[:5])
    no_padding, depthwise = found.groups()[5:]
    shape = Shape((1, size, size), channels, 2)
    try:
        options = {"kernel": kernel, "stride": stride, "padding": 0 if no_padding else kernel // 2, "bias": False}
        if depthwise:
            layer = DepthwiseConv(multiplier=filters // channels, **options)
        else:
            layer = Conv(filters=filters, **options)
        output = layer.output_shape(shape)
        if output.channels != filters:
            raise ValueError(f"{filters} filters are no multiple of {channels} channels")
    except ValueError as error:
        raise SpecificationError(f"{text!r} is no convolution: {str(error).splitlines()[-1].strip()}") from None
    return Item(text, layer, shape, batch)
