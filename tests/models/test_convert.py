"""Each peer's layout is built at random here, and its forward pass restated as plainly as its source allows."""

import pickle

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from bench.errors import UserError
from models import convert
from models.crnn import CRNN
from models.data.charset import Charset
from models.weights.file import load_weights, save_weights
from models.weights.peers import convert_peer

CHANNELS = (64, 128, 256, 256, 512, 512, 512)
H = 8  # hidden units; the convolutions have the peers' own sizes


@pytest.fixture(autouse=True)
def _same_every_time():
    torch.manual_seed(0)


def pictures(channels=1):
    return torch.rand(2, channels, 32, 100).double() * 2 - 1


def batch_norm(state, name, features, counted=True):
    state[f"{name}.weight"], state[f"{name}.bias"] = torch.rand(features) + 0.5, torch.randn(features) * 0.1
    state[f"{name}.running_mean"], state[f"{name}.running_var"] = torch.randn(features), torch.rand(features) + 0.5
    if counted:
        state[f"{name}.num_batches_tracked"] = torch.tensor(5)


def convolution(state, name, inputs, outputs, kernel, bias=True):
    state[f"{name}.weight"] = torch.randn(outputs, inputs, kernel, kernel) * (2 / inputs / kernel**2) ** 0.5
    if bias:
        state[f"{name}.bias"] = torch.randn(outputs) * 0.1


def put(state, name, module):
    state.update({f"{name}.{key}": value for key, value in module.state_dict().items()})


def normed(state, name, x):
    values = (state[f"{name}.{key}"].to(x.dtype) for key in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, *values)


def convolved(state, name, x, **options):
    bias = state.get(f"{name}.bias")
    return F.conv2d(x, state[f"{name}.weight"].to(x.dtype), None if bias is None else bias.to(x.dtype), **options)


def linear(state, name, x):
    bias = state.get(f"{name}.bias")
    return F.linear(x, state[f"{name}.weight"].to(x.dtype), None if bias is None else bias.to(x.dtype))


def lstm(state, name, x):
    """Both directions over (N, T, F), batch first."""
    values = {key.removeprefix(f"{name}."): v for key, v in state.items() if key.startswith(f"{name}.")}
    cell = nn.LSTM(x.shape[-1], values["weight_hh_l0"].shape[1], bidirectional=True, batch_first=True).to(x.dtype)
    cell.load_state_dict(values)
    return cell(x)[0]


def seven_convolutions(names, norms, channels, bias=lambda i: True, counted=True):
    state, inputs = {}, channels
    for i, outputs in enumerate(CHANNELS):
        convolution(state, names[i], inputs, outputs, 2 if i == 6 else 3, bias(i))
        if i in norms:
            batch_norm(state, norms[i], outputs, counted)
        inputs = outputs
    return state


def columns(state, names, norms, padded, x):
    """(N, C, 32, W) -> (N, T, 512): convolution, batch norm, ReLU, pooling, in the order of the peers' files."""
    for i in range(7):
        x = convolved(state, names[i], x, padding=int(i < 6))
        x = torch.relu(normed(state, norms[i], x) if i in norms else x)
        if i in (0, 1):
            x = F.max_pool2d(x, 2)
        if i in (3, 5):
            x = F.max_pool2d(x, 2, (2, 1), (0, 1)) if padded else F.max_pool2d(x, (2, 1))
    return x.squeeze(2).transpose(1, 2)


CNN = [f"cnn.conv{i}" for i in range(7)]
PAPER_NORMS = {i: f"cnn.batchnorm{i}" for i in (2, 4, 6)}


def paper_net(linear_name, channels, bias, counted=True):
    state = seven_convolutions(CNN, PAPER_NORMS, channels, bias, counted)
    for i, (inputs, outputs) in enumerate(((512, H), (H, 37))):
        put(state, f"rnn.{i}.rnn", nn.LSTM(inputs, H, bidirectional=True))
        put(state, f"rnn.{i}.{linear_name}", nn.Linear(2 * H, outputs))
    return state


def paper_forward(linear_name, state, images):
    x = columns(state, CNN, PAPER_NORMS, True, images)
    for i in range(2):
        x = linear(state, f"rnn.{i}.{linear_name}", lstm(state, f"rnn.{i}.rnn", x))
    return x


def meijieru():
    return paper_net("embedding", 1, lambda i: True)


