"""Initialisers that are learned from patches of a layer's input, before training and without a gradient.

Until then, and where there is no data, such as in a benchmark, the weights are random. With `freeze` they stay as they
were learned.
"""

from typing import Annotated

import numpy as np
from pydantic import Field

from cnncli.layers.base import AXES, LAYERS
from cnncli.layers.initializers import He, Initializer, register


class FromPatches(Initializer):
    """`patches` is how many are taken from the training split, at random."""

    patches: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000

    def check_layer(self, layer, shape):
        if not getattr(layer, "learns_patches", False):
            known = ", ".join(sorted(kind for kind, cls in LAYERS.items() if getattr(cls, "learns_patches", False)))
            raise ValueError(f"its init {self.kind} learns from patches: it is for {known}")
        for option, plain in (("groups", 1), ("connections", None)):
            if getattr(layer, option, plain) != plain:
                raise ValueError(f"its init {self.kind} learns from patches of all channels: it takes no {option}")
        for axis, span, size in zip(AXES, layer.window(shape)[0], shape.size, strict=True):
            if span > size:
                window = f"its window of {span} is larger than the {axis} {size} of its input"
                raise ValueError(f"{window}, in which its init {self.kind} finds no patch")
        if getattr(self, "threshold", 0) and not layer.bias:
            place = "puts its threshold into the bias: `bias: false` needs `threshold: 0`"
            raise ValueError(f"its init {self.kind} {place}")

    def make(self, generator, shape, fans):
        found = np.empty(shape)
        He().fill(generator, found.reshape(-1), fans)
        return found

    def learn(self, patches: np.ndarray, filters: int, generator) -> tuple[np.ndarray, np.ndarray]:
        """Weights (filters, elements) and biases (filters,) from patches (P, elements), float64."""
        raise NotImplementedError


def principal(patches: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mean, eigenvectors as rows, their variances) of patches, those of the largest variance first.

    The largest element of each eigenvector is positive: their sign would be anybody's.
    """
    mean = patches.mean(0)
    centred = patches - mean
    variances, vectors = np.linalg.eigh(centred.T @ centred / len(patches))
    vectors = vectors[:, ::-1].T
    largest = np.take_along_axis(vectors, abs(vectors).argmax(1)[:, None], 1)
    return mean, vectors * np.sign(largest), np.maximum(variances[::-1], 0)


@register("pca")
class Pca(FromPatches):
    """The principal components of the patches: their projections are uncorrelated."""

    def check(self, shape):
        window = int(np.prod(shape[1:]))
        if shape[0] > window:
            raise ValueError(f"its init {self.kind} gives at most {window} filters, the elements of a patch")

    def scale(self, variances: np.ndarray) -> np.ndarray:
        return np.ones_like(variances)

    def learn(self, patches, filters, generator):
        mean, vectors, variances = principal(patches)
        weights = (vectors * self.scale(variances)[:, None])[:filters]
        return weights, -weights @ mean


@register("whitening")
class Whitening(Pca):
    """Principal components divided by their deviation, the root of variance plus `eps`: all are equally large."""

    eps: Annotated[float, Field(gt=0)] = 0.1

    def scale(self, variances):
        return 1 / np.sqrt(variances + self.eps)


@register("kmeans")
class KMeans(FromPatches):
    """Centroids of whitened patches, by spherical k-means (Coates and Ng 2012, "Learning Feature Representations with
    K-means", algorithm 1).

    A filter's output is how much of the whitened patch points along its centroid, less `threshold`: with a relu behind
    it, the soft threshold of Coates and Ng 2011. Whitening divides by the root of variance plus `eps`. With `split`
    the second half of the filters are the first's opposites, for what points against a centroid.
    """

    iterations: Annotated[int, Field(ge=1, le=10_000)] = 10
    eps: Annotated[float, Field(gt=0)] = 0.1
    threshold: Annotated[float, Field(ge=0)] = 0.25
    split: bool = False

    def check(self, shape):
        if self.split and shape[0] % 2:
            raise ValueError(f"its init kmeans is split in halves: its {shape[0]} filters are an odd number")

    def learn(self, patches, filters, generator):
        mean, vectors, variances = principal(patches)
        whitening = (vectors / np.sqrt(variances + self.eps)[:, None]).T @ vectors
        white = (patches - mean) @ whitening
        centroids = unit(generator.normal(size=(filters // (1 + self.split), patches.shape[1])))
        for _ in range(self.iterations):
            centroids = unit(centroids + self._sums(white, centroids))
        weights = centroids @ whitening
        weights = np.concatenate([weights, -weights]) if self.split else weights
        return weights, -weights @ mean - self.threshold

    @staticmethod
    def _sums(white, centroids, part=8192):
        """For each centroid, the sum of the patches that point along it more than along any other, or against it."""
        sums = np.zeros_like(centroids)
        for start in range(0, len(white), part):
            some = white[start : start + part]
            along = some @ centroids.T
            best = abs(along).argmax(1)
            np.add.at(sums, best, some * np.take_along_axis(along, best[:, None], 1))
        return sums


@register("winner_take_all")
class WinnerTakeAll(FromPatches):
    """The S-cells of a neocognitron, by competition (Fukushima 1980; with two thresholds, Fukushima 2003).

    The patches are shown one after another in random order, as vectors of length 1. The filter that resembles a patch
    most, by more than `learning_threshold`, wins: the patch is added to its reference vector. Where no filter does, the
    next unused one takes the patch as its reference vector, as long as there is one; what is left unused is silent.
    Resemblance is the cosine, for inputs that are not negative from 0 to 1; a patch of zeros teaches nothing. Where the
    paper's cells compete in areas of a map, here each patch is an area of its own, and all of a window counts alike.

    For a `normalized_conv` with a relu behind it, which then give (resemblance - threshold) / (1 - threshold) or 0, as
    Fukushima's S-cells do where the inhibition is strong; with `center` resemblance is the correlation.
    """

    threshold: Annotated[float, Field(ge=0, lt=1)] = 0.5
    learning_threshold: Annotated[float, Field(ge=0, lt=1)] = 0.7

    def check_layer(self, layer, shape):
        if layer.kind != "normalized_conv":
            raise ValueError(f"its init {self.kind} is for normalized_conv: its threshold needs windows of one length")
        super().check_layer(layer, shape)

    def learn(self, patches, filters, generator):
        sums, used = np.zeros((filters, patches.shape[1])), 0
        shown = unit(patches)[generator.permutation(len(patches))]  # a data set may begin with all of one class
        references = np.zeros_like(sums)
        for patch in shown[shown.any(1)]:
            along = np.einsum("ij,j->i", references[:used], patch)  # not BLAS: its bits depend on its threads
            winner = int(along.argmax()) if used else 0
            if not used or along[winner] <= self.learning_threshold:
                if used == filters:
                    continue
                winner, used = used, used + 1
            sums[winner] += patch
            references[winner] = sums[winner] / np.sqrt((sums[winner] ** 2).sum())
        root_mean_square = patches.shape[1] ** 0.5  # of a vector of length 1, inverted
        biases = np.full(filters, -self.threshold)
        return references / root_mean_square / (1 - self.threshold), biases / (1 - self.threshold)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
