"""Networks of many kinds of layers train as PyTorch's do, in one, two and three dimensions: ten losses in float64."""

import numpy as np
import pytest
from peers import torch_losses

LAYERS = """
  - pad: {padding: 1, mode: reflect}
  - conv: {filters: 8}
  - prelu
  - prelu: {shared: true}
  - group_norm: 2
  - swish
  - swish: 0.5
  - relu6
  - softplus
  - lrn: 3
  - upsample: {mode: linear}
  - avg_pool: {size: 2, trainable: true}
  - avg_pool: {size: 3, stride: 2, padding: 1, trainable: true}
  - scaled_tanh
  - channel_max_pool: 2
  - upsample: 3
  - pad: {padding: 1, mode: edge}
  - pad: {padding: 1, mode: constant, value: 0.5}
  - crop: 1
  - crop: {pixels: 1}
  - group_norm: channels
  - softmax
  - log_softmax
  - global_max_pool
  - dense: 12
  - scaled_tanh
  - rbf: {units: 4, trainable: true}
"""
IMAGES, LR = 16, 0.003

# PyTorch 2.13 in float64, from our first parameters: `torch_losses.py --model FILE --lr 0.003` prints them
PINNED = {
    "[16]": """
        11.7149989309 11.2312037502 10.4943630328 9.9687564847 9.7210989287
        9.4212672088 8.9322652724 8.2608939936 7.3914804060 6.4335521496
    """,
    "[16, 16]": """
        10.0344190838 9.6993348901 9.2241665811 8.6525914808 8.0321761962
        7.3869070110 6.5921422754 5.6286439726 4.5983135071 3.5758226225
    """,
    "[10, 8, 12]": """
        15.5661978565 14.9771184484 14.0279986592 12.8471991817 12.1805749853
        11.4653063654 9.7753881373 8.1987593255 6.1164239344 4.3533225029
    """,
}


@pytest.mark.parametrize("size", PINNED)
def test_losses_are_those_of_pytorch(size, tmp_path):
    model = tmp_path / "layers.yaml"
    model.write_text(f"input: {{channels: 2, size: {size}}}\nlayers:{LAYERS}")
    wanted = [float(number) for number in PINNED[size].split()]
    found = torch_losses.ours(str(model), np.float64, IMAGES, LR, len(wanted))
    np.testing.assert_allclose(found, wanted, rtol=1e-9)
