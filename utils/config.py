"""Configuration: keys with defaults and meanings, overridden by a TOML file, then by the command line.

`load_config` returns an EasyDict (`config.model.arch.encoder`) that is passed explicitly; there is no
global configuration.
"""

import difflib
import math
from dataclasses import dataclass
from pathlib import Path

import toml
from easydict import EasyDict

from networks import DECODERS, ENCODERS
from utils.arguments import PRECISIONS
from utils.arguments import add_config_arguments as add_config_arguments
from utils.errors import InputError
from utils.file_writing import atomic_path


class ConfigError(InputError):
    """A configuration that cannot be used. The message names file and key."""


@dataclass(frozen=True)
class Key:
    """One configuration key."""

    default: bool | int | float | str | None  # None: unset, of type str
    meaning: str
    choices: tuple = ()
    low: float | None = None
    high: float | None = None

    @property
    def kind(self) -> type:
        return str if self.default is None else type(self.default)


KEYS = {
    "version": Key("gca-dist", "name of the run; its logs, checkpoints and predictions are stored under it"),
    "dist": Key(False, "train with torch.distributed, one process per GPU"),

    "model.batch_size": Key(10, "training samples per process", low=1),
    "model.imagenet_pretrain": Key(True, "initialise the encoder from the ImageNet backbone file"),
    "model.imagenet_pretrain_path": Key("pretrain/model_best_resnet34_En_nomixup.pth",
                                        "ImageNet backbone file, or torchvision's ResNet-34 weights"),
    "model.trimap_channel": Key(3, "trimap encoding: 3 channels one-hot, or 1 channel holding 0, 1, 2",
                                choices=(1, 3)),
    "model.init_checkpoint": Key(None, "checkpoint with the initial weights; takes precedence over the backbone"),
    "model.width": Key(1.0, "factor on the network's channels; 1 is the published network", low=0.05, high=4),
    "model.colour_samples": Key(False, "nearby known colours as network input; the published network has none"),
    "model.arch.encoder": Key("resnet_gca_encoder_29", "encoder", choices=tuple(ENCODERS)),
    "model.arch.decoder": Key("res_gca_decoder_22", "decoder; must match the encoder", choices=tuple(DECODERS)),

    "data.workers": Key(0, "data loading processes per training process", low=0),
    "data.train_fg": Key(None, "folder of training foregrounds"),
    "data.train_alpha": Key(None, "folder of their alphas"),
    "data.train_bg": Key(None, "folder of training backgrounds"),
    "data.generated": Key(0, "number of drawn foregrounds besides those of data.train_fg; redrawn each epoch "
                              "unless data.cache keeps them", low=0),
    "data.generated_size": Key(512, "sides of drawn foregrounds and backgrounds in pixels", low=64, high=4096),
    "data.photographs": Key(None, "folder of photographs for the colours of drawn images"),
    "data.cutouts": Key(None, "folder of RGBA cut-outs, used unchanged and under drawn fur and film"),
    "data.finish": Key(False, "simulate cameras and hand-drawn trimaps; prefer crops with known foreground and "
                              "background"),
    "data.plain_share": Key(0.0, "with data.finish: share of samples in plain, distinct colours, to learn from first",
                            low=0, high=1),
    "data.on_device": Key(False, "generate samples in batches on the training device; needs data.finish and "
                                 "data.augmentation"),
    "data.bank": Key(4096, "with data.on_device: foregrounds, and as many backgrounds, held on each process's device",
                     low=1),
    "data.renew": Key(0, "with data.on_device: samples per process between replacements of one foreground and one "
                         "background; 0: never", low=0),
    "data.test_merged": Key(None, "folder of composited validation images"),
    "data.test_alpha": Key(None, "folder of their alphas, with the same names"),
    "data.test_trimap": Key(None, "folder of their trimaps, with the same names"),
    "data.crop_size": Key(512, "side of training crops in pixels; a multiple of 32", low=32),
    "data.augmentation": Key(True, "augment training samples"),
    "data.random_interp": Key(False, "random resampling filter for each training image"),
    "data.cache": Key(None, "folder for decoded training foregrounds, 4 bytes per pixel; drawn ones then stay the same "
                            "in all epochs; unset: decode each time"),

    "train.total_step": Key(200_000, "optimiser steps", low=1),
    "train.warmup_step": Key(5_000, "steps of linear warm-up before cosine decay; at most train.total_step", low=0),
    "train.val_step": Key(2_000, "steps between validations", low=1),
    "train.G_lr": Key(4e-4, "learning rate after warm-up", low=0),
    "train.beta1": Key(0.5, "Adam's first beta", low=0, high=0.999999),
    "train.beta2": Key(0.999, "Adam's second beta", low=0, high=0.999999),
    "train.rec_weight": Key(1.0, "weight of the alpha loss (mean absolute error over the unknown region)", low=0),
    "train.comp_weight": Key(0.0, "weight of the composition loss", low=0),
    "train.gabor_weight": Key(0.0, "weight of the Gabor loss", low=0),
    "train.grad_weight": Key(0.0, "weight of the gradient loss", low=0),
    "train.smooth_l1_weight": Key(0.0, "weight of the smooth-L1 loss", low=0),
    "train.laplacian_weight": Key(0.0, "weight of the Laplacian pyramid loss", low=0),
    "train.clip_grad": Key(True, "clip the gradient norm to twice its moving average"),
    "train.seed": Key(0, "seed of weight initialisation and samples", low=0),
    "train.precision": Key("fp32", "precision of forward and backward pass", choices=PRECISIONS),
    "train.channels_last": Key(False, "channels-last memory format; faster on GPUs in half precision"),
    "train.compile": Key(False, "compile the network with torch.compile"),
    "train.accumulate": Key(1, "batches whose gradients are accumulated per step", low=1),
    "train.freeze_bn": Key(False, "keep batch normalisation statistics fixed"),
    "train.ema": Key(0.0, "decay of the moving average of the weights, which is then validated and saved; 0: none",
                     low=0, high=0.99999),
    "train.max_skipped": Key(20, "consecutive steps skipped for non-finite gradients before training stops", low=1),
    "train.resume_checkpoint": Key(None, 'checkpoint to resume from, such as "latest_model"'),
    "train.reset_lr": Key(False, "restart the learning rate schedule when resuming"),

    "test.merged": Key(None, "folder of test images"),
    "test.alpha": Key(None, "folder of their alphas, with the same names"),
    "test.trimap": Key(None, "folder of their trimaps, with the same names"),
    "test.scale": Key("origin", "size at which test images are predicted", choices=("origin", "resize", "crop")),
    "test.cpu": Key(False, "test on the CPU even if a GPU is available"),
    "test.alpha_path": Key("prediction", "folder for predictions"),
    "test.batch_size": Key(1, "test images per batch", low=1),
    "test.checkpoint": Key("best_model", "checkpoint to test"),
    "test.fast_eval": Key(True, "only SAD and MSE, without the slower Grad and Conn"),

    "log.tensorboard_path": Key("logs/tensorboard", "folder of the TensorBoard logs"),
    "log.tensorboard_step": Key(100, "steps between TensorBoard scalars", low=1),
    "log.tensorboard_image_step": Key(500, "steps between TensorBoard images", low=1),
    "log.logging_path": Key("logs/stdout", "folder of the text logs"),
    "log.logging_step": Key(10, "steps between lines of the text log", low=1),
    "log.logging_level": Key("INFO", "minimum level of logged lines", choices=("DEBUG", "INFO", "WARNING", "ERROR")),
    "log.checkpoint_path": Key("checkpoints", "folder of the checkpoints"),
    "log.checkpoint_step": Key(10_000, "steps between numbered checkpoints", low=1),
    "log.checkpoint_keep": Key(3, "number of newest numbered checkpoints to keep; 0: all", low=0),
}


