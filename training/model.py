"""The network as it is trained: in training mode, compiled, distributed."""

import logging
import time

import torch
from easydict import EasyDict
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from networks import MattingNetwork
from training.step import forward
from utils.distributed import World, all_reduce_sum
from utils.tensors import encode_labels

log = logging.getLogger(__name__)


def set_arithmetic(config: EasyDict) -> None:
    """Allows TF32 only if the configuration asks for it; unlike `utils.precision` also in the backward pass."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = config.train.precision == "tf32"


def training_model(network: MattingNetwork, config: EasyDict, world: World) -> nn.Module:
    """The network in training mode, compiled with train.compile, and wrapped for several processes."""
    set_training(network, config)
    model = compiled_if_possible(network, config, world) if config.train.compile else network
    if world.size > 1:
        model = DistributedDataParallel(model, [world.device.index] if world.device.type == "cuda" else None)
    return model


def set_training(network: nn.Module, config: EasyDict) -> None:
    """Sets training mode, except for batch normalisation with train.freeze_bn."""
    network.train()
    for module in network.modules() if config.train.freeze_bn else ():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def compiled_if_possible(network: MattingNetwork, config: EasyDict, world: World) -> nn.Module:
    """The network compiled for one crop size; unchanged, with a warning, if that fails on any process.

    Tried on a batch of noise, which leaves the network as it was.
    """
    torch.compiler.reset()  # or torch would generalise code for another size to dynamic shapes, or refuse to recompile
    compiled = torch.compile(network, dynamic=False)
    statistics = [buffer.clone() for buffer in network.buffers()]
    start, reason = time.perf_counter(), ""
    try:
        noise = noise_batch(network, config, world.device)
        forward(compiled, noise, config, mean_pixels=config.data.crop_size**2 / 3)[1]["loss"].backward()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # compiler backends raise all kinds of exceptions
        reason = (str(error).strip() or repr(error)).splitlines()[0]
    finally:
        network.zero_grad(set_to_none=True)
        for buffer, before in zip(network.buffers(), statistics, strict=True):
            buffer.copy_(before)
    failures = all_reduce_sum(world, torch.tensor(float(bool(reason)), device=world.device)).item()
    if failures:
        log.warning("torch.compile failed, training goes on without it: %s", reason or "on another process")
        return network
    log.info("compiled in %.0f s", time.perf_counter() - start)
    return compiled


def noise_batch(network: MattingNetwork, config: EasyDict, device: torch.device) -> dict[str, Tensor]:
    """A meaningless batch of the configured size."""
    size = (config.model.batch_size, 3, config.data.crop_size, config.data.crop_size)
    labels = torch.randint(3, (size[0], *size[2:]), device=device)
    image = torch.randn(size, device=device)
    return {"image": image, "trimap": encode_labels(labels, network.trimap_channel), "alpha": labels[:, None] / 2,
            "foreground": image, "background": image}
