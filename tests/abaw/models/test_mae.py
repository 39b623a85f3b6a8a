"""The masked autoencoder against plain loops written from the paper."""

import math

import pytest
import torch

from abaw.models.mae import (
    MaeConfig,
    MaskedAutoencoder,
    last_tokens,
    normalise_patches,
    patchify,
    random_masks,
    sine_cosine_positions,
    unpatchify,
)
from abaw.models.vit import VitConfig, encode_visible, to_pixels, unfuse_attention

SMALL = MaeConfig(
    encoder=VitConfig(size="micro", image_size=64), decoder_width=32, decoder_depth=1, decoder_heads=4, mask_ratio=0.75
)


def test_patchify_takes_rows_first_and_channels_last():
    images = torch.arange(2 * 3 * 32 * 48, dtype=torch.float64).reshape(2, 3, 32, 48)
    patches = patchify(images, 16)
    assert patches.shape == (2, 6, 768)
    for row in range(2):
        for column in range(3):
            block = images[1, :, row * 16 : row * 16 + 16, column * 16 : column * 16 + 16]
            assert torch.equal(patches[1, row * 3 + column], block.permute(1, 2, 0).reshape(-1))


def test_patches_go_back_to_their_places():
    images = torch.rand(2, 3, 48, 48)
    assert torch.equal(unpatchify(patchify(images, 16), 16), images)


def test_rebuilt_images_keep_what_was_visible_and_undo_the_normalisation():
    torch.manual_seed(0)
    network = MaskedAutoencoder(SMALL).double().eval()
    images = torch.rand(2, 3, 64, 64, dtype=torch.float64) * 5
    keep, masked = random_masks(2, 16, 0.75, torch.Generator().manual_seed(1))
    predicted, rebuilt = network(images, keep, masked), patchify(network.rebuild(images, keep, masked), 16)
    before = patchify(images, 16)
    for image in range(2):
        assert torch.equal(rebuilt[image, keep[image]], before[image, keep[image]])
        for place, patch in enumerate(masked[image].tolist()):
            true = before[image, patch]
            expected = predicted[image, place] * math.sqrt(true.var().item() + 1e-6) + true.mean()
            assert torch.allclose(rebuilt[image, patch], expected, atol=1e-12)


def test_attention_gives_the_same_loss_and_gradient_as_products_and_a_softmax():
    torch.manual_seed(0)
    network = MaskedAutoencoder(SMALL).double()
    images = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    masks = random_masks(2, 16, 0.75, torch.Generator().manual_seed(1))

    def found():
        network.zero_grad()
        network.loss(images, *masks).backward()
        return [value.grad.clone() for value in network.parameters() if value.grad is not None]

    fused = found()
    unfuse_attention(network)
    assert not network.decoder[-1].attn.fused_attn
    for one, other in zip(fused, found(), strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)


def test_blocks_start_from_xaviers_uniform_weights():
    torch.manual_seed(0)
    network = MaskedAutoencoder(SMALL)
    for layer in (network.encoder.blocks[1].mlp.fc1, network.decoder[0].attn.qkv):
        bound = math.sqrt(6 / (layer.in_features + layer.out_features))
        assert 0.95 * bound < layer.weight.abs().max() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
        assert (layer.bias == 0).all()


def test_masks_split_the_patches_of_each_image():
    keep, masked = random_masks(5, 49, 0.75, torch.Generator().manual_seed(0))
    assert keep.shape == (5, 12)
    assert masked.shape == (5, 37)
    both = torch.cat([keep, masked], dim=1).sort(dim=1).values
    assert torch.equal(both, torch.arange(49).expand(5, -1))
    assert not torch.equal(keep[0], keep[1])


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_a_mask_needs_visible_and_hidden_patches(ratio):
    with pytest.raises(ValueError, match="some of each are needed"):
        random_masks(1, 16, ratio, torch.Generator())


