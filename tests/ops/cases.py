"""The cases of ops.py: what each op is tested with.

case(NAME, CODE, param=SHAPE, ...): CODE is IR text without `of`, one node a line, the last one is the
result; its inputs are the parameters named (small random numbers), `ids` (i32 [1,12] below 7) and
`labels` (i32 [1,12] below 5, some negative). Shapes cover one and odd channel counts (plain memory)
and multiples of 16 (blocked memory), strides, padding on one side only, groups, dilation.
"""

CASES = []


def case(name, code, **params):
    CASES.append((name, [line.strip() for line in code.strip().splitlines()], params))


def conv(name, x, w, stride=(1, 1), padding=(0, 0, 0, 0), dilation=(1, 1), groups=1, bias=True):
    attrs = f"stride={list(stride)}, padding={list(padding)}, dilation={list(dilation)}, groups={groups}"
    params = {"x": x, "w": w} | ({"b": [w[0]]} if bias else {})
    case(f"conv2d_{name}", f"y = conv2d {' '.join(params)} {{{attrs}}}", **params)


# convolution: x [N,C,H,W], w [K,C/groups,R,S]
conv("one", [1, 1, 4, 4], [1, 1, 1, 1])
conv("3x3", [2, 3, 6, 5], [5, 3, 3, 3], padding=(1, 1, 1, 1))
conv("3x3_plain", [2, 17, 5, 6], [33, 17, 3, 3], padding=(1, 1, 1, 1), bias=False)
conv("3x3_blocked", [2, 16, 6, 7], [32, 16, 3, 3], padding=(1, 1, 1, 1))
conv("64", [2, 64, 5, 5], [64, 64, 3, 3], padding=(1, 1, 1, 1), bias=False)
conv("winograd", [2, 32, 16, 15], [48, 32, 3, 3], padding=(1, 1, 1, 1))
conv("winograd_7x7", [6, 32, 7, 7], [32, 32, 3, 3], padding=(1, 1, 1, 1), bias=False)
conv("1x1", [2, 32, 5, 5], [64, 32, 1, 1], bias=False)
conv("1x1_stride", [2, 32, 5, 6], [16, 32, 1, 1], stride=(2, 2), bias=False)
conv("stride", [2, 16, 9, 8], [16, 16, 3, 3], stride=(2, 2), padding=(1, 1, 1, 1))
conv("odd_stride", [1, 3, 9, 11], [5, 3, 3, 5], stride=(2, 3), padding=(1, 2, 0, 1))
conv("asymmetric", [2, 5, 6, 6], [3, 5, 2, 4], padding=(1, 0, 0, 3))
conv("asymmetric_blocked", [2, 16, 6, 6], [16, 16, 2, 4], padding=(1, 0, 0, 3))
conv("dilated", [2, 3, 9, 9], [5, 3, 3, 3], padding=(2, 2, 2, 2), dilation=(2, 2))
conv("dilated_blocked", [1, 16, 9, 8], [16, 16, 3, 2], padding=(2, 3, 2, 0), dilation=(2, 3))
conv("groups", [2, 6, 5, 5], [9, 2, 3, 3], padding=(1, 1, 1, 1), groups=3)
conv("groups_blocked", [2, 32, 5, 5], [64, 16, 3, 3], padding=(1, 1, 1, 1), groups=2, bias=False)
conv("depthwise", [2, 5, 5, 5], [5, 1, 3, 3], padding=(1, 1, 1, 1), groups=5)
conv("depthwise_blocked", [2, 32, 6, 6], [32, 1, 3, 3], stride=(2, 2), padding=(1, 1, 1, 1), groups=32)
conv("depthwise_same", [2, 44, 8, 6], [44, 1, 5, 5], stride=(2, 2), padding=(1, 1, 2, 2), groups=44, bias=False)
conv("depthwise_7x7", [2, 16, 8, 8], [16, 1, 7, 7], stride=(2, 2), padding=(2, 2, 3, 3), groups=16, bias=False)
conv("depthwise_one_pixel", [2, 24, 1, 1], [24, 1, 5, 5], padding=(2, 2, 2, 2), groups=24, bias=False)
conv("groups_of_4", [2, 128, 5, 6], [128, 4, 3, 3], stride=(2, 2), padding=(1, 1, 1, 1), groups=32, bias=False)
conv("1x1_beyond", [2, 44, 6, 6], [22, 44, 1, 1], stride=(2, 2), padding=(0, 0, 1, 1), bias=False)
conv("1x7", [2, 32, 5, 9], [48, 32, 1, 7], padding=(0, 3, 0, 3), bias=False)
conv("7x1_one_pixel", [2, 32, 1, 1], [32, 32, 7, 1], padding=(3, 0, 3, 0), bias=False)
conv("patches", [2, 3, 12, 12], [40, 3, 4, 4], stride=(4, 4))
conv("first", [2, 3, 16, 16], [64, 3, 7, 7], stride=(2, 2), padding=(3, 3, 3, 3), bias=False)
conv("wide", [1, 1, 2, 131], [3, 1, 1, 3], padding=(0, 1, 0, 1))
# Weights that are computed lie plain; gates and biases repeat over the pixels of an image.
case("conv2d_computed_weight", "v = tanh w\ny = conv2d x v {stride=[1,1], padding=[1,1,1,1], dilation=[1,1]}",
     x=[2, 16, 5, 4], w=[32, 16, 3, 3])
