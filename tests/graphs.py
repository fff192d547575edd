"""Small networks whose layers do not simply follow one another: branches, taps, repeated and recurrent layers."""

CONV, CONV3 = "conv: {filters: 4, padding: same}", "conv: {filters: 3, padding: same}"
POOL = "max_pool: {size: 3, stride: 1, padding: 1}"
END = "flatten|dense: 3"


def branches(*paths, merge="concat"):
    return f"branches: {{merge: {merge}, paths: [{', '.join(f'[{path}]' for path in paths)}]}}"


def recurrent(layers, steps=3):
    return f"recurrent: {{steps: {steps}, layers: [{layers}]}}"


# name -> (input channels, input size, layers in YAML)
GRAPHS = {
    # concatenation
    "inception": (
        3,
        [6, 5],
        "conv: {filters: 5, padding: same}|relu|"
        + branches(
            "conv: {filters: 2, kernel: 1}, relu",
            "conv: {filters: 3, kernel: 1}, relu, conv: {filters: 4, padding: same}, relu",
            "conv: {filters: 1, kernel: 1}, relu, conv: {filters: 17, kernel: 5, padding: same}, relu",
            f"{POOL}, conv: {{filters: 3, kernel: 1}}, relu",
        )
        + "|max_pool: 2|global_avg_pool|dense: 3",
    ),
    "concat_with_input": (2, [4, 5], f"{CONV}|relu|{branches('', CONV)}|relu|{CONV3}|{END}"),
    "concat_twice_the_same": (2, [4, 4], f"{CONV}|relu|{branches('', '')}|{CONV3}|{END}"),
    "concat_at_input": (2, [4, 4], f"{branches('', CONV3, POOL)}|conv: {{filters: 4, kernel: 2}}|{END}"),
    "concat_of_views": (2, [4, 4], f"{CONV}|relu|{branches('dropout: 0', 'dropout: 0, relu')}|{END}"),
    "concat_to_wide_border": (
        2,
        [5, 4],
        f"{CONV}|batch_norm|relu|{branches('relu', 'conv: {filters: 3, kernel: 5, padding: same}')}|"
        f"conv: {{filters: 3, kernel: 3, dilation: 2, padding: same}}|{END}",
    ),
    "concat_of_flat": (
        2,
        [2, 2],
        f"flatten|dense: 6|relu|{branches('', 'dense: 5, relu', 'dense: 2')}|dense: 4|tanh|dense: 3",
    ),
    "concat_of_lines": (2, [9], f"{CONV}|{branches('relu, max_pool: 2', 'avg_pool: 2')}|{CONV3}|relu|{END}"),
    "concat_of_volumes": (1, [3, 4, 2], f"{CONV}|{branches('relu', CONV3)}|{CONV3}|relu|{END}"),
    "concat_nested": (
        2,
        [4, 4],
        f"{CONV}|relu|{branches(branches('', CONV3) + ', relu', branches('relu', f'{CONV}, relu'))}|{CONV3}|{END}",
    ),
    "concat_last": (2, [4, 4], f"flatten|{branches('dense: 2, relu', 'dense: 3')}"),
    "concat_densely": (  # Huang et al. 2017
        2,
        [5, 5],
        f"{CONV}|repeat: {{times: 3, layers: [{branches('', 'batch_norm, relu, conv: {filters: 2, padding: same}')}]}}|"
        "batch_norm|relu|global_avg_pool|dense: 3",
    ),
    # sums
    "sum_of_two": (2, [4, 4], f"{CONV}|relu|{branches(f'{CONV}, relu', CONV, merge='add')}|relu|{CONV3}|{END}"),
    "sum_of_three": (
        2,
        [4, 5],
        f"{CONV}|relu|{branches('', CONV, f'{CONV}, batch_norm', merge='add')}|relu|{CONV3}|{END}",
    ),
    "sum_of_the_same": (2, [4, 4], f"{CONV}|relu|{branches('', '', merge='add')}|{CONV3}|{END}"),
    "sum_of_the_same_and_another": (2, [4, 4], f"{CONV}|{branches('', '', POOL, merge='add')}|{CONV3}|{END}"),
    "sum_ends_in_view": (2, [4, 4], f"{CONV}|relu|{branches('', 'dropout: 0', merge='add')}|relu|{CONV3}|{END}"),
    # products
    "product_with_a_gate": (
        2,
        [4, 5],
        f"{CONV}|relu|{branches('', f'{CONV}, sigmoid', merge='multiply')}|{CONV3}|relu|{END}",
    ),
    "product_of_four": (
        2,
        [4, 4],
        f"{CONV}|relu|{branches('', CONV, 'tanh', f'{CONV}, relu', merge='multiply')}|{CONV3}|{END}",
    ),
    "square": (2, [4, 4], f"{CONV}|relu|{branches('', '', merge='multiply')}|{CONV3}|{END}"),
    "cube_at_input": (2, [4, 4], f"{branches('', '', '', merge='multiply')}|{CONV3}|{END}"),
    "product_of_flat": (2, [3, 3], f"flatten|{branches('dense: 5', 'dense: 5, sigmoid', merge='multiply')}|dense: 3"),
    # maxima
    "maximum": (2, [4, 4], f"{CONV}|relu|{branches(CONV, CONV, merge='max')}|relu|{CONV3}|{END}"),
    "maximum_of_three": (2, [4, 5], f"{CONV}|{branches('', f'{CONV}, tanh', CONV, merge='max')}|{CONV3}|{END}"),
    "maximum_of_the_same": (2, [4, 4], f"{CONV}|relu|{branches('', '', merge='max')}|{CONV3}|{END}"),
    "maxout": (2, [3, 3], f"flatten|{branches('dense: 5', 'dense: 5', 'dense: 5', merge='max')}|dense: 3"),
    # taps
    "skips": (  # Ronneberger et al. 2015, without its change of size
        2,
        [6, 6],
        "conv: {filters: 3, padding: same}|relu: {name: wide}|conv: {filters: 5, padding: same}|relu: {name: deep}|"
        "conv: {filters: 4, padding: same, dilation: 2}|relu|merge: deep|conv: {filters: 4, padding: same}|relu|"
        f"merge: {{with: wide}}|conv: {{filters: 3, padding: same}}|relu|merge: input|{CONV3}|{END}",
    ),
    "sum_with_a_name": (
        2,
        [4, 4],
        "conv: {filters: 4, padding: same, name: a}|relu|conv: {filters: 4, padding: same}|"
        f"merge: {{with: a, by: add}}|relu|{CONV3}|{END}",
    ),
    "sum_with_a_later_layer": (  # the first convolution cannot add what is not there yet
        2,
        [4, 4],
        "conv: {filters: 4, padding: same, name: a}|conv: {filters: 4, padding: same, from: input, name: b}|"
        f"merge: {{from: a, with: b, by: add}}|relu|{CONV3}|{END}",
    ),
    "sum_with_a_later_relu": (
        2,
        [4, 4],
        "conv: {filters: 4, padding: same, name: a}|conv: {filters: 4, padding: same, from: input, name: b}|"
        f"relu: {{from: a, name: c}}|merge: {{from: b, with: c, by: add}}|relu|{CONV3}|{END}",
    ),
    "merge_of_many": (
        2,
        [4, 4],
        "conv: {filters: 4, padding: same, name: a}|relu: {name: b}|conv: {filters: 4, padding: same, name: c}|"
        f"merge: {{with: [a, b, c, a], by: multiply}}|merge: {{with: [b, c], by: max}}|{CONV3}|{END}",
    ),
    "taps_of_enclosing_lists": (
        2,
        [4, 4],
        "conv: {filters: 4, padding: same, name: a}|relu|"
        + branches("conv: {filters: 4, padding: same, name: b}, relu, merge: {with: [a, b]}", "relu: {from: a}")
        + f"|repeat: {{times: 2, layers: [conv: {{filters: 3, padding: same, name: b}}, relu, merge: [a, b]]}}|{END}",
    ),
    "named_block_ends": (
        2,
        [4, 4],
        f"residual: {{name: r, main: [conv: {{filters: 2, padding: same}}]}}|{branches('', CONV)}|relu|merge: r|{END}",
    ),
    "flattened_twice": (
        3,
        [3, 3],
        f"{CONV}|relu: {{name: a}}|flatten|dense: {{units: 4, name: b}}|flatten: {{from: a}}|dense: 4|merge: b|"
        "dense: 3",
    ),
    # unpooled
    "unpooled": (  # so wide that the convolution would pool itself
        1,
        [4, 18],
        f"{CONV}|relu|max_pool: {{size: 2, name: p}}|{CONV}|relu|unpool: p|relu|{CONV3}|{END}",
    ),
    "unpooled_at_once": (2, [5, 4], f"{CONV}|max_pool: {{size: 3, stride: 2, padding: 1, name: p}}|unpool: p|{END}"),
    "unpooled_input": (2, [4, 4], f"max_pool: {{size: 2, name: p}}|conv: {{filters: 2, kernel: 1}}|unpool: p|{END}"),
    "unpooled_twice": (  # the inner pooling and unpooling leave what the outer ones read alone
        2,
        [8, 4],
        f"{CONV}|relu|max_pool: {{size: 2, name: p}}|{CONV}|max_pool: {{size: [2, 1], name: q}}|tanh|unpool: q|"
        f"{CONV}|relu|unpool: p|{CONV3}|relu|{END}",
    ),
    "unpooled_from_what_is_pooled": (  # both of its inputs are the same value
        2,
        [4, 5],
        f"conv: {{filters: 4, padding: same, name: a}}|max_pool: {{size: 3, stride: 1, padding: 1, name: p}}|"
        f"unpool: {{of: p, from: a}}|merge: {{with: p, by: add}}|relu|{CONV3}|{END}",
    ),
    "unpooled_beside_others": (
        2,
        [4, 4],
        f"{CONV}|relu: {{name: a}}|max_pool: {{size: 2, name: p}}|relu|"
        f"{branches('unpool: p', 'batch_norm, unpool: p', merge='add')}|merge: {{with: a, by: add}}|relu|{END}",
    ),
    "unpooled_of_views": (
        2,
        [4, 2],
        f"{CONV}|dropout: 0|max_pool: {{size: 2, name: p}}|dropout: 0|unpool: p|{END}",
    ),
    "unpooled_in_steps": (
        2,
        [4, 4],
        recurrent(f"{CONV}, relu, max_pool: {{size: 2, name: p}}, tanh, unpool: p, {CONV3}", 2) + f"|{END}",
    ),
    "unpooled_lines": (2, [9], f"{CONV}|relu|max_pool: {{size: 2, name: p}}|tanh|unpool: p|{CONV3}|relu|{END}"),
    "unpooled_volumes": (1, [4, 2, 3], f"{CONV}|max_pool: {{size: [2, 1, 3], name: p}}|tanh|unpool: p|{CONV3}|{END}"),
    # repeated layers
    "repeated_blocks": (
        2,
        [4, 4],
        f"{CONV}|relu|repeat: {{times: 3, layers: [residual: {{main: [{CONV}, batch_norm]}}, relu]}}|{END}",
    ),
    "repeated_repeats": (
        2,
        [4, 4],
        f"repeat: {{times: 2, layers: [repeat: {{times: 2, layers: [{CONV3}, relu]}}, batch_norm]}}|{END}",
    ),
    # recurrent layers
    "labeller": (  # Goodfellow et al. 2016, figure 9.17
        3,
        [6, 5],
        recurrent("conv: {filters: 6, padding: same}, relu, conv: {filters: 2, kernel: 1}") + f"|{END}",
    ),
    "recurrent_in_the_middle": (
        2,
        [4, 4],
        f"{CONV}|relu|{recurrent(f'{CONV3}, relu')}|relu|conv: {{filters: 3, kernel: 2}}|{END}",
    ),
    "recurrent_once": (2, [4, 4], f"{CONV}|relu|{recurrent(CONV3, 1)}|relu|{END}"),
    "recurrent_norm": (2, [4, 4], f"{CONV}|relu|{recurrent(f'{CONV3}, batch_norm, relu', 4)}|{END}"),
    "recurrent_of_residuals": (
        4,
        [4, 4],
        recurrent(f"conv: {{filters: 4, kernel: 1}}, residual: {{main: [{CONV}, relu, {CONV}]}}, relu", 2) + f"|{END}",
    ),
    "recurrent_of_branches": (
        2,
        [4, 4],
        f"{CONV}|{recurrent(branches(CONV3, 'conv: {filters: 2, kernel: 1}') + ', tanh', 3)}|relu|{END}",
    ),
    "recurrent_of_groups": (
        2,
        [4, 4],
        f"{CONV}|{recurrent('conv: {filters: 6, padding: same, groups: 2}, relu', 2)}|{END}",
    ),
    "recurrent_of_flat": (3, [2, 2], f"flatten|dense: 5|relu|{recurrent('dense: 6, tanh', 4)}|dense: 3"),
    "recurrent_reads_taps": (
        2,
        [4, 4],
        f"conv: {{filters: 4, padding: same, name: a}}|relu|"
        f"{recurrent('conv: {filters: 3, padding: same, name: b}, relu, merge: [a, b], ' + CONV3, 2)}|merge: a|{END}",
    ),
    "recurrent_of_repeats": (
        2,
        [4, 4],
        recurrent(f"repeat: {{times: 2, layers: [{CONV3}, relu]}}", 2) + f"|{END}",
    ),
    "recurrent_in_branches": (
        2,
        [4, 4],
        f"{CONV}|relu|{branches(recurrent(CONV3, 2), recurrent(CONV, 3), '')}|relu|{END}",
    ),
    "recurrent_reads_input": (2, [4, 4], f"{recurrent('merge: input, conv: {filters: 2, kernel: 1}', 2)}|{END}"),
}