def parseq():
    return paper_net("linear", 3, lambda i: i not in PAPER_NORMS)


GITYCC_NORMS = {i: f"cnn.batchnorm{i}" for i in (4, 5)}


def gitycc():
    state = seven_convolutions(CNN, GITYCC_NORMS, 1)
    put(state, "map_to_seq", nn.Linear(512, 64))
    put(state, "rnn1", nn.LSTM(64, H, bidirectional=True))
    put(state, "rnn2", nn.LSTM(2 * H, H, bidirectional=True))
    put(state, "dense", nn.Linear(2 * H, 37))
    return state


def gitycc_forward(state, images):
    x = linear(state, "map_to_seq", columns(state, CNN, GITYCC_NORMS, False, images))
    return linear(state, "dense", lstm(state, "rnn2", lstm(state, "rnn1", x)))


CONVNET = [f"FeatureExtraction.ConvNet.{i}" for i in (0, 3, 6, 8, 11, 14, 18)]
CONVNET_NORMS = {4: "FeatureExtraction.ConvNet.12", 5: "FeatureExtraction.ConvNet.15"}


def clovaai_sequence(state):
    for i, inputs in enumerate((512, H)):
        put(state, f"SequenceModeling.{i}.rnn", nn.LSTM(inputs, H, bidirectional=True))
        put(state, f"SequenceModeling.{i}.linear", nn.Linear(2 * H, H))


def clovaai_context(state, x):
    for i in range(2):
        x = linear(state, f"SequenceModeling.{i}.linear", lstm(state, f"SequenceModeling.{i}.rnn", x))
    return x


def clovaai_ctc():
    state = seven_convolutions(CONVNET, CONVNET_NORMS, 1, lambda i: i not in CONVNET_NORMS)
    clovaai_sequence(state)
    put(state, "Prediction", nn.Linear(H, 37))
    return state


def clovaai_ctc_forward(state, images):
    return linear(state, "Prediction", clovaai_context(state, columns(state, CONVNET, CONVNET_NORMS, False, images)))


LAYERS = {"layer1": (1, 64, 128), "layer2": (2, 128, 256), "layer3": (5, 256, 512), "layer4": (3, 512, 512)}
NET, TPS = "FeatureExtraction.ConvNet", "Transformation.LocalizationNetwork"


def trba():
    state, net = {}, NET

    def pair(name, norm, *shape):
        convolution(state, name, *shape, bias=False)
        batch_norm(state, norm, shape[1])

    for i, (inputs, outputs) in enumerate(((1, 64), (64, 128), (128, 256), (256, 512))):
        pair(f"{TPS}.conv.{4 * i}", f"{TPS}.conv.{4 * i + 1}", inputs, outputs, 3)
    put(state, f"{TPS}.localization_fc1.0", nn.Linear(512, 256))
    put(state, f"{TPS}.localization_fc2", nn.Linear(256, 40))
    state[f"{TPS}.localization_fc2.weight"] *= 0.2
    state["Transformation.GridGenerator.inv_delta_C"] = torch.zeros(23, 23)
    state["Transformation.GridGenerator.P_hat"] = torch.zeros(3200, 23)
    pair(f"{net}.conv0_1", f"{net}.bn0_1", 1, 32, 3)
    pair(f"{net}.conv0_2", f"{net}.bn0_2", 32, 64, 3)
    for name, (blocks, inputs, outputs) in LAYERS.items():
        for b in range(blocks):
            before = inputs if b == 0 else outputs
            pair(f"{net}.{name}.{b}.conv1", f"{net}.{name}.{b}.bn1", before, outputs, 3)
            pair(f"{net}.{name}.{b}.conv2", f"{net}.{name}.{b}.bn2", outputs, outputs, 3)
            if before != outputs:
                pair(f"{net}.{name}.{b}.downsample.0", f"{net}.{name}.{b}.downsample.1", before, outputs, 1)
    for i, width in ((1, 128), (2, 256), (3, 512)):
        pair(f"{net}.conv{i}", f"{net}.bn{i}", width, width, 3)
    pair(f"{net}.conv4_1", f"{net}.bn4_1", 512, 512, 2)
    pair(f"{net}.conv4_2", f"{net}.bn4_2", 512, 512, 2)
    clovaai_sequence(state)
    cell = "Prediction.attention_cell"
    put(state, f"{cell}.i2h", nn.Linear(H, H, bias=False))
    put(state, f"{cell}.h2h", nn.Linear(H, H))
    put(state, f"{cell}.score", nn.Linear(H, 1, bias=False))
    put(state, f"{cell}.rnn", nn.LSTMCell(H + 38, H))
    put(state, "Prediction.generator", nn.Linear(H, 38))
    state["Prediction.generator.bias"][0] = -50  # [GO] is never the best class, as after training
    return state