case("gate_image", "c = conv2d x w {stride=[1,1], padding=[0,0,0,0], dilation=[1,1]}\nh = global_avg_pool c\ng = mul c h\ny = add g b",
     x=[2, 16, 5, 4], w=[16, 16, 1, 1], b=[16, 1, 1])

# matrix products and embedding
case("linear", "y = linear x w b", x=[3, 7], w=[5, 7], b=[5])
case("linear_one", "y = linear x w b", x=[1, 1], w=[1, 1], b=[1])
case("linear_no_bias", "y = linear x w", x=[2, 3, 33], w=[17, 33])
case("linear_wide", "y = linear x w b", x=[8, 64], w=[96, 64], b=[96])
# As large as products by Strassen's algorithm are.
case("linear_large", "y = linear x w b", x=[512, 528], w=[516, 528], b=[516])
case("matmul", "y = matmul x w", x=[3, 5], w=[5, 4])
case("matmul_batch", "y = matmul x w", x=[2, 3, 4, 5], w=[2, 3, 5, 7])
case("matmul_ta", "y = matmul x w {transpose_a=1}", x=[2, 6, 3], w=[2, 6, 4])
case("matmul_tb", "y = matmul x w {transpose_b=1}", x=[2, 3, 6], w=[2, 4, 6])
case("matmul_tab", "y = matmul x w {transpose_a=1, transpose_b=1}", x=[33, 17], w=[16, 33])
case("matmul_same", "y = matmul x x {transpose_b=1}", x=[2, 4, 6])
case("embedding", "y = embedding ids w", w=[7, 5])
case("embedding_wide", "y = embedding ids w", w=[7, 64])
case("embedding_padding", "y = embedding ids w {padding_index=3}", w=[7, 5])

# recurrence and attention
def lstm(name, n, t, h, attrs="", state=True, lengths=False):
    """All of h and c; the first state is a parameter or zero."""
    code = "" if state else 's = constant {shape=[], dtype="REAL", value=0}\n'
    code += "n = reshape ids {shape=[12]}\n" if lengths else ""
    params = {"x": [n, t, 4 * h], "w": [4 * h, h]} | ({"s": [n, 2 * h]} if state else {})
    case(f"lstm_{name}", f"{code}y = lstm x w s{' n' if lengths else ''}{attrs and f' {{{attrs}}}'}", **params)


lstm("one", 1, 1, 1)
lstm("one_step", 5, 1, 6)
lstm("zeros", 3, 4, 5, state=False)
lstm("vectors", 9, 3, 48)
lstm("odd", 6, 3, 37)
lstm("reverse", 5, 4, 17, "reverse=1")
lstm("reverse_zeros", 4, 3, 16, "reverse=1", state=False)
lstm("lengths", 12, 7, 5, lengths=True)
lstm("lengths_reverse", 12, 6, 18, "reverse=1", lengths=True)
lstm("lengths_zeros", 12, 6, 3, state=False, lengths=True)
case("additive_score", "y = additive_score x k v", x=[2, 3, 5], k=[2, 4, 5], v=[5])
case("additive_score_wide", "y = additive_score x k v", x=[3, 5, 131], k=[3, 7, 131], v=[131])
case("additive_score_same", "y = additive_score x x v", x=[2, 3, 16], v=[16])


