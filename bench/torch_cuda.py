#!/usr/bin/env python3
"""PyTorch's side of tools/gpu-check, on a card: one process a call.

  torch_cuda.py resnet50|gpt2 eager|compiled STEPS SECONDS [--tiny]      {"version": …, "start_s": …, "step_s": […]}

ResNet-50 of torch_models.py: 256 images of 224 x 224, channels_last; GPT-2, 124 M parameters: 16 samples of 1,024 tokens, no dropout. Both under
bf16 autocast, with a fused optimizer and data that lie on the card; compiled: torch.compile. SECONDS: what steps may take, behind the
first ones; start_s: from the start of Python to the end of the first step. --tiny: small ones on a processor, to try this program.
"""
import json
import sys
import time

BEGIN = time.perf_counter()
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

import torch_models  # noqa: E402

WARM, ROW = 5, 4  # steps: before any is timed; that are timed together


def resnet50(device, tiny):
    n, image = (2, 64) if tiny else (256, 224)
    model = torch_models.ResNet50().train().to(device, memory_format=torch.channels_last)
    x = torch.randn(n, 3, image, image, device=device).to(memory_format=torch.channels_last)
    y = torch.randint(0, 1000, (n,), device=device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4, fused=not tiny)
    return model, optimizer, lambda of: F.cross_entropy(of(x), y), None


def gpt2(device, tiny):
    z = torch_models.Sizes(batch=2, t=16, dim=32, heads=2, layers=1, vocabulary=256, dropout=0.0, tied=True) if tiny else \
        torch_models.Sizes(batch=16, t=1024, dim=768, heads=12, layers=12, vocabulary=50257, dropout=0.0, tied=True)
    model = torch_models.GPT(z).train().to(device)
    x, y = (torch.randint(0, z.vocabulary, (z.batch, z.t), device=device) for _ in range(2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1, fused=not tiny)
    return model, optimizer, lambda of: F.cross_entropy(of(x).view(-1, z.vocabulary), y.view(-1)), 1.0


def main():
    name, how, steps, limit_s = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    tiny = "--tiny" in sys.argv
    device = "cpu" if tiny else "cuda"
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    model, optimizer, loss_of, clip = {"resnet50": resnet50, "gpt2": gpt2}[name](device, tiny)
    forward = torch.compile(lambda: loss_of(model)) if how == "compiled" else lambda: loss_of(model)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, dtype=torch.bfloat16):
            loss = forward()
        loss.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip, foreach=True)
        optimizer.step()
        return loss

    def steps_in_a_row():
        """Seconds of one; the host waits for the device behind the last, as nobody looks at every loss."""
        begin = time.perf_counter()
        for _ in range(ROW):
            loss = step()
        loss.item()
        return (time.perf_counter() - begin) / ROW

    step().item()
    start_s = time.perf_counter() - BEGIN
    for _ in range(WARM):
        step().item()
    seconds, until = [], time.perf_counter() + limit_s
    while len(seconds) * ROW < steps and (len(seconds) < 3 or time.perf_counter() < until):
        seconds.append(steps_in_a_row())
    print(json.dumps({"version": torch.__version__, "start_s": round(start_s, 2), "step_s": [round(s, 6) for s in seconds]}))


main()