@pytest.mark.parametrize("kind", ["l1", "l2"])
def test_loss_equals_a_plain_loop_over_masked_patches(kind):
    torch.manual_seed(0)
    config = MaeConfig(**{**vars(SMALL), "loss": kind})
    network = MaskedAutoencoder(config).double()
    images = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    keep, masked = random_masks(2, 16, 0.75, torch.Generator().manual_seed(1))
    predicted = network(images, keep, masked)
    total, count = 0.0, 0
    for image in range(2):
        for place, patch in enumerate(masked[image].tolist()):
            row, column = divmod(patch, 4)
            block = images[image, :, row * 16 : row * 16 + 16, column * 16 : column * 16 + 16]
            values = block.permute(1, 2, 0).reshape(-1).tolist()
            mean = math.fsum(values) / len(values)
            variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
            for k, value in enumerate(values):
                error = predicted[image, place, k].item() - (value - mean) / math.sqrt(variance + 1e-6)
                total += abs(error) if kind == "l1" else error**2
                count += 1
    assert network.loss(images, keep, masked).item() == pytest.approx(total / count, rel=1e-12)


def test_normalised_patches_have_zero_mean_and_unit_variance():
    patches = normalise_patches(torch.rand(3, 4, 768, dtype=torch.float64) * 7 + 2)
    assert torch.allclose(patches.mean(-1), torch.zeros(3, 4, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(patches.var(-1), torch.ones(3, 4, dtype=torch.float64), atol=1e-5)


@pytest.mark.parametrize("stem", ["patch", "conv"])
def test_hidden_patches_do_not_reach_the_prediction(stem):
    torch.manual_seed(0)
    encoder = VitConfig(size="micro", image_size=64, stem=stem)
    network = MaskedAutoencoder(MaeConfig(**{**vars(SMALL), "encoder": encoder})).eval()
    images = torch.rand(1, 3, 64, 64)
    keep, masked = random_masks(1, 16, 0.75, torch.Generator().manual_seed(3))
    before = network(images, keep, masked)
    row, column = divmod(masked[0, 0].item(), 4)
    images[0, :, row * 16 : row * 16 + 16, column * 16 : column * 16 + 16] = 0
    assert torch.equal(network(images, keep, masked), before)
    row, column = divmod(keep[0, 0].item(), 4)
    images[0, :, row * 16 : row * 16 + 16, column * 16 : column * 16 + 16] = 0
    assert not torch.equal(network(images, keep, masked), before)


def test_encoding_all_patches_equals_the_whole_network_of_timm():
    torch.manual_seed(0)
    encoder = VitConfig(size="micro", image_size=64).build().double().eval()
    images = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    everything = torch.arange(16).expand(2, -1)
    assert torch.allclose(encode_visible(encoder, images, everything), encoder(images), atol=1e-12)
    assert torch.allclose(encode_visible(encoder, images), encoder(images), atol=1e-12)


def test_the_last_tokens_are_those_that_the_whole_block_makes():
    torch.manual_seed(0)
    block = MaskedAutoencoder(SMALL).double().decoder[0]
    tokens = torch.randn(2, 17, 32, dtype=torch.float64)
    assert torch.allclose(last_tokens(block, tokens, 12), block(tokens)[:, -12:], atol=1e-12)


def test_positions_differ_between_all_patches():
    positions = sine_cosine_positions(7, 64)[0]
    assert positions.shape == (49, 64)
    assert torch.cdist(positions, positions).add(torch.eye(49) * 9).min() > 0.1


def test_pixels_are_normalised_and_resized():
    images = torch.full((2, 3, 112, 112), 124, dtype=torch.uint8)
    pixels = to_pixels(images, image_size=64)
    assert pixels.shape == (2, 3, 64, 64)
    assert torch.allclose(pixels[:, 0], torch.tensor((124 / 255 - 0.485) / 0.229), atol=1e-5)


def test_image_size_must_be_a_multiple_of_the_patch():
    with pytest.raises(ValueError, match="100 is not a multiple of patch_size 16"):
        VitConfig(size="micro", image_size=100).build()


def test_a_conv_stem_makes_the_same_grid_of_patches():
    encoder = VitConfig(size="micro", image_size=64, stem="conv").build()
    assert encode_visible(encoder, torch.rand(2, 3, 64, 64)).shape == (2, 17, 96)
    with pytest.raises(ValueError, match="patch_size 12 is not a power of two"):
        VitConfig(size="micro", image_size=60, patch_size=12, stem="conv").build()
