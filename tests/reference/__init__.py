"""Reference outputs of MobileSAM, and what is needed to reproduce them.

``golden.npz`` holds outputs of the reference implementation
(ChaoningZhang/MobileSAM @34bbbfd, torch 2.13 CPU, float32) for the image of
``image.golden_image`` and the pseudo-random weights of
``weights.make_state_dict``. Points and boxes in it are x-y pixels of the
600 x 800 image; stored boxes are inclusive. Limits: embedding 1e-4, logits
2e-3, predicted IoU 1e-5, mask IoU at least 0.999.
"""
