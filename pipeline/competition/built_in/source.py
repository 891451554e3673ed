"""The handwriting that both built-in competitions are made of."""

import numpy as np
from sklearn.datasets import load_digits


def handwritten_digits() -> tuple[np.ndarray, np.ndarray]:
    """Return pictures (1797, 8, 8) uint8, white on black, and their digits (1797,) 0 to 9.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998,
    CC BY 4.0, as scikit-learn ships it.
    """
    bunch = load_digits()
    return np.round(bunch.images * (255 / 16)).astype(np.uint8), bunch.target.astype(np.int64)
