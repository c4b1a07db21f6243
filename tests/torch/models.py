#!/usr/bin/env python3
"""Makes tests/torch/models.json: how PyTorch trains the twins of the models under examples/, in double.

Run with PyTorch 2 from PyPI and   pip install torchvision transformers pretrainedmodels:
  python3 tests/torch/models.py
The twins are those libraries' own definitions. tests/e2e/models.py trains ours from the same weights
(pattern.py) on the same batch.
"""
import json
import pathlib
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from pattern import Pattern, image_batch, token_batch  # noqa: E402

CLASSES, VOCAB, LENGTH, STEPS = 10, 100, 16, 2


def vision(name, **options):
    import torchvision

    return getattr(torchvision.models, name)(num_classes=CLASSES, **options)


def inception(aux):
    return vision("inception_v3", aux_logits=aux, init_weights=False, transform_input=False)


def nasnet():
    from pretrainedmodels.models.nasnet_mobile import NASNetAMobile

    return NASNetAMobile(num_classes=CLASSES)


def vit():
    from torchvision.models import VisionTransformer

    return VisionTransformer(image_size=32, patch_size=8, num_layers=3, num_heads=4, hidden_dim=64, mlp_dim=256, num_classes=CLASSES)


def gpt2():
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(vocab_size=VOCAB, n_positions=LENGTH, n_embd=64, n_layer=3, n_head=4, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0))


def bert():
    from transformers import BertConfig, BertForMaskedLM

    return BertForMaskedLM(BertConfig(vocab_size=VOCAB, hidden_size=64, num_hidden_layers=3, num_attention_heads=4,
                                      intermediate_size=256, max_position_embeddings=32, tie_word_embeddings=False, hidden_dropout_prob=0,
                                      attention_probs_dropout_prob=0))


# name: (make, samples, image size, learning rate); names are those of TRAINED in tests/e2e/models.py
MODELS = {
    "resnext50_32x4d": (lambda: vision("resnext50_32x4d"), 4, 64, 1e-4),
    "wide_resnet50_2": (lambda: vision("wide_resnet50_2"), 4, 64, 1e-4),
    "squeezenet1_0": (lambda: vision("squeezenet1_0"), 4, 64, 1e-4),
    "squeezenet1_1": (lambda: vision("squeezenet1_1"), 4, 64, 1e-4),
    "alexnet": (lambda: vision("alexnet"), 4, 224, 1e-6),
    "densenet121": (lambda: vision("densenet121"), 4, 64, 2e-4),
    "densenet161": (lambda: vision("densenet161"), 4, 64, 2e-4),
    "inception_v3": (lambda: inception(True), 2, 299, 1e-4),
    "inception_v3 without aux": (lambda: inception(False), 4, 139, 1e-4),
    "mobilenet_v2": (lambda: vision("mobilenet_v2"), 4, 64, 5e-4),
    "nasnetamobile": (nasnet, 2, 224, 1e-3),
    "vit": (vit, 4, 32, 0.01),
    "gpt2": (gpt2, 4, None, 0.01),
    "bert": (bert, 4, None, 0.01),
}


def in_our_order(model):
    """(name, parameter) as our models make them: what PyTorch defines before it is used moves behind."""
    named = list(model.named_parameters())
    names = [n for n, _ in named]
    for cell in {n.split(".")[0] for n in names if ".path_1." in n}:  # NASNet: the older cell's path first
        moved = [i for i, n in enumerate(names) if n.startswith(cell + ".conv_1x1.")]
        last = max(i for i, n in enumerate(names) if n.startswith(cell + ".final_path_bn."))
        named = named[: moved[0]] + named[moved[-1] + 1 : last + 1] + [named[i] for i in moved] + named[last + 1 :]
        names = [n for n, _ in named]
    return named


def fill(model):
    """Every parameter gets the pattern's numbers; what is one tensor here and three of ours gets three pieces."""
    pattern, norms = Pattern(), (nn.BatchNorm2d, nn.LayerNorm)
    scales = {id(m.weight) for m in model.modules() if isinstance(m, norms)}
    columns = {id(m.weight) for m in model.modules() if type(m).__name__ == "Conv1D"}  # [in, out]

    def piece(shape, role):
        return torch.tensor(pattern.of(shape, role), dtype=torch.float64).reshape(shape)

    for name, p in in_our_order(model):
        role = "norm" if id(p) in scales else "bias" if name.endswith("bias") else "weight"
        shape = list(p.shape[::-1] if id(p) in columns else p.shape)
        thirds = 3 if "in_proj" in name or "c_attn" in name else 1
        made = torch.cat([piece([shape[0] // thirds, *shape[1:]], role) for _ in range(thirds)])
        p.data.copy_(made.T if id(p) in columns else made)


def batch(model, samples, size):
    if size:
        x, y = image_batch(samples, 3, size, CLASSES)
        return torch.tensor(x, dtype=torch.float64).reshape(samples, 3, size, size), torch.tensor(y)
    x, y = token_batch(samples, LENGTH, VOCAB)
    return torch.tensor(x).reshape(samples, LENGTH), torch.tensor(y)


def loss_of(model, x, y):
    out = model(x)
    if hasattr(out, "aux_logits"):
        return F.cross_entropy(out.logits, y) + 0.4 * F.cross_entropy(out.aux_logits, y)
    return F.cross_entropy(getattr(out, "logits", out).reshape(-1, VOCAB if hasattr(out, "logits") else CLASSES), y)


def main():
    path = HERE / "models.json"
    stored = json.loads(path.read_text()) if path.exists() else {}
    for name in sys.argv[1:] or MODELS:
        make, samples, size, lr = MODELS[name]
        torch.manual_seed(1)
        model = make().double()
        for m in model.modules():
            if isinstance(m, nn.Dropout):
                m.p = 0.0
        fill(model)
        x, y = batch(model, samples, size)
        optimizer, losses = torch.optim.SGD(model.parameters(), lr=lr), []
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = loss_of(model, x, y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        stored[name] = {"lr": lr, "losses": losses}
        print(name, *losses, flush=True)
        path.write_text(json.dumps({"torch": torch.__version__} | {k: v for k, v in stored.items() if k != "torch"}, indent=1) + "\n")


main()