def attention(name, n, t, heads, features, attrs):
    """Of heads as they lie in one row, behind each other."""
    size = [n, t, heads * features]
    case(f"attention_{name}", f"y = attention x k v {{heads={heads}, {attrs}}}", x=size, k=size, v=size)


def attention_chain(name, n, t, heads, features, lines):
    """The same in parts, as models write it, which a backend may make one op."""
    size, split = [n, t, heads * features], [n, t, heads, features]
    views = "".join(f"{i}s = reshape {i} {{shape={split}}}\n{i}h = transpose {i}s {{perm=[0,2,1,3]}}\n" for i in "xkv")
    case(f"attention_chain_{name}", f"""{views}s = matmul xh kh {{transpose_b=1}}
    {lines}
    m = matmul p vh
    b = transpose m {{perm=[0,2,1,3]}}
    y = reshape b {{shape={size}}}""", x=size, k=size, v=size)


attention("causal", 2, 7, 2, 16, "value=0.25, causal=1, rate=0, stream=0")
attention("all", 1, 70, 1, 32, "value=0.2, rate=0, stream=0")
attention("dropout", 2, 6, 3, 16, "value=0.3, rate=0.4, stream=5")
attention("dropout_causal", 1, 67, 1, 16, "value=0.25, causal=1, rate=0.2, stream=6")
attention("odd", 3, 5, 3, 5, "value=0.5, causal=1, rate=0.1, stream=7")
attention("one", 2, 1, 1, 16, "value=1, causal=1, rate=0, stream=0")
attention_chain("causal", 2, 7, 2, 16, "c = scale s {value=0.25}\np = softmax c {causal=1}")
attention_chain("dropout", 2, 6, 3, 16, "c = scale s {value=0.3}\nq = softmax c\np = dropout q {rate=0.4, stream=5}")
case("l2_normalize", "y = l2_normalize x {eps=1e-12}", x=[3, 4, 5])
case("l2_normalize_wide", "y = l2_normalize x {eps=1e-12}", x=[67])
case("l2_normalize_short", "y = l2_normalize x {eps=100}", x=[2, 6])

# normalisation
BN = "y = batch_norm x g b {eps=1e-5}"
for name, shape in (("plain", [4, 3, 5, 3]), ("one", [3, 1, 2, 2]), ("odd", [2, 17, 3, 3]), ("blocked", [2, 16, 4, 5]),
                    ("64", [3, 64, 3, 3]), ("vector", [6, 5]), ("rank3", [4, 3, 5]), ("rank5", [2, 3, 2, 2, 4])):
    case(f"batch_norm_{name}", BN, x=shape, g=[shape[1]], b=[shape[1]])
    case(f"batch_norm_relu_{name}", "n = batch_norm x g b {eps=1e-3}\ny = relu n", x=shape, g=[shape[1]], b=[shape[1]])
    case(f"batch_norm_add_relu_{name}", "n = batch_norm x g b {eps=1e-3}\na = add n r\ny = relu a",
         x=shape, g=[shape[1]], b=[shape[1]], r=shape)
# loops that begin or end with a norm: pixels in uneven strips, several blocks, channels side by side
for name, shape in (("strips", [2, 16, 1, 131]), ("rows", [2, 3, 1, 1031]), ("runs", [2, 128, 2, 3]), ("vector", [6, 37]),
                    ("planes", [3, 5, 16]), ("parts", [2, 3, 1031])):
    params = dict(x=shape, g=[shape[1]], b=[shape[1]])
    case(f"batch_norm_relu_{name}_loop", "n = batch_norm x g b {eps=1e-3}\ny = relu n", **params)
    case(f"batch_norm_swish_{name}_loop", "n = batch_norm x g b {eps=1e-3}\ns = sigmoid n\ny = mul s n", **params)
    case(f"batch_norm_skip_{name}_loop", "n = batch_norm x g b {eps=1e-3}\nr = relu n\ny = add r x", **params)
