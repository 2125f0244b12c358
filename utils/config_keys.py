"""The configuration's keys, with defaults, meanings and limits."""

from dataclasses import dataclass

from networks import DECODERS, ENCODERS
from utils.arguments import PRECISIONS


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
    "model.init_checkpoint": Key(
        None, "checkpoint with the initial weights, also of a network with fewer channels; takes precedence over the "
              "backbone"),
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
    "data.decoy_share": Key(0.0, "with data.on_device: share of composites whose background has something in the "
                                 "foreground's colours", low=0, high=1),
    "data.matted_image": Key(None, "with data.on_device: folder of photographs with known alpha, shown as they are"),
    "data.matted_alpha": Key(None, "folder of their alphas, with the same names"),
    "data.matted_share": Key(0.4, "share of samples that are crops of these photographs", low=0, high=1),
    "data.test_merged": Key(None, "folder of composited validation images"),
    "data.test_alpha": Key(None, "folder of their alphas, with the same names"),
    "data.test_trimap": Key(None, "folder of their trimaps, with the same names"),
    "data.crop_size": Key(512, "side of training crops in pixels; a multiple of 32", low=32, high=8192),
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
    "train.sample_balance": Key(0.0, "weight of each sample's loss: the step's mean number of unknown pixels by the "
                                     "sample's own, to this power; 0: all unknown pixels count alike", low=0, high=1),
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
    "train.resume_checkpoint": Key(None, "checkpoint to resume from: a name in the run's folder, such as "
                                         '"latest_model", or a path'),
    "train.reset_lr": Key(False, "restart the learning rate schedule when resuming"),

    "test.merged": Key(None, "folder of test images"),
    "test.alpha": Key(None, "folder of their alphas, with the same names"),
    "test.trimap": Key(None, "folder of their trimaps, with the same names"),
    "test.scale": Key("origin", "size at which test images are predicted", choices=("origin", "resize", "crop")),
    "test.cpu": Key(False, "test on the CPU even if a GPU is available"),
    "test.alpha_path": Key("prediction", "folder for predictions"),
    "test.batch_size": Key(1, "test images per batch", low=1),
    "test.checkpoint": Key("best_model", "checkpoint to test: a name in the run's folder, or a path"),
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
