"""Networks as users write them: each uses something that converters are known to stumble over."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional


class TaggerBiLSTM(nn.Module):
    """Two bidirectional layers, a mask from the lengths, log-probabilities for each token."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(40, 12, padding_idx=0)
        self.lstm = nn.LSTM(12, 10, num_layers=2, bidirectional=True, batch_first=True)
        self.out = nn.Linear(20, 6)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        hidden, _ = self.lstm(self.embed(tokens))
        mask = torch.arange(tokens.shape[1])[None, :] < lengths[:, None]
        return functional.log_softmax(self.out(hidden), -1).masked_fill(~mask[..., None], 0.0)


class DilatedAudio(nn.Module):
    """Causal dilated 1-D convolutions with weight normalisation, gates and skips."""

    def __init__(self) -> None:
        super().__init__()
        self.inlet = nn.Conv1d(2, 8, 1)
        self.gates = nn.ModuleList(
            nn.utils.parametrizations.weight_norm(nn.Conv1d(8, 16, 2, dilation=2**i)) for i in range(3)
        )
        self.skips = nn.ModuleList(nn.Conv1d(8, 8, 1) for _ in range(3))

    def forward(self, wave: Tensor) -> Tensor:
        x, total = self.inlet(wave), torch.zeros(())
        for i, (gate, skip) in enumerate(zip(self.gates, self.skips, strict=True)):
            y = functional.glu(gate(functional.pad(x, (2**i, 0))), dim=1)
            total = total + skip(y)
            x = x + y
        return torch.tanh(total).mean(-1)


class StyleTransfer(nn.Module):
    """Reflection padding, instance and group norms, nearest upsampling, pixel shuffle."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 8, 3, stride=2, padding=1, padding_mode="reflect")
        self.norm = nn.InstanceNorm2d(8, affine=True)
        self.group = nn.GroupNorm(4, 8)
        self.mid = nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular")
        self.grow = nn.Conv2d(8, 12, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        x = functional.leaky_relu(self.norm(self.down(image)), 0.2)
        x = x + functional.hardswish(self.group(self.mid(x)))
        x = functional.pixel_shuffle(self.grow(x), 2)
        return torch.sigmoid(functional.interpolate(x, scale_factor=2, mode="nearest"))


class FeaturePyramid(nn.Module):
    """Resizes to the size of another map, concatenates, pools to a size that does not divide, returns a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.b = nn.Conv2d(6, 6, 3, stride=2, padding=1)
        self.head = nn.Linear(12 * 9, 4)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        low = torch.relu(self.a(image))
        high = torch.relu(self.b(low))
        up = functional.interpolate(high, size=low.shape[2:], mode="bilinear", align_corners=False)
        both = torch.cat([low, up], 1)
        return {"heat": both.amax(1), "scores": self.head(functional.adaptive_avg_pool2d(both, 3).flatten(1))}


class SpatialTransformer(nn.Module):
    """An affine grid and grid sampling, from parameters that the network itself predicts."""

    def __init__(self) -> None:
        super().__init__()
        self.locate = nn.Linear(16 * 16, 6)
        with torch.no_grad():
            self.locate.weight.mul_(0.1)
            self.locate.bias.copy_(torch.tensor([1.0, 0, 0, 0, 1, 0]))
        self.conv = nn.Conv2d(1, 4, 3)

    def forward(self, image: Tensor) -> Tensor:
        theta = self.locate(image.flatten(1)).view(-1, 2, 3)
        grid = functional.affine_grid(theta, list(image.shape), align_corners=False)
        return self.conv(functional.grid_sample(image, grid, align_corners=False)).relu().mean((2, 3))


