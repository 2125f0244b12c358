"""Configurations: defaults, files, overrides, and what is refused."""

import json
import re
from pathlib import Path

import pytest

from utils.config import ConfigError, load_config
from utils.config_keys import KEYS

ROOT = Path(__file__).parent.parent


def write(tmp_path, text: str) -> Path:
    (tmp_path / "run.toml").write_text(text)
    return tmp_path / "run.toml"


def test_defaults_are_the_published_recipe():
    config = load_config()
    assert (config.model.batch_size, config.train.total_step, config.train.warmup_step) == (10, 200_000, 5_000)
    assert (config.train.G_lr, config.train.beta1, config.train.beta2, config.data.crop_size) == (4e-4, 0.5, 0.999, 512)
    assert config.model.arch == {"encoder": "resnet_gca_encoder_29", "decoder": "res_gca_decoder_22"}
    assert config.train.comp_weight == config.train.gabor_weight == config.train.grad_weight == 0


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_configurations(path):
    config = load_config(path)
    assert config.version == path.stem
    assert not re.search(r'"(/|~)', path.read_text())


def test_file_over_defaults_and_overrides_over_the_file(tmp_path):
    path = write(tmp_path, 'version = "mine"\n[train]\nG_lr = 1\n[model.arch]\nencoder = "res_shortcut_encoder_29"\n'
                           'decoder = "res_shortcut_decoder_22"\n')
    config = load_config(path, ["train.G_lr=2e-3", "version=2026", 'test.scale="crop"', "data.augmentation=false"])
    assert config.train.G_lr == 2e-3
    assert config.version == "2026"
    assert config.test.scale == "crop"
    assert config.data.augmentation is False
    assert config.model.arch.encoder == "res_shortcut_encoder_29"
    assert isinstance(load_config(path).train.G_lr, float)


@pytest.mark.parametrize(("text", "message"), [
    ("[train]\nlr = 1e-3", "unknown key train.lr; did you mean train.G_lr?"),
    ("[data]\nbatch_size = 3", "unknown key data.batch_size; did you mean model.batch_size or test.batch_size?"),
    ("[trian]\nG_lr = 1e-3", "unknown key trian; did you mean train?"),
    ("data = 3", "data is 3; expected a table of keys"),
    ('[model]\nbatch_size = "10"', r'model.batch_size is "10" \(text\); expected an integer'),
    ("[model]\nbatch_size = 0", "model.batch_size is 0; expected at least 1"),
    ("[model]\nbatch_size = true", r"model.batch_size is true \(true or false\); expected an integer"),
    ("[data]\ncutouts = 'here'", "data.cutouts is set and data.generated is 0"),
    ("[data]\non_device = true", "data.finish is false; expected true with data.on_device"),
    ("[data]\non_device = true\nfinish = true\naugmentation = false", "data.augmentation is false; expected true"),
    ("[data]\non_device = true\nfinish = true\ngenerated_size = 500", "data.generated_size is 500; expected a mult"),
    ("[train]\nbeta1 = 1.5", "train.beta1 is 1.5; expected at most 0.999999"),
    ("[train]\nG_lr = nan", "train.G_lr is nan; expected a finite number"),
    ("[data]\ntrain_fg = 3", r"data.train_fg is 3 \(an integer\); expected text"),
    ("[data]\ncrop_size = 500", "data.crop_size is 500; expected a multiple of 32"),
    ("[model]\ntrimap_channel = 2", "model.trimap_channel is 2; expected 1 or 3"),
    ('[model.arch]\nencoder = "vgg"', 'model.arch.encoder is "vgg"; expected "resnet_gca_encoder_29" or'),
    ('[model.arch]\nencoder = "res_shortcut_encoder_29"', "do not match: only one of them has attention"),
    ("[train]\ntotal_step = 10", "train.warmup_step is 5000; expected at most train.total_step, 10"),
    ("[train]\nrec_weight = 0", "train.laplacian_weight are all 0; expected at least one above 0"),
    ("version = ", "not valid TOML"),
])
def test_refused_files(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=message) as error:
        load_config(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("override", "message"), [
    ("train.G_lr", "expected KEY=VALUE"),
    ("train.lr=3", "unknown key train.lr"),
    ("train.G_lr=fast", "expected a number"),
])
def test_refused_overrides(override, message):
    with pytest.raises(ConfigError, match=f"^--set {override}: .*{message}"):
        load_config(None, [override])


def test_missing_file(tmp_path):
    with pytest.raises(ConfigError, match=r"none.toml: no such file"):
        load_config(tmp_path / "none.toml")


def test_the_documentation_has_every_key():
    """Its table has a row `| name | default | meaning |` for each, word for word."""
    text = (ROOT / "docs" / "configuration.md").read_text()
    rows = [f"| `{name}` | {'unset' if key.default is None else f'`{json.dumps(key.default)}`'} | {key.meaning} |"
            for name, key in KEYS.items()]
    assert [row for row in rows if row not in text] == []
