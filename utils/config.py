"""Configuration: keys with defaults and meanings, overridden by a TOML file, then by the command line.

`load_config` returns an EasyDict (`config.model.arch.encoder`) that is passed explicitly; there is no
global configuration.
"""

import difflib
import math
from pathlib import Path

import toml
from easydict import EasyDict

from networks import DECODERS, ENCODERS
from utils.config_keys import KEYS
from utils.errors import InputError, cut, one_line, system_reason
from utils.file_writing import atomic_path, is_folder_name

LARGEST_INTEGER = 2**53  # the integers up to this one are exact everywhere
LARGEST_FILE = 10**6  # characters


class ConfigError(InputError):
    """A configuration that cannot be used. The message names file and key."""


_TABLES = {name[:i] for name in KEYS for i, character in enumerate(name) if character == "."}


def load_config(path: str | Path | None = None, overrides: list[str] | tuple[str, ...] = ()) -> EasyDict:
    """The configuration: defaults, overridden by a TOML file, then by `KEY=VALUE` texts.

    Raises:
        ConfigError: for a missing or invalid file, an unknown key, a wrong type or an invalid value.
    """
    values = {name: key.default for name, key in KEYS.items()}
    if path is not None:
        for name, value in flat(_read_toml(Path(path))).items():
            values[name] = _checked(name, value, str(path))
    for override in overrides:
        name, separator, text = override.partition("=")
        if not separator:
            raise ConfigError(f"--set {cut(override)}: expected KEY=VALUE, such as train.G_lr=1e-4")
        values[name] = _checked(name, _parse_value(name, text), f"--set {cut(override)}")
    _check_together(values, (str(path or "configuration") + (" and --set" if overrides else "")))
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
        with path.open(encoding="utf-8-sig") as file:  # Windows' editors begin files with a byte order mark
            text = file.read(LARGEST_FILE + 1)
        if len(text) > LARGEST_FILE:
            raise ConfigError(f"{path}: more than {LARGEST_FILE} characters; expected a configuration")
        return toml.loads(text)
    except ConfigError:
        raise
    except OSError as error:
        raise ConfigError(f"{path}: {system_reason(error)}") from None
    except RecursionError:
        raise ConfigError(f"{path}: not valid TOML (nested too deeply)") from None
    except Exception as error:  # besides TomlDecodeError, toml raises many kinds for invalid files
        raise ConfigError(f"{path}: not valid TOML ({one_line(error)})") from None


def flat(tables: dict, prefix: str = "") -> dict:
    """A configuration's values by their full names, such as model.batch_size."""
    values = {}
    for name, value in tables.items():
        if isinstance(value, dict) and f"{prefix}{name}" in _TABLES:
            values |= flat(value, f"{prefix}{name}.")
        else:
            values[f"{prefix}{name}"] = value
    return values


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
        (value,) = toml.loads(f"value = {text}").values()  # one only: a text of several lines is no value
    except Exception:  # as in _read_toml
        return text
    return text if name in KEYS and KEYS[name].kind is str and not isinstance(value, str) else value


def _checked(name: str, value: object, source: str) -> object:
    if name in _TABLES:
        raise ConfigError(f"{source}: {name} is {_shown(value)}; expected a table of keys")
    if name not in KEYS:
        raise ConfigError(f"{source}: unknown key {cut(name)}{_suggestion(name)}")
    key = KEYS[name]
    if key.kind is float and type(value) is int:
        value = float(value)
    if type(value) is not key.kind:
        found = _KIND_NAMES.get(type(value), type(value).__name__)
        shown = _shown(value) if isinstance(value, dict | list) else f"{_shown(value)} ({found})"
        raise ConfigError(f"{source}: {name} is {shown}; expected {_KIND_NAMES[key.kind]}")
    if key.kind is float and not math.isfinite(value):
        raise ConfigError(f"{source}: {name} is {value}; expected a finite number")
    if key.choices and value not in key.choices:
        raise ConfigError(f"{source}: {name} is {_shown(value)}; expected {' or '.join(map(_shown, key.choices))}")
    if key.kind is int and abs(value) > LARGEST_INTEGER:
        raise ConfigError(f"{source}: {name} is {_shown(value)}; expected at most {LARGEST_INTEGER}")
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
    for first, second in (("image", "alpha"), ("alpha", "image")):
        if values[f"data.matted_{first}"] and not values[f"data.matted_{second}"]:
            raise ConfigError(f"{source}: data.matted_{first} is set and data.matted_{second} is not; expected both")
    if values["data.matted_image"] and not values["data.on_device"]:
        raise ConfigError(f"{source}: data.matted_image is set and data.on_device is false; expected true")
    if values["data.on_device"]:
        for name in ("data.finish", "data.augmentation"):
            if not values[name]:
                raise ConfigError(f"{source}: {name} is false; expected true with data.on_device, whose samples are "
                                  "augmented and finished")
        if values["data.generated_size"] % 32:
            raise ConfigError(f"{source}: data.generated_size is {values['data.generated_size']}; expected a multiple "
                              "of 32 with data.on_device")
    if not is_folder_name(values["version"]):
        raise ConfigError(f"{source}: version is {_shown(values['version'])}; expected the name of a folder")
    if values["model.batch_size"] == 1 and values["data.crop_size"] == 32 and not values["train.freeze_bn"]:
        raise ConfigError(f"{source}: model.batch_size is 1 and data.crop_size is 32, which leaves batch normalisation "
                          "one value per channel; expected larger ones, or train.freeze_bn=true")
    if values["data.crop_size"] % 32:
        raise ConfigError(f"{source}: data.crop_size is {values['data.crop_size']}; expected a multiple of 32")
    if values["train.warmup_step"] > values["train.total_step"]:
        raise ConfigError(f"{source}: train.warmup_step is {values['train.warmup_step']}; "
                          f"expected at most train.total_step, {values['train.total_step']}")


def _suggestion(name: str) -> str:
    same_ending = [key for key in KEYS if key.rpartition(".")[2] == name.rpartition(".")[2]]
    tables = [table for table in _TABLES if not name.startswith(f"{table}.")]
    close = same_ending or difflib.get_close_matches(name, [*KEYS, *tables], n=1)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _shown(value: object) -> str:
    if isinstance(value, dict | list):  # of any size and depth
        return _KIND_NAMES[list if isinstance(value, list) else dict]
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text.lower() if isinstance(value, bool) else cut(text)


_KIND_NAMES = {bool: "true or false", int: "an integer", float: "a number", str: "text", list: "a list",
               dict: "a table"}
