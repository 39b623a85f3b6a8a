"""Networks, on timm."""
