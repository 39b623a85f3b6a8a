"""The contenders of `benchmarks/models.py`: our masked autoencoder, transformers' and lightly's, with equal weights."""

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from abaw.models.mae import MaskedAutoencoder


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What every contender gets: normalised images (B, 3, H, W) and the indices of visible and masked patches."""

    images: Tensor
    keep_BK: Tensor
    masked_BM: Tensor

    def first(self) -> "Inputs":
        """The first image alone."""
        return Inputs(images=self.images[:1], keep_BK=self.keep_BK[:1], masked_BM=self.masked_BM[:1])


class Contender:
    """A network, its loss and its optimiser; `bf16` says whether a step runs under bf16 autocast."""

    bf16 = False

    def __init__(self, network: nn.Module, loss: Callable[[Inputs], Tensor], **adamw: Any) -> None:
        self.network, self.loss = network, loss
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.optimiser = torch.optim.AdamW(trained, lr=1.5e-4, betas=(0.9, 0.95), weight_decay=0.05, **adamw)

    def forward(self, inputs: Inputs) -> Tensor:
        """The loss, in the precision of a step."""
        with torch.autocast(inputs.images.device.type, torch.bfloat16, enabled=self.bf16):
            return self.loss(inputs)

    def step(self, inputs: Inputs) -> None:
        """One step of training."""
        self.forward(inputs).backward()
        self.optimiser.step()
        self.optimiser.zero_grad()


def ours(network: MaskedAutoencoder) -> Contender:
    """Our network, and the optimiser that `abaw.training.optimisation` makes."""
    return Contender(network, lambda inputs: network.loss(inputs.images, inputs.keep_BK, inputs.masked_BM), fused=True)


def compiled(like: MaskedAutoencoder) -> Contender:
    """A copy of ours whose blocks run under torch.compile."""
    network = copy.deepcopy(like)
    network.compile_blocks()
    return ours(network)


def transformers_mae(like: MaskedAutoencoder) -> Contender:
    """Transformers' network, with attention as it chooses it (fused) and normalised targets."""
    from transformers.models.vit_mae.configuration_vit_mae import ViTMAEConfig
    from transformers.models.vit_mae.modeling_vit_mae import ViTMAEForPreTraining

    encoder = like.encoder
    config = ViTMAEConfig(
        hidden_size=encoder.embed_dim,
        intermediate_size=4 * encoder.embed_dim,
        num_hidden_layers=len(encoder.blocks),
        num_attention_heads=encoder.blocks[0].attn.num_heads,
        norm_pix_loss=True,
        layer_norm_eps=1e-6,
    )
    network = ViTMAEForPreTraining(config).train()
    network.load_state_dict(transformers_weights(like))

    def loss(inputs: Inputs) -> Tensor:
        order_BN = torch.cat([inputs.keep_BK, inputs.masked_BM], dim=1)
        rank_N = torch.arange(order_BN.shape[1], device=order_BN.device, dtype=torch.float32)
        noise_BN = torch.empty(order_BN.shape, device=order_BN.device).scatter_(1, order_BN, rank_N.expand_as(order_BN))
        result: Tensor = network(pixel_values=inputs.images, noise=noise_BN).loss
        return result

    return Contender(network, loss)


def transformers_weights(like: MaskedAutoencoder) -> dict[str, Tensor]:
    """Our weights under the names of transformers; queries, keys and values apart."""
    parts = {
        "encoder.cls_token": "vit.embeddings.cls_token",
        "encoder.pos_embed": "vit.embeddings.position_embeddings",
        "encoder.patch_embed.proj": "vit.embeddings.patch_embeddings.projection",
        "encoder.blocks": "vit.layers",
        "encoder.norm.": "vit.layernorm.",
        "to_decoder": "decoder.decoder_embed",
        "mask_token": "decoder.mask_token",
        "decoder.": "decoder.decoder_layers.",
        "decoder_norm": "decoder.decoder_norm",
        "to_pixels": "decoder.decoder_pred",
    }
    inside = {"norm1": "layernorm_before", "norm2": "layernorm_after", "attn.proj": "attention.o_proj"}
    weights = {"decoder.decoder_pos_embed": with_class_row(like.decoder_positions)}
    for name, value in like.state_dict().items():
        start = next(part for part in parts if name.startswith(part))
        theirs = parts[start] + name.removeprefix(start)
        for our, their in inside.items():
            theirs = theirs.replace(f".{our}.", f".{their}.")
        if ".attn.qkv." in theirs:
            for letter, part in zip("qkv", value.chunk(3), strict=True):
                weights[theirs.replace(".attn.qkv.", f".attention.{letter}_proj.")] = part
        else:
            weights[theirs] = value
    return weights


def lightly_mae(like: MaskedAutoencoder) -> Contender:
    """Lightly's two modules, called as the MAE example of its documentation calls them."""
    from lightly.models import utils
    from lightly.models.modules import MAEDecoderTIMM, MaskedVisionTransformerTIMM

    patch_size = like.config.encoder.patch_size
    backbone = MaskedVisionTransformerTIMM(vit=like.config.encoder.build())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        decoder = MAEDecoderTIMM(
            num_patches=backbone.vit.patch_embed.num_patches,
            patch_size=patch_size,
            embed_dim=backbone.vit.embed_dim,
            decoder_embed_dim=like.config.decoder_width,
            decoder_depth=like.config.decoder_depth,
            decoder_num_heads=like.config.decoder_heads,
        )
    backbone.vit.load_state_dict(like.encoder.state_dict())
    decoder.load_state_dict(lightly_weights(like))
    criterion = nn.MSELoss()

    def loss(inputs: Inputs) -> Tensor:
        images, masked_BM = inputs.images, inputs.masked_BM + 1
        keep_BK = torch.cat([torch.zeros_like(inputs.keep_BK[:, :1]), inputs.keep_BK + 1], dim=1)
        visible = decoder.embed(backbone.encode(images=images, idx_keep=keep_BK))
        tokens = utils.repeat_token(decoder.mask_token, (len(images), backbone.sequence_length))
        decoded = decoder.decode(utils.set_at_index(tokens, keep_BK, visible.type_as(tokens)))
        predicted = decoder.predict(utils.get_at_index(decoded, masked_BM))
        target = utils.get_at_index(utils.patchify(images, patch_size), masked_BM - 1)
        mean, variance = target.mean(dim=-1, keepdim=True), target.var(dim=-1, keepdim=True)
        result: Tensor = criterion(predicted, (target - mean) / (variance + 1e-6) ** 0.5)
        return result

    return Contender(nn.ModuleList([backbone, decoder]), loss)


def lightly_weights(like: MaskedAutoencoder) -> dict[str, Tensor]:
    """The decoder's weights under the names of lightly."""
    parts = {
        "to_decoder": "decoder_embed",
        "mask_token": "mask_token",
        "decoder.": "decoder_blocks.",
        "decoder_norm": "decoder_norm",
        "to_pixels": "decoder_pred",
    }
    weights = {"decoder_pos_embed": with_class_row(like.decoder_positions)}
    for name, value in like.state_dict().items():
        start = next((part for part in parts if name.startswith(part)), None)
        if start is not None:
            weights[parts[start] + name.removeprefix(start)] = value
    return weights


def with_class_row(positions_1ND: Tensor) -> Tensor:
    """Position embeddings with that of the class token, 0, before them."""
    return torch.cat([torch.zeros_like(positions_1ND[:, :1]), positions_1ND], dim=1)
