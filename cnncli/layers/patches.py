"""Initialisers that are learned from patches of a layer's input, before training and without a gradient.

Until then, and where there is no data, such as in a benchmark, the weights are random. With `freeze` they stay as they
were learned.
"""

from typing import Annotated

import numpy as np
from pydantic import Field

from cnncli.layers.initializers import He, Initializer, register


class FromPatches(Initializer):
    """`patches` is how many are taken from the training split, at random."""

    patches: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000

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
    it, the soft threshold of Coates and Ng 2011. Whitening divides by the root of variance plus `eps`.
    """

    iterations: Annotated[int, Field(ge=1, le=10_000)] = 10
    eps: Annotated[float, Field(gt=0)] = 0.1
    threshold: Annotated[float, Field(ge=0)] = 0.25

    def learn(self, patches, filters, generator):
        mean, vectors, variances = principal(patches)
        whitening = (vectors / np.sqrt(variances + self.eps)[:, None]).T @ vectors
        white = (patches - mean) @ whitening
        centroids = unit(generator.normal(size=(filters, patches.shape[1])))
        for _ in range(self.iterations):
            centroids = unit(centroids + self._sums(white, centroids))
        weights = centroids @ whitening
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


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