case("batch_norm_dropout", "n = batch_norm x g b {eps=1e-3}\nd = dropout n {rate=0.3, stream=9}\ny = relu d", x=[6, 37], g=[37], b=[37])
case("batch_norm_dropout_rank3", "n = batch_norm x g b {eps=1e-3}\nd = dropout n {rate=0.3, stream=9}\ny = relu d", x=[6, 3, 8], g=[3], b=[3])
case("batch_norm_row", "n = batch_norm x g b {eps=1e-3}\na = add n v\ny = gelu a", x=[6, 5], g=[5], b=[5], v=[5])
case("batch_norm_last", "n = batch_norm x g b {eps=1e-3}\ny = mul n v", x=[4, 3, 5], g=[3], b=[3], v=[5])
case("batch_norm_one_last", "n = batch_norm x g b {eps=1e-3}\ny = mul n v", x=[4, 1, 5], g=[1], b=[1], v=[5])
case("batch_norm_planes", "n = batch_norm x g b {eps=1e-3}\ny = mul n v", x=[4, 3, 5], g=[3], b=[3], v=[3, 5])
for name, k in (("packs", 16), ("odd", 5)):  # behind a convolution, which may know its sums
    case(f"conv2d_norm_{name}", "c = conv2d x w {stride=[1,1], padding=[1,1,1,1], dilation=[1,1]}\nn = batch_norm c g b {eps=1e-3}\ny = relu n",
         x=[2, 8, 5, 4], w=[k, 8, 3, 3], g=[k], b=[k])
LN = "y = layer_norm x g b {eps=1e-5}"
for name, shape in (("small", [2, 3, 5]), ("one_row", [1, 17]), ("wide", [2, 3, 4, 64]), ("odd", [5, 33])):
    case(f"layer_norm_{name}", LN, x=shape, g=[shape[-1]], b=[shape[-1]])


# pooling
def pool(name, shape, attrs):
    case(name, f"y = {name.split('2d')[0]}2d x {{{attrs}}}", x=shape)


for name, c in (("plain", 3), ("one", 1), ("odd", 17), ("blocked", 16), ("64", 64)):
    pool(f"max_pool2d_{name}", [2, c, 7, 6], "kernel=[3,3], stride=[2,2], padding=[1,1,1,1], dilation=[1,1]")
    pool(f"avg_pool2d_{name}", [2, c, 7, 6], "kernel=[3,3], stride=[2,2], padding=[1,1,1,1]")
    case(f"global_avg_pool_{name}", "y = global_avg_pool x", x=[2, c, 5, 4])
    pool(f"max_pool2d_2x2_{name}", [1, c, 6, 8], "kernel=[2,2], stride=[2,2], padding=[0,0,0,0], dilation=[1,1]")
    pool(f"avg_pool2d_2x2_{name}", [1, c, 6, 8], "kernel=[2,2], stride=[2,2], padding=[0,0,0,0]")
    pool(f"max_pool2d_ceil_{name}", [1, c, 6, 8], "kernel=[3,2], stride=[2,3], padding=[0,1,1,0], dilation=[1,1], ceil_mode=1")
    pool(f"avg_pool2d_ceil_{name}", [1, c, 6, 8], "kernel=[3,2], stride=[2,3], padding=[0,1,1,0], ceil_mode=1")
    pool(f"avg_pool2d_exclude_{name}", [1, c, 6, 8], "kernel=[3,3], stride=[2,3], padding=[1,1,0,1], count_include_pad=0")
pool("avg_pool2d_ceil_exclude", [1, 2, 6, 8], "kernel=[3,3], stride=[2,3], padding=[0,1,1,0], ceil_mode=1, count_include_pad=0")
pool("max_pool2d_dilated", [1, 2, 9, 9], "kernel=[3,2], stride=[1,2], padding=[1,1,1,1], dilation=[2,3]")
pool("max_pool2d_same", [2, 44, 6, 8], "kernel=[3,3], stride=[2,2], padding=[0,0,1,1], dilation=[1,1]")
pool("avg_pool2d_same", [2, 44, 6, 8], "kernel=[3,3], stride=[2,2], padding=[0,0,1,1], count_include_pad=0")
pool("avg_pool2d_one_pixel", [2, 32, 1, 1], "kernel=[3,3], stride=[1,1], padding=[1,1,1,1]")
pool("max_pool2d_overlap", [1, 3, 6, 6], "kernel=[3,3], stride=[1,1], padding=[1,1,1,1], dilation=[1,1]")