class TransformerTagger(nn.Module):
    """torch's own encoder layers with a padding mask, sinusoidal positions and a pooled and a per-token output."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, norm_first=True, activation="gelu")
        self.embed = nn.Embedding(50, 16)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        angles = torch.arange(64)[:, None] / 10000 ** (torch.arange(0, 16, 2) / 16)
        self.register_buffer("positions", torch.stack([angles.sin(), angles.cos()], -1).flatten(1))
        self.out = nn.Linear(16, 5)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        padding = tokens == 0
        x = self.embed(tokens) * math.sqrt(16) + self.positions[: tokens.shape[1]]
        x = self.encoder(x, src_key_padding_mask=padding)
        keep = (~padding).unsqueeze(-1).to(x.dtype)
        return self.out(x), (x * keep).sum(1) / keep.sum(1).clamp(min=1)


class VariationalAutoencoder(nn.Module):
    """Transposed convolutions and several outputs; no sampling in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Conv2d(1, 4, 4, 2, 1), nn.ELU(), nn.Conv2d(4, 8, 4, 2, 1), nn.Flatten())
        self.mean, self.logvar = nn.Linear(8 * 4 * 4, 5), nn.Linear(8 * 4 * 4, 5)
        self.expand = nn.Linear(5, 8 * 4 * 4)
        self.decode = nn.Sequential(
            nn.ConvTranspose2d(8, 4, 4, 2, 1), nn.SELU(), nn.ConvTranspose2d(4, 1, 3, 2, 1, output_padding=1)
        )

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        code = self.encode(image)
        mean, logvar = self.mean(code), self.logvar(code).clamp(-4, 4)
        z = mean + torch.exp(0.5 * logvar) if self.training else mean
        return self.decode(self.expand(z).view(-1, 8, 4, 4)), mean, logvar


class GraphConvolution(nn.Module):
    """Message passing over an edge list: gather, scatter-add, degree normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        start, end = edges[0], edges[1]
        degree = torch.zeros(nodes.shape[0]).index_add(0, end, torch.ones(edges.shape[1])).clamp(min=1)
        x = nodes
        for layer in (self.one, self.two):
            message = layer(x)[start]
            x = torch.zeros(nodes.shape[0], message.shape[1]).index_add(0, end, message) / degree[:, None]
            x = functional.softplus(x)
        return x


class Siamese(nn.Module):
    """One branch for two inputs, cosine similarity and distance."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.Linear(10, 16), nn.PReLU(16), nn.LayerNorm(16), nn.Linear(16, 8))

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        a, b = self.branch(left), self.branch(right)
        return functional.cosine_similarity(a, b), torch.linalg.vector_norm(a - b, dim=-1)


class ByteImages(nn.Module):
    """uint8 channels-last images, normalised inside, as cameras give them."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([123.7, 116.3, 103.5]).view(1, 3, 1, 1))
        self.conv = nn.Conv2d(3, 5, 3, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(5)
        self.norm.running_mean.normal_()
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        x = (pixels.permute(0, 3, 1, 2).float() - self.mean) / 58.0
        x = functional.relu6(self.norm(self.conv(x)))
        scores = functional.max_pool2d(x, 3, 2, ceil_mode=True).mean((2, 3)).softmax(-1)
        return scores, scores.argmax(-1)


class TopKRouter(nn.Module):
    """A mixture of experts with top-k gates."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(8, 4)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(8, 12), nn.SiLU(), nn.Linear(12, 8)) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        weights, chosen = self.gate(x).softmax(-1).topk(2, dim=-1)
        weights = weights / weights.sum(-1, keepdim=True)
        every = torch.stack([expert(x) for expert in self.experts], -2)
        picked = every.gather(-2, chosen.unsqueeze(-1).expand(-1, -1, -1, x.shape[-1]))
        return (picked * weights.unsqueeze(-1)).sum(-2)