_TABLES = {name[:i] for name in KEYS for i, character in enumerate(name) if character == "."}


def load_config(path: str | Path | None = None, overrides: list[str] | tuple[str, ...] = ()) -> EasyDict:
    """The configuration: defaults, overridden by a TOML file, then by `KEY=VALUE` texts.

    Raises:
        ConfigError: for a missing or invalid file, an unknown key, a wrong type or an invalid value.
    """
    values = {name: key.default for name, key in KEYS.items()}
    if path is not None:
        for name, value in _flat(_read_toml(Path(path))).items():
            values[name] = _checked(name, value, str(path))
    for override in overrides:
        name, separator, text = override.partition("=")
        if not separator:
            raise ConfigError(f"--set {override}: expected KEY=VALUE, such as train.G_lr=1e-4")
        values[name] = _checked(name, _parse_value(name, text), f"--set {override}")
    _check_together(values, str(path or "configuration"))
    return _nested(values)


def architecture(config: EasyDict) -> dict[str, str | float]:
    """The arguments of `networks.build_network` that a configuration asks for."""
    return {"encoder": config.model.arch.encoder, "decoder": config.model.arch.decoder,
            "trimap_channel": config.model.trimap_channel, "width": config.model.width,
            "colour_samples": config.model.colour_samples}


