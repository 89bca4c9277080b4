"""The calls of PyPI `rwkv` (0.8.32) on Ravenwing: RWKV, PIPELINE and PIPELINE_ARGS.

    from ravenwing.compat.rwkv.model import RWKV
    from ravenwing.compat.rwkv.utils import PIPELINE, PIPELINE_ARGS

Logits are NumPy arrays (torch.from_numpy() makes tensors of them). A state is an object of its own, which forward()
advances in place, as it does there; copy.deepcopy() branches it.
"""

from .model import RWKV, RWKVState
from .utils import PIPELINE, PIPELINE_ARGS

__all__ = ["PIPELINE", "PIPELINE_ARGS", "RWKV", "RWKVState"]
