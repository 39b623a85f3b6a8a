"""Pictures of what a masked autoencoder saw and rebuilt."""

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