def save_config(config: EasyDict, path: Path) -> None:
    """Writes a configuration as TOML for `load_config`; unset keys are left out."""
    def without_unset(table: dict) -> dict:
        return {name: without_unset(value) if isinstance(value, dict) else value
                for name, value in table.items() if value is not None}

    with atomic_path(path) as temporary:
        temporary.write_text(toml.dumps(without_unset(config)), encoding="utf-8")


def _read_toml(path: Path) -> dict:
    try:
        return toml.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror.lower() if error.strerror else error}") from None
    except (toml.TomlDecodeError, UnicodeDecodeError, IndexError) as error:
        raise ConfigError(f"{path}: not valid TOML ({error})") from None


def _flat(tables: dict, prefix: str = "") -> dict:
    flat = {}
    for name, value in tables.items():
        if isinstance(value, dict) and f"{prefix}{name}" in _TABLES:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _nested(values: dict) -> EasyDict:
    config: dict = {}
    for name, value in values.items():
        *tables, last = name.split(".")
        table = config
        for part in tables:
            table = table.setdefault(part, {})
        table[last] = value
    return EasyDict(config)


def _parse_value(name: str, text: str) -> object:
    """A value from the command line: TOML, or bare text for a key of type str."""
    try:
        value = toml.loads(f"value = {text}")["value"]
    except (toml.TomlDecodeError, IndexError):
        return text
    return text if name in KEYS and KEYS[name].kind is str and not isinstance(value, str) else value


def _checked(name: str, value: object, source: str) -> object:
    if name not in KEYS:
        raise ConfigError(f"{source}: unknown key {name}{_suggestion(name)}")
    key = KEYS[name]
    if key.kind is float and type(value) is int:
        value = float(value)
    if type(value) is not key.kind:
        found = _KIND_NAMES.get(type(value), type(value).__name__)
        raise ConfigError(f"{source}: {name} is {_shown(value)} ({found}); "
                          f"expected {_KIND_NAMES[key.kind]}")
    if key.kind is float and not math.isfinite(value):
        raise ConfigError(f"{source}: {name} is {value}; expected a finite number")
    if key.choices and value not in key.choices:
        raise ConfigError(f"{source}: {name} is {_shown(value)}; expected {' or '.join(map(_shown, key.choices))}")
    if key.low is not None and value < key.low:
        raise ConfigError(f"{source}: {name} is {value}; expected at least {key.low}")
    if key.high is not None and value > key.high:
        raise ConfigError(f"{source}: {name} is {value}; expected at most {key.high}")
    return value


def _check_together(values: dict, source: str) -> None:
    """Rejects combinations of individually valid values."""
    encoder, decoder = values["model.arch.encoder"], values["model.arch.decoder"]
    if ENCODERS[encoder] != DECODERS[decoder]:
        raise ConfigError(f"{source}: model.arch.encoder {_shown(encoder)} and model.arch.decoder {_shown(decoder)} "
                          "do not match: only one of them has attention")
    loss_weights = [name for name in values if name.startswith("train.") and name.endswith("_weight")]
    if not any(values[name] for name in loss_weights):
        raise ConfigError(f"{source}: {', '.join(loss_weights)} are all 0; expected at least one above 0")
    if values["data.finish"] and values["train.comp_weight"]:
        raise ConfigError(f"{source}: data.finish and train.comp_weight exclude each other: a camera's image is not "
                          "the composite of its layers")
    if values["data.cutouts"] and not values["data.generated"]:
        raise ConfigError(f"{source}: data.cutouts is set and data.generated is 0; expected the number of foregrounds "
                          "to draw; for cut-outs without drawn foregrounds set data.train_fg")
    if values["data.on_device"]:
        for name in ("data.finish", "data.augmentation"):
            if not values[name]:
                raise ConfigError(f"{source}: {name} is false; expected true with data.on_device, whose samples are "
                                  "augmented and finished")
        if values["data.generated_size"] % 32:
            raise ConfigError(f"{source}: data.generated_size is {values['data.generated_size']}; expected a multiple "
                              "of 32 with data.on_device")
    if values["data.crop_size"] % 32:
        raise ConfigError(f"{source}: data.crop_size is {values['data.crop_size']}; expected a multiple of 32")
    if values["train.warmup_step"] > values["train.total_step"]:
        raise ConfigError(f"{source}: train.warmup_step is {values['train.warmup_step']}; "
                          f"expected at most train.total_step, {values['train.total_step']}")


def _suggestion(name: str) -> str:
    same_ending = [key for key in KEYS if key.rpartition(".")[2] == name.rpartition(".")[2]]
    close = same_ending or difflib.get_close_matches(name, [*KEYS, *_TABLES], n=1)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _shown(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)


_KIND_NAMES = {bool: "true or false", int: "an integer", float: "a number", str: "text", list: "a list",
               dict: "a table"}
