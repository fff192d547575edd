"""First values of weights, drawn in the files' order from (seed, path) alone, whatever else the network holds."""

import math
import zlib

import numpy as np

from cnncli.layers.base import Constant, Parameter

CHUNK = 1 << 20  # numbers drawn at once, in float64: the weights of a large dense layer are hundreds of megabytes


def initial(parameter: Parameter, seed: int, path: str, dtype=np.float64) -> np.ndarray:
    """The first value of a parameter in its file shape.

    he: normal of variance 2 / fan_in (He et al. 2015); glorot: 2 / (fan_in + fan_out) (Glorot and Bengio 2010); lecun:
    1 / fan_in (LeCun et al. 1998); `_uniform`: of the same variance; orthogonal: rows or columns orthonormal (Saxe et
    al. 2014).
    """
    if isinstance(parameter.init, Constant):
        return np.full(parameter.file_shape, parameter.init.constant, dtype)
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, zlib.crc32(path.encode())])))
    if parameter.init == "orthogonal":
        return _orthogonal(generator, parameter.file_shape, parameter.places).astype(dtype)
    fan_in, fan_out = parameter.fans
    family, _, uniform = parameter.init.partition("_")
    variance = {"he": 2 / fan_in, "glorot": 2 / (fan_in + fan_out), "lecun": 1 / fan_in}[family]
    limit, deviation = math.sqrt(3 * variance), math.sqrt(variance)
    values = np.empty(parameter.size, dtype)
    for start in range(0, parameter.size, CHUNK):
        some = values[start : start + CHUNK]
        some[:] = generator.uniform(-limit, limit, some.size) if uniform else generator.normal(0, deviation, some.size)
    return values.reshape(parameter.file_shape)


def _orthogonal(generator, shape, places):
    """A matrix of (first axis, others); or one for each index of the `places` axes behind the first."""
    rows, many, columns = shape[0], math.prod(shape[1 : 1 + places]), math.prod(shape[1 + places :])
    q, r = np.linalg.qr(generator.normal(size=(many, max(rows, columns), min(rows, columns))))
    # the signs make the draw uniform over the orthogonal matrices
    q = q * np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None]
    return (q if rows >= columns else q.swapaxes(1, 2)).swapaxes(0, 1).reshape(shape)