# element-wise
for op in ("relu", "gelu", "gelu_tanh", "sigmoid", "tanh"):
    case(op, f"y = {op} x", x=[3, 5, 7])
    case(f"{op}_image", f"c = conv2d x w {{stride=[1,1], padding=[0,0,0,0], dilation=[1,1]}}\ny = {op} c", x=[2, 16, 4, 3],
         w=[16, 16, 1, 1])
for name, op in (("relu", "relu"), ("gelu", "gelu_tanh")):  # as the end of a product or a convolution
    case(f"linear_{name}", f"l = linear x w b\ny = {op} l", x=[3, 4, 6], w=[16, 6], b=[16])
    case(f"linear_{name}_no_bias", f"l = linear x w\ny = {op} l", x=[5, 6], w=[8, 6])
    case(f"linear_{name}_odd", f"l = linear x w b\ny = {op} l", x=[5, 6], w=[7, 6], b=[7])
    case(f"linear_{name}_chain", f"l = linear x w b\nr = {op} l\ns = sigmoid r\ny = mul s v", x=[5, 6], w=[8, 6], b=[8], v=[8])
case("linear_relu_twice", "l = linear x w b\nr = relu l\ny = add r l", x=[5, 6], w=[8, 6], b=[8])
case("conv2d_relu_bias", "c = conv2d x w b {stride=[1,1], padding=[1,1,1,1], dilation=[1,1]}\ny = relu c", x=[2, 8, 4, 3],
     w=[16, 8, 3, 3], b=[16])
case("conv2d_relu_pixel", "c = conv2d x w b {stride=[1,1], padding=[0,0,0,0], dilation=[1,1]}\ny = relu c", x=[3, 8, 2, 2],
     w=[16, 8, 2, 2], b=[16])
case("relu6", "s = scale x {value=9}\ny = relu6 s", x=[3, 5, 7])  # some below 0, some above 6
case("add", "y = add x v", x=[3, 5], v=[3, 5])
case("add_same", "y = add x x", x=[3, 5])
case("add_row", "y = add x v", x=[3, 4, 5], v=[5])
case("add_row_packs", "y = add x v", x=[3, 4, 24], v=[24])  # several neighbours at once
case("add_column_packs", "y = add x v", x=[3, 4, 24], v=[4, 1])
case("add_column", "y = add x v", x=[2, 4, 5], v=[4, 1])
case("add_channel", "y = add x v", x=[2, 16, 3, 3], v=[16, 1, 1])
case("add_view", "r = reshape v {shape=[3,4]}\na = add r u\ny = add x a", x=[3, 4], v=[12], u=[4])
case("add_number", "y = add x v", x=[2, 3], v=[1])
case("mul", "y = mul x v", x=[3, 5], v=[3, 5])
case("mul_same", "y = mul x x", x=[3, 5])
case("mul_row", "y = mul x v", x=[3, 4, 5], v=[5])
case("mul_outer", "y = mul x v", x=[2, 4, 5], v=[1, 4, 1])
case("mul_gate", "y = mul x v", x=[2, 16, 3, 3], v=[2, 16, 1, 1])
case("scale", "y = scale x {value=-1.75}", x=[3, 5])
case("dropout", "y = dropout x {rate=0.3, stream=7}", x=[3, 50])
case("dropout_image", "c = conv2d x w {stride=[1,1], padding=[0,0,0,0], dilation=[1,1]}\ny = dropout c {rate=0.5, stream=8}",
     x=[2, 16, 4, 3], w=[16, 16, 1, 1])
case("chain", "a = mul x v\nb = tanh a\nc = scale b {value=0.5}\nd = add c x\ny = sigmoid d", x=[4, 33], v=[4, 33])
case("softmax", "y = softmax x", x=[3, 4, 5])
case("softmax_one", "y = softmax x", x=[3, 1])
case("softmax_wide", "y = softmax x", x=[2, 67])
case("softmax_causal", "y = softmax x {causal=1}", x=[2, 5, 5])
# 12 samples, of lengths from 0 to 6
LENGTHS = "n = reshape ids {shape=[12]}\n"
case("softmax_lengths", LENGTHS + "y = softmax x n", x=[12, 6])
case("softmax_lengths_causal", LENGTHS + "y = softmax x n {causal=1}", x=[12, 2, 6, 6])
case("mask", LENGTHS + "y = mask x n {axis=1}", x=[12, 6, 3])
case("mask_last", LENGTHS + "y = mask x n {axis=2}", x=[12, 2, 6])