def straightened(state, images):
    x = images
    for i in range(4):
        x = torch.relu(normed(state, f"{TPS}.conv.{4 * i + 1}", convolved(state, f"{TPS}.conv.{4 * i}", x, padding=1)))
        x = F.max_pool2d(x, 2) if i < 3 else x.mean(dim=(2, 3))
    x = torch.relu(linear(state, f"{TPS}.localization_fc1.0", x))
    points = linear(state, f"{TPS}.localization_fc2", x).view(-1, 20, 2)
    return F.grid_sample(images, thin_plate_grid(points), padding_mode="border", align_corners=True)


def thin_plate_grid(points):
    """Bookstein's equations solved point by point: f(p) = a + bx + cy + sum of w_i r_i^2 log r_i, f(anchor) = point."""
    x = (torch.arange(10).double() * 2 - 9) / 9
    anchors = torch.cat([torch.stack([x, -torch.ones(10)], 1), torch.stack([x, torch.ones(10)], 1)]).double()
    system = torch.zeros(23, 23).double()
    for i in range(20):
        for j in range(20):
            r = (anchors[i] - anchors[j]).norm()
            system[i, 3 + j] = 0 if i == j else r * r * r.log()
        system[i, :3] = torch.tensor([1.0, *anchors[i]])
        system[20:, 3 + i] = torch.tensor([1.0, *anchors[i]])
    solution = torch.linalg.solve(system, torch.cat([points, torch.zeros(len(points), 3, 2)], 1).double())
    grid = torch.zeros(len(points), 32, 100, 2).double()
    for row in range(32):
        for column in range(100):
            p = torch.tensor([(2 * column + 1) / 100 - 1, (2 * row + 1) / 32 - 1]).double()
            r = (p - anchors).norm(dim=1)
            terms = torch.cat([torch.ones(1), p, r * r * (r + 1e-6).log()])
            grid[:, row, column] = torch.einsum("k,nkd->nd", terms, solution)
    return grid


def resnet_columns(state, x):
    def step(name, x, norm="bn", **options):
        return torch.relu(normed(state, f"{NET}.bn{name}", convolved(state, f"{NET}.conv{name}", x, **options)))

    def layer(name, x):
        for b in range(LAYERS[name][0]):
            at = f"{NET}.{name}.{b}"
            y = torch.relu(normed(state, f"{at}.bn1", convolved(state, f"{at}.conv1", x, padding=1)))
            y = normed(state, f"{at}.bn2", convolved(state, f"{at}.conv2", y, padding=1))
            if f"{at}.downsample.0.weight" in state:
                x = normed(state, f"{at}.downsample.1", convolved(state, f"{at}.downsample.0", x))
            x = torch.relu(x + y)
        return x

    x = step("0_2", step("0_1", x, padding=1), padding=1)
    x = step("1", layer("layer1", F.max_pool2d(x, 2)), padding=1)
    x = step("2", layer("layer2", F.max_pool2d(x, 2)), padding=1)
    x = step("3", layer("layer3", F.max_pool2d(x, 2, (2, 1), (0, 1))), padding=1)
    x = step("4_1", layer("layer4", x), stride=(2, 1), padding=(0, 1))
    return step("4_2", x).squeeze(2).transpose(1, 2)


def trba_forward(state, images):
    """Logits of the classes that can be written: [s] and the characters."""
    context = clovaai_context(state, resnet_columns(state, straightened(state, images)))
    cell = nn.LSTMCell(H + 38, H).double()
    at = "Prediction.attention_cell"
    cell.load_state_dict({k.removeprefix(f"{at}.rnn."): v for k, v in state.items() if k.startswith(f"{at}.rnn.")})
    hidden = (torch.zeros(2, H).double(), torch.zeros(2, H).double())
    before, written = torch.zeros(2, dtype=torch.long), []
    for _ in range(26):
        mixed = torch.tanh(linear(state, f"{at}.i2h", context) + linear(state, f"{at}.h2h", hidden[0])[:, None])
        alpha = linear(state, f"{at}.score", mixed).softmax(dim=1)
        hidden = cell(torch.cat([(alpha * context).sum(1), F.one_hot(before, 38)], 1), hidden)
        written.append(linear(state, "Prediction.generator", hidden[0]))
        before = written[-1].argmax(dim=1)
    return torch.stack(written, dim=1)[..., 1:]