class RotaryDecoder(nn.Module):
    """A pre-norm decoder block by hand: RMS norm, rotary positions, causal mask, grouped queries, SwiGLU."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(60, 32)
        self.norms = nn.ModuleList(nn.RMSNorm(32) for _ in range(2))
        self.q, self.k, self.v = nn.Linear(32, 32), nn.Linear(32, 16), nn.Linear(32, 16)
        self.o, self.up, self.gate, self.down = (
            nn.Linear(32, 32),
            nn.Linear(32, 48),
            nn.Linear(32, 48),
            nn.Linear(48, 32),
        )
        self.register_buffer("rates", 1.0 / 10000 ** (torch.arange(0, 8, 2) / 8))

    def rotate(self, x: Tensor, angles: Tensor) -> Tensor:
        even, odd = x[..., ::2], x[..., 1::2]
        turned = torch.stack([even * angles.cos() - odd * angles.sin(), even * angles.sin() + odd * angles.cos()], -1)
        return turned.flatten(-2)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        batch, length = tokens.shape
        angles = torch.arange(length, device=tokens.device)[:, None] * self.rates
        h = self.norms[0](x)
        q = self.rotate(self.q(h).view(batch, length, 4, 8).transpose(1, 2), angles)
        k = self.rotate(self.k(h).view(batch, length, 2, 8).transpose(1, 2), angles).repeat_interleave(2, 1)
        v = self.v(h).view(batch, length, 2, 8).transpose(1, 2).repeat_interleave(2, 1)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(mixed.transpose(1, 2).reshape(batch, length, 32))
        h = self.norms[1](x)
        return (x + self.down(functional.silu(self.gate(h)) * self.up(h))) @ self.embed.weight.T


class WindowAttention(nn.Module):
    """Windows by unfold and roll with a relative bias, as in Swin; sizes stay open."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 2, 2)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.bias = nn.Parameter(torch.randn(16, 16) * 0.1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.patch(image).permute(0, 2, 3, 1)
        x = torch.roll(x, (-2, -2), (1, 2))
        batch, height, width, channels = x.shape
        windows = x.view(batch, height // 4, 4, width // 4, 4, channels).permute(0, 1, 3, 2, 4, 5)
        windows = windows.reshape(-1, 16, channels)
        y, _ = self.attention(windows, windows, windows, attn_mask=self.bias, need_weights=False)
        return (windows + y).reshape(batch, -1, channels).mean(1)


class ForecastGRU(nn.Module):
    """An encoder and an unrolled decoder that feeds itself, with a cumulative and a reversed branch."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.GRU(3, 12, batch_first=True)
        self.cell = nn.GRUCell(1, 12)
        self.out = nn.Linear(12, 1)

    def forward(self, series: Tensor) -> Tensor:
        trend = torch.cumsum(series, 1) / torch.arange(1, series.shape[1] + 1)[None, :, None]
        _, state = self.encoder(series - trend.flip(1))
        h, y, steps = state[0], series[:, -1, :1], []
        for _ in range(4):
            h = self.cell(y, h)
            y = self.out(h)
            steps.append(y)
        return torch.cat(steps, 1)


class VideoNet(nn.Module):
    """3-D convolutions and pools, with dilation and ceil mode."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv3d(2, 6, 3, padding=1)
        self.b = nn.Conv3d(6, 6, (1, 3, 3), dilation=(1, 2, 2), groups=3)
        self.norm = nn.BatchNorm3d(6)
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, clip: Tensor) -> Tensor:
        x = functional.max_pool3d(torch.relu(self.a(clip)), (1, 2, 2), ceil_mode=True)
        return self.norm(self.b(x)).mean((2, 3, 4))


class BagOfWords(nn.Module):
    """Mean embeddings, a bilinear layer, and values picked by a boolean."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.users = nn.Embedding(30, 6), nn.Embedding(9, 4)
        self.mix = nn.Bilinear(6, 4, 5)

    def forward(self, words: Tensor, user: Tensor) -> Tensor:
        keep = (words > 0).unsqueeze(-1)
        mean = (self.words(words) * keep).sum(1) / keep.sum(1).clamp(min=1)
        x = self.mix(mean, self.users(user))
        return torch.where(x > 0, x, torch.expm1(x)).clamp(max=3).round(decimals=3)


class SqueezeExcite(nn.Module):
    """ResNeXt-like grouped convolutions with squeeze and excitation, hard sigmoid, Mish, log-sum-exp pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.inlet = nn.Conv2d(3, 16, 3, 2, 1)
        self.grouped = nn.Conv2d(16, 16, 3, padding=2, dilation=2, groups=4)
        self.squeeze, self.excite = nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = functional.mish(self.inlet(image))
        y = functional.relu(self.grouped(x))
        gate = functional.hardsigmoid(self.excite(functional.relu(self.squeeze(y.mean((2, 3), keepdim=True)))))
        return torch.logsumexp((x + y * gate).flatten(2), -1)


