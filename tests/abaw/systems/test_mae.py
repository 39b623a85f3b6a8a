"""Pictures of what a masked autoencoder saw and rebuilt."""

import pytest
import torch

from abaw.models.mae import MaeConfig
from abaw.models.vit import VitConfig
from abaw.systems.mae import MaePretraining

MAE = MaeConfig(
    encoder=VitConfig(size="micro", image_size=64), decoder_width=32, decoder_depth=1, decoder_heads=4, mask_ratio=0.75
)


def test_pictures_are_the_image_its_visible_patches_and_the_rebuilt_image():
    torch.manual_seed(0)
    system = MaePretraining(mae=MAE).build().eval()
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    pictures = system.pictures({"image": images}, torch.Generator().manual_seed(0))
    assert pictures.shape == (2, 3, 3, 64, 64)
    assert pictures.dtype == torch.uint8
    assert torch.equal(pictures[:, 0], images)
    mean_colour = torch.tensor([124, 116, 104], dtype=torch.uint8).view(3, 1, 1)
    for image in range(2):
        hidden = (pictures[image, 1] == mean_colour).all(0)
        assert hidden.float().mean() == 0.75
        assert torch.equal(pictures[image, 2][:, ~hidden], images[image][:, ~hidden])
        assert not torch.equal(pictures[image, 2][:, hidden], images[image][:, hidden])


@pytest.mark.slow
def test_compiled_blocks_give_the_same_loss_gradients_and_names_of_weights():
    torch.manual_seed(0)
    plain, compiled = MaePretraining(mae=MAE).build(), MaePretraining(mae=MAE).build()
    compiled.compile_blocks()
    compiled.load_state_dict(plain.state_dict())
    batch = {"image": torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)}
    losses = [system(batch, torch.Generator().manual_seed(0))["reconstruction"] for system in (plain, compiled)]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=0)
    for loss in losses:
        loss.backward()
    for expected, found in zip(plain.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad, rtol=1e-3, atol=1e-6)