LAYOUTS = {
    "meijieru": (meijieru, lambda s, x: paper_forward("embedding", s, x), 1),
    "parseq": (parseq, lambda s, x: paper_forward("linear", s, x), 3),
    "gitycc": (gitycc, gitycc_forward, 1),
    "clovaai-ctc": (clovaai_ctc, clovaai_ctc_forward, 1),
    "clovaai-trba": (trba, trba_forward, 1),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@torch.no_grad()
def test_a_peers_weights_give_the_peers_logits(layout):
    make, forward, channels = LAYOUTS[layout]
    state, images = make(), pictures(channels)
    theirs = forward(state, images).transpose(0, 1)
    ours = convert_peer(state).network().double().eval()(images)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    assert theirs.std() > 0.01, "logits that do not vary would prove nothing"


@torch.no_grad()
def test_the_plain_crnn_reads_converted_weights_of_its_own_names():
    state, images = meijieru(), pictures()
    crnn = CRNN(hidden=H).double().eval()
    crnn.load_state_dict(convert_peer(state).state)
    torch.testing.assert_close(crnn(images), paper_forward("embedding", state, images).transpose(0, 1))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_prefixes_and_uncounted_batches_change_nothing(layout):
    state = LAYOUTS[layout][0]()
    old = {f"module.{k}": v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    plain, prefixed = convert_peer(state).state, convert_peer(old).state
    assert plain.keys() == prefixed.keys()
    assert all(torch.equal(plain[k], prefixed[k]) for k in plain if not k.endswith("num_batches_tracked"))


def test_the_peers_own_sizes_have_their_parameters():
    """Numbers of the peers' own networks; ours may hold biases that a batch norm makes idle."""
    global H
    small, H = H, 256
    try:
        counts = {
            name: (sum(v.numel() for k, v in make().items() if not k.endswith(BUFFERS)), convert_peer(make()))
            for name, (make, _, _) in LAYOUTS.items()
            if name != "parseq"
        }
    finally:
        H = small
    theirs = {name: count for name, (count, _) in counts.items()}
    assert theirs == {
        "meijieru": 8_331_301,
        "gitycc": 7_839_077,
        "clovaai-ctc": 8_451_621,
        "clovaai-trba": 49_555_182,
    }
    ours = {name: sum(p.numel() for p in made.network().parameters()) for name, (_, made) in counts.items()}
    assert ours["clovaai-ctc"] - theirs["clovaai-ctc"] == 2 * 512  # biases before two batch norms
    assert ours["clovaai-trba"] - theirs["clovaai-trba"] == -(256 + 1)  # [GO] is read and never written


BUFFERS = ("running_mean", "running_var", "num_batches_tracked", "inv_delta_C", "P_hat")


def test_a_file_is_converted_and_read_back(tmp_path, capsys):
    torch.save({"epoch": 3, "state_dict": gitycc(), "optimizer": {"state": {}}}, tmp_path / "peer.pth")
    convert.main([str(tmp_path / "peer.pth"), str(tmp_path / "out.safetensors")])
    assert "GitYCC/crnn-pytorch" in capsys.readouterr().out
    content = load_weights(tmp_path / "out.safetensors")
    assert content["charset"] == Charset().characters
    assert content["model"]["sequence"] == "bilstm_squeezed" and content["model"]["hidden"] == H
    assert content["data"] == {"height": 32, "width": 100, "channels": 1, "keep_ratio": False}


def test_a_file_of_ours_is_halved(tmp_path):
    torch.save(gitycc(), tmp_path / "peer.pth")
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    convert.main([str(tmp_path / "peer.pth"), str(whole)])
    convert.main([str(whole), str(half), "--half"])
    before, after = load_weights(whole), load_weights(half)
    assert {key: before[key] for key in ("charset", "data", "model")} == {
        k: after[k] for k in ("charset", "data", "model")
    }
    assert {value.dtype for value in after["network"].values() if value.dim() > 1} == {torch.float16}
    for key, value in after["network"].items():
        assert torch.allclose(value.double(), before["network"][key].double(), rtol=1e-3, atol=1e-4), key


class Stranger:
    def __reduce__(self):
        return (print, ("this must never be printed",))


@pytest.mark.parametrize(
    "write, reason",
    [
        (lambda path: torch.save({"net": Stranger()}, path), "more than weights"),
        (lambda path: path.write_bytes(pickle.dumps(Stranger())), "more than weights|not a readable"),
        (lambda path: path.write_bytes(b"PK\x03\x04 cut off"), "not a readable weights file"),
        (lambda path: path.write_text("hello"), "not a readable weights file|more than weights"),
        (lambda path: torch.save({"epoch": 3}, path), "no table of weights"),
        (lambda path: torch.save({"fc.weight": torch.zeros(1)}, path), "no known layout.*fc.weight"),
        (lambda path: torch.save({"feat_extractor.0.weight": torch.zeros(1)}, path), "docTR.*not converted: read them"),
        (lambda path: torch.save({"FeatureExtraction.ConvNet.0.weight": torch.zeros(1)}, path), "as of EasyOCR or"),
        (lambda path: None, "no file at"),
    ],
    ids=["code", "pickle", "truncated", "text", "no-weights", "unknown", "doctr", "easyocr", "absent"],
)
def test_what_is_not_a_peers_file_is_refused_in_one_line(write, reason, tmp_path, capsys):
    path = tmp_path / "peer.pth"
    write(path)
    with pytest.raises(UserError, match=reason) as refusal:
        convert.main([str(path), str(tmp_path / "out.safetensors")])
    assert "\n" not in str(refusal.value) and not capsys.readouterr().out
    assert not (tmp_path / "out.safetensors").exists()


def test_missing_and_extra_weights_are_named():
    state = gitycc()
    del state["cnn.conv3.weight"]
    with pytest.raises(UserError, match=r"GitYCC.*conv3"):
        convert_peer(state)
    with pytest.raises(UserError, match=r"clovaai.*extra"):
        convert_peer({**clovaai_ctc(), "extra.weight": torch.zeros(1)})


def test_an_alphabet_of_another_size_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"37 classes and the alphabet 95.*36 characters"):
        save_weights(convert_peer(gitycc()), Charset.named("94"), tmp_path / "out.safetensors")


def test_a_safetensors_file_of_someone_else_is_refused(tmp_path):
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(UserError, match="its metadata lacks"):
        load_weights(tmp_path / "x.safetensors")
    (tmp_path / "y.safetensors").write_bytes(b"no")
    with pytest.raises(UserError, match="not a readable"):
        load_weights(tmp_path / "y.safetensors")


def tensors(*names):
    return {name: torch.zeros(2, 2) for name in names}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            {"arch": "mobilenetv2_cifar", "epoch": 2, "state_dict": tensors(
                "module.features.0.conv0.weight", "module.features.0.invertedresidual0_0.conv.0.weight",
                "module.features.0.conv_final.weight", "module.classifier.weight", "module.classifier.bias")},
            "zhiqwang.*divide the width by 8",
        ),
        (
            {"state_dict": tensors("features.0.weight", "features.1.denselayer1.norm1.weight", "features.8.weight",
                                   "classifier.weight", "classifier.bias")},
            "zhiqwang.*Train its recipe",
        ),
        (tensors("cnn.cnn.0.weight", "cnn.cnn.0.bias", "rnn.0.rnn.weight_ih_l0", "rnn.1.embedding.weight"),
         "bai-shang.*the encoder.*Train the recipe seq2seq_attention"),
        (tensors("decoder.embedding.weight", "decoder.attn.weight", "decoder.gru.weight_ih_l0", "decoder.out.weight"),
         "bai-shang.*the decoder.*by their places"),
    ],
    ids=["mobilenet", "densenet", "encoder", "decoder"],
)  # fmt: skip
def test_published_weights_that_no_network_here_computes_are_named_with_the_reason(content, said, tmp_path):
    """Names as those systems' own modules give them (zhiqwang's models/crnn.py, bai-shang's crnn/seq2seq.py)."""
    torch.save(content, tmp_path / "theirs.pth")
    with pytest.raises(UserError, match=said):
        convert.main([str(tmp_path / "theirs.pth"), str(tmp_path / "out.safetensors")])
    assert not (tmp_path / "out.safetensors").exists()
