"""Networks of other families: which layer salience is read from, and whether maps come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from e2m.detectors import load_detector
from e2m.salience.engine import Explainer

FAMILIES = {
    "ResNet": "resnet18",
    "DenseNet": "densenet121",
    "EfficientNet": "efficientnet_b0",
    "MobileNet": "mobilenetv3_small_100",
    "RegNet": "regnety_002",
    "ConvNeXt": "convnext_atto",
    "EdgeNeXt": "edgenext_xx_small",
    "MobileViT": "mobilevit_xxs",
    "MaxViT": "maxvit_rmlp_pico_rw_256",
    "Swin": "swin_tiny_patch4_window7_224",
    "PVT": "pvt_v2_b0",
    "ViT": "vit_tiny_patch16_224",
    "DeiT": "deit_tiny_distilled_patch16_224",
    "CaiT": "cait_xxs24_224",
    "XCiT": "xcit_nano_12_p16_224",
    "EVA": "eva02_tiny_patch14_224",
}
"""Small networks of timm, one of each family."""


def tried(families: Mapping[str, str], images: np.ndarray, methods: Sequence[str], seed: int = 0) -> pd.DataFrame:
    """Explain images with networks of random weights.

    Args:
        families: family -> name of a network of timm.
        images: (N, H, W, 3) uint8.
        methods: salience methods; CAM is skipped where it does not fit the network.
        seed: of the weights.

    Returns:
        One row a network and method: family, network, layer, cells ("7x7"), tokens dropped, salience, images, dead;
        ``dead`` is null where CAM does not fit.
    """
    torch.set_num_threads(1)
    rows = []
    for family, name in families.items():
        detector = load_detector(f"timm:{name}", seed=seed, device="cpu")
        fitting = [method for method in methods if method != "CAM" or detector.head]
        with Explainer(detector, fitting) as explainer:
            explained = explainer(images)
        cells = "x".join(map(str, explained[fitting[0]].maps.shape[1:]))
        prefix = getattr(detector.reshape, "keywords", {}).get("prefix", 0)
        for method in methods:
            dead = int(explained[method].dead.sum()) if method in explained else None
            rows.append((family, name, detector.layer, cells, prefix, method, len(images), dead))
    columns = ["family", "network", "layer", "cells", "tokens dropped", "salience", "images", "dead"]
    return pd.DataFrame(rows, columns=columns).astype({"dead": "Int64"})