class ShiftedDecoder(nn.Module):
    """Targets shifted to the right by assignment to slices, as sequence-to-sequence models begin."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(30, 8)
        self.head = nn.Linear(8, 30)

    def forward(self, labels: Tensor) -> Tensor:
        shifted = labels.new_zeros(labels.shape)
        shifted[:, 1:] = labels[:, :-1].clone()
        shifted[:, 0] = 2
        return self.head(self.embedding(shifted.masked_fill(shifted == 7, 1)))


class GraphAttention(nn.Module):
    """Softmax over incoming edges, and the mean of neighbours."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(6, 8)
        self.score = nn.Linear(16, 1)

    def forward(self, nodes: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        h, source, target = self.project(nodes), edges[0], edges[1]
        scores = torch.tanh(self.score(torch.cat([h[source], h[target]], -1))).squeeze(-1)
        most = torch.full_like(h[:, 0], -1e9).scatter_reduce(0, target, scores, "amax")
        weights = torch.exp(scores - most[target])
        total = torch.zeros_like(h[:, 0]).index_add(0, target, weights)
        mixed = torch.zeros_like(h).index_add(0, target, h[source] * (weights / total[target]).unsqueeze(-1))
        index = target.unsqueeze(1).expand(-1, 8)
        return mixed, h.scatter_reduce(0, index, h[source], "mean", include_self=False)


@dataclass(frozen=True)
class UserNet:
    """A network, its interface and the sizes to run it at after conversion."""

    build: Callable[[], nn.Module]
    inputs: tuple[str, ...]
    limits: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)


NETS: dict[str, UserNet] = {
    "tagger_bilstm": UserNet(TaggerBiLSTM, ("tokens:int64[batch,length]", "lengths:int64[batch]"), {"tokens": 40}),
    "dilated_audio": UserNet(DilatedAudio, ("wave:float32[batch,2,time]",), sizes={"time": 23}),
    "style_transfer": UserNet(StyleTransfer, ("image:float32[batch,3,32,32]",)),
    "feature_pyramid": UserNet(FeaturePyramid, ("image:float32[batch,3,30,42]",)),
    "spatial_transformer": UserNet(SpatialTransformer, ("image:float32[batch,1,16,16]",)),
    "transformer_tagger": UserNet(TransformerTagger, ("tokens:int64[batch,length]",), {"tokens": 50}),
    "autoencoder": UserNet(VariationalAutoencoder, ("image:float32[batch,1,16,16]",)),
    "graph": UserNet(GraphConvolution, ("nodes:float32[nodes,6]", "edges:int64[2,edges]"), {"edges": 4}),
    "siamese": UserNet(Siamese, ("left:float32[batch,10]", "right:float32[batch,10]")),
    "byte_images": UserNet(ByteImages, ("pixels:uint8[batch,29,33,3]",), {"pixels": 256}),
    "experts": UserNet(TopKRouter, ("x:float32[batch,length,8]",)),
    "rotary_decoder": UserNet(RotaryDecoder, ("tokens:int64[batch,length]",), {"tokens": 60}),
    "windows": UserNet(WindowAttention, ("image:float32[batch,3,16,24]",)),
    "forecast": UserNet(ForecastGRU, ("series:float32[batch,time,3]",)),
    "video": UserNet(VideoNet, ("clip:float32[batch,2,5,13,13]",)),
    "bag_of_words": UserNet(BagOfWords, ("words:int64[batch,length]", "user:int64[batch]"), {"words": 30, "user": 9}),
    "shifted_decoder": UserNet(ShiftedDecoder, ("labels:int64[batch,length]",), {"labels": 30}),
    "graph_attention": UserNet(
        GraphAttention, ("nodes:float32[nodes,6]", "edges:int64[2,edges]"), {"edges": 4}, {"nodes": 4}
    ),
    "squeeze_excite": UserNet(SqueezeExcite, ("image:float32[batch,3,21,27]",)),
}
"""By name; `limits` bounds the integers of an input."""


def build(name: str) -> nn.Module:
    """A seeded network in evaluation mode."""
    torch.manual_seed(7)
    return NETS[name].build().eval()