# shape
case("concat_0", "y = concat x v {axis=0}", x=[2, 3], v=[4, 3])
case("concat_1", "y = concat x v u {axis=1}", x=[2, 3, 4], v=[2, 1, 4], u=[2, 5, 4])
case("concat_channels", "y = concat c v {axis=1}", x=[2, 3, 4, 3], v=[2, 16, 4, 3], w=[16, 3, 1, 1])
CASES[-1][1].insert(0, "c = conv2d x w {stride=[1,1], padding=[0,0,0,0], dilation=[1,1]}")
case("slice", "y = slice x {axis=1, begin=2, length=3}", x=[2, 6, 4])
case("slice_last", "y = slice x {axis=2, begin=3, length=1}", x=[2, 6, 4])
case("pad", "y = pad x {axis=1, begin=2, length=9}", x=[2, 6, 4])
case("pad_image", "c = conv2d x w {stride=[1,1], padding=[0,0,0,0], dilation=[1,1]}\ny = pad c {axis=3, begin=0, length=5}", x=[2, 16, 4, 4],
     w=[16, 16, 1, 1])
case("pad_rows", "y = pad x {axis=0, begin=0, length=5}", x=[2, 3])
case("pad_channels", "c = conv2d x w {stride=[1,1], padding=[0,0,0,0], dilation=[1,1]}\ny = pad c {axis=1, begin=16, length=48}",
     x=[2, 16, 4, 3], w=[16, 16, 1, 1])
case("reshape", "y = reshape x {shape=[4,6]}", x=[2, 3, 4])
case("flatten", "c = conv2d x w {stride=[1,1], padding=[0,0,0,0], dilation=[1,1]}\ny = reshape c {shape=[2,192]}", x=[2, 16, 4, 3],
     w=[16, 16, 1, 1])
case("transpose", "y = transpose x {perm=[1,0]}", x=[3, 5])
case("transpose_heads", "y = transpose x {perm=[0,2,1,3]}", x=[2, 3, 4, 5])
case("transpose_deep", "y = transpose x {perm=[1,0,3,2,4]}", x=[2, 3, 4, 2, 5])
case("transpose_outer", "y = transpose x {perm=[4,2,0,1,3,5]}", x=[2, 3, 2, 2, 3, 4])
case("transpose_cycle", "y = transpose x {perm=[2,0,1]}", x=[2, 3, 4])

# losses
case("cross_entropy", "l = reshape labels {shape=[12]}\ny = cross_entropy x l", x=[12, 5])
case("cross_entropy_sequence", "l = reshape labels {shape=[3,4]}\ny = cross_entropy x l", x=[3, 4, 37])
case("cross_entropy_linear", "c = linear x w b\nl = reshape labels {shape=[12]}\ny = cross_entropy c l {smoothing=0.1}", x=[12, 6], w=[37, 6],
     b=[37])  # rows of an odd number of logits, which cuda lays apart in bf16
case("cross_entropy_smooth", "l = reshape labels {shape=[12]}\ny = cross_entropy x l {smoothing=0.1}", x=[12, 5])
case("mse", "y = mse x v", x=[3, 5], v=[3, 5])

# what networks are made of
case("attention", """
    s = matmul x v {transpose_b=1}
    c = scale s {value=0.25}
    p = softmax c {causal=1}
    y = matmul p w""", x=[1, 2, 6, 16], v=[1, 2, 6, 16], w=[1, 2, 6, 16])
case("bottleneck", """
    a = conv2d x w {stride=[1,1], padding=[0,0,0,0], dilation=[1,1]}
    n = batch_norm a g b {eps=1e-5}
    r = relu n
    c = conv2d r v {stride=[1,1], padding=[1,1,1,1], dilation=[1,1]}
    m = batch_norm c h k {eps=1e-5}
    s = add m x
    y = relu s""", x=[2, 32, 5, 5], w=[16, 32, 1, 1], g=[16], b=[16], v=[32, 16, 3, 3], h=[32], k=[32])
