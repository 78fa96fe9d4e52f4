"""Tables of layers: what is read, and that each fault is named by file, row and column."""

import pytest

from accelsim.errors import InputError
from accelsim.network.count import dense_macs
from accelsim.network.layers import Conv, Linear
from accelsim.network.table_layer import TableLayer, as_product
from accelsim.network.table_rows import COLUMNS
from accelsim.network.tables import read_table
from accelsim.network.zoo import NETWORKS

HEADER = ",".join(COLUMNS)
GOOD = "conv1,conv,3,64,32,30,3,5,2,1,1,0.25,0.5"


def table(tmp_path, *rows, header=HEADER):
    path = tmp_path / "network.csv"
    path.write_text("\n".join((header, *rows)) + "\n")
    return path


def test_a_row_becomes_a_layer(tmp_path):
    (layer,) = read_table(table(tmp_path, GOOD, ""))
    assert layer == TableLayer("conv1", "conv", 3, 64, 32, 30, (3, 5), 2, 1, 1, 0.25, 0.5)
    assert layer.output_size == (16, 14)


def test_columns_come_in_any_order_and_some_may_be_left_out(tmp_path):
    path = table(
        tmp_path, "1,9,8,7,6,3,linear,a", header="kernel_h,kernel_w,height,width,out_channels,in_channels,kind,name"
    )
    with pytest.raises(InputError, match="linear layer has height, width and kernel 1"):
        read_table(path)
    path = table(
        tmp_path, "1,1,1,1,6,3,linear,a", header="kernel_h,kernel_w,height,width,out_channels,in_channels,kind,name"
    )
    assert read_table(path) == (TableLayer("a", "linear", 3, 6, 1, 1),)


def test_a_network_written_as_a_table_keeps_its_macs(tmp_path):
    """ResNet-18: the MACs counted from the table's shapes are the graph's."""
    graph = NETWORKS["resnet18"]()
    rows = []
    for node in graph.nodes:
        shape = graph.shapes[node.inputs[0]]
        match node.layer:
            case Conv() as c:
                H, W, C = shape
                rows.append(
                    f"{node.name},conv,{C},{c.out_channels},{H},{W},{c.kernel[0]},{c.kernel[1]},{c.stride[0]},{c.padding[0]},1,1,1"
                )
            case Linear() as c:
                rows.append(f"{node.name},linear,{c.in_features},{c.out_features},1,1,1,1,1,0,1,1,1")
    macs = {}
    for layer in read_table(table(tmp_path, *rows)):
        P, Q = layer.output_size
        macs[layer.name] = P * Q * layer.out_channels * layer.in_channels * layer.kernel[0] * layer.kernel[1]
    assert macs == dense_macs(graph)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            GOOD.replace(",64,", ",-64,"),
            r"row 2, column 'out_channels': '-64', expected a whole number of 1 to 1048576",
        ),
        (GOOD.replace(",64,", ",sixty,"), r"row 2, column 'out_channels': 'sixty'"),
        (GOOD.replace(",64,", ",1e3,"), r"row 2, column 'out_channels': '1e3'"),
        (GOOD.replace(",64,", ",,"), r"row 2, column 'out_channels': empty"),
        (GOOD.replace(",64,", ",99999999999,"), r"row 2, column 'out_channels'"),
        (GOOD.replace("0.25", "1.5"), r"row 2, column 'weight_density': '1.5', expected a number of 0 to 1"),
        (GOOD.replace("0.25", "nan"), r"row 2, column 'weight_density': 'nan'"),
        (GOOD.replace(",conv,", ",convolution,"), r"column 'kind': 'convolution', expected one of conv, linear, pool"),
        (GOOD.replace(",1,0.25", ",2,0.25"), r"column 'groups': 2 does not divide 3 and 64 channels"),
        (GOOD.replace(",3,5,", ",35,5,"), r"column 'kernel_h': 35 is larger than the padded image, 34"),
        (GOOD.replace(",conv,", ",add,"), r"column 'out_channels': 64, expected the 3 input channels"),
        (GOOD + ",7", "row 2: 14 cells, the header has 13"),
        (f"{GOOD}\n{GOOD}", r"row 3, column 'name': 'conv1' is used twice"),
    ],
)
def test_faults_name_row_and_column(tmp_path, row, message):
    path = table(tmp_path, row)
    with pytest.raises(InputError, match=message) as error:
        read_table(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_all_faults_are_named_at_once_but_not_thousands(tmp_path):
    with pytest.raises(InputError, match=r"row 2.*; row 3.*; and 3 more"):
        read_table(table(tmp_path, *(f"c{i},conv,0,64,32,30,3,5,2,1,1,0.25,0.5" for i in range(8))))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty, expected a header line"),
        (b"\n\n", "empty, expected a header line"),
        (HEADER.encode(), "no layers"),
        (
            HEADER.replace("in_channels", "in_chanels").encode() + b"\n",
            "'in_chanels' is not known, did you mean 'in_channels'",
        ),
        (HEADER.replace(",width", "").encode() + b"\n", "column 'width' is missing"),
        (HEADER.encode() + b",kind\n", "column 'kind' is there twice"),
        (b"\xff\xfe\x00", "byte 0 is no UTF-8 text, expected a table of layers"),
        (b"Layer, M, N\n", "expected 'ifmap height'"),
        (b"x" * (5 << 20), "5242880 bytes, expected a table of layers of at most"),
        (HEADER.encode() + b"\n" + b"a\n" * 10_001, "10001 layers, expected at most 10000"),
    ],
)
def test_files_that_are_no_tables(tmp_path, content, message):
    path = tmp_path / "network.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_table(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none.csv: No such file or directory, expected a table of layers"):
        read_table(tmp_path / "none.csv")


SCALE_SIM = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,"


def test_a_scale_sim_topology_is_read_by_position(tmp_path):
    """The first rows of SCALE-Sim's AlexNet topology, trailing commas and all."""
    path = table(tmp_path, "Conv1, 227, 227, 11, 11, 3, 96, 4,", "Conv2, 31, 31, 5, 5, 96, 256, 1,", header=SCALE_SIM)
    first, second = read_table(path)
    assert first == TableLayer("Conv1", "conv", 3, 96, 227, 227, (11, 11), 4)
    assert (first.output_size, second.output_size) == ((55, 55), (27, 27))


def test_scale_sim_sparsity_and_matrix_products(tmp_path):
    (layer,) = read_table(table(tmp_path, "c, 9, 9, 3, 3, 8, 4, 1, 2:4,", header=SCALE_SIM + " Sparsity,"))
    assert layer.weight_density == 0.5
    (layer,) = read_table(table(tmp_path, "g, 128, 64, 256,", header="Layer, M, N, K,"))
    assert layer == TableLayer("g", "conv", 256, 64, 128, 1)
    with pytest.raises(InputError, match=r"column 'sparsity': '5:4', expected N:M"):
        read_table(table(tmp_path, "c, 9, 9, 3, 3, 8, 4, 1, 5:4,", header=SCALE_SIM + " Sparsity,"))
    with pytest.raises(InputError, match=r"row 1: column 2 is 'width', expected 'ifmap height'"):
        read_table(table(tmp_path, "c, 9, 9, 3, 3, 8, 4, 1", header="Layer, width, height, a, b, c, d, e"))


def test_what_scale_sim_does_not_read_is_left_out_of_a_topology(tmp_path):
    """Rows as in its mobilnet_paper.csv and vww.csv, and the header of its bagel/layer_example.csv."""
    plain = read_table(table(tmp_path, "c, 9, 9, 3, 3, 8, 4, 2,", header=SCALE_SIM))
    for row in ("c, 9, 9, 3, 3, 8, 4, 2,#dw", "c, 9, 9, 3, 3, 8, 4, 2, 2"):
        assert read_table(table(tmp_path, row, header=SCALE_SIM)) == plain
    for row in ("c, 9, 9, 3, 3, 8, 4, 2, 1", "c, 9, 9, 3, 3, 8, 4, 2, 2, #dw"):
        with pytest.raises(InputError, match="cells, the header has 8"):
            read_table(table(tmp_path, row, header=SCALE_SIM))
    product = read_table(table(tmp_path, "g,128,64,256,", header="Layer,M,N,K,"))
    assert read_table(table(tmp_path, "g,128,64,256,", header="Layer,M,N,K,FFN_up,")) == product
    with pytest.raises(InputError, match="column 'ffn_up' is not known behind 'k'"):
        read_table(table(tmp_path, "g,128,64,256,7,", header="Layer,M,N,K,FFN_up,"))


def test_a_word_under_a_name_that_is_not_known_is_left_out_of_a_topology(tmp_path):
    """As in SCALE-Sim's conv_nets/Resnet18.csv, whose parser drops what follows the last comma."""
    plain = read_table(table(tmp_path, "c, 9, 9, 3, 3, 8, 4, 2,", header=SCALE_SIM))
    for header in (f"{SCALE_SIM}, Target", f"{SCALE_SIM} Target", SCALE_SIM):
        assert read_table(table(tmp_path, "c, 9, 9, 3, 3, 8, 4, 2, NPU", header=header)) == plain
    with pytest.raises(InputError, match="column 'sparsity': 'dense', expected N:M"):
        read_table(table(tmp_path, "c, 9, 9, 3, 3, 8, 4, 2, dense", header=f"{SCALE_SIM} Sparsity"))
    with pytest.raises(InputError, match="column 'target' is not known behind 'stride'"):
        read_table(table(tmp_path, "c, 9, 9, 3, 3, 8, 4, 2, 7", header=f"{SCALE_SIM} Target"))


def test_columns_that_are_not_known_are_named_together(tmp_path):
    """As in SCALE-Sim's conv_nets/Resnet50.csv, whose own parser ends there, too."""
    with pytest.raises(
        InputError, match=r"csv: row 1: columns '', 'eh', 'ew' are not known behind 'stride' \(.*batch\)$"
    ):
        read_table(table(tmp_path, "c,9,9,3,3,8,4,2,,,7,7", header=SCALE_SIM + ",,Eh,Ew"))


def test_tabs_in_the_place_of_commas_are_named(tmp_path):
    """As in SCALE-Sim's conv_nets/UNet_maestro.csv."""
    tabs = "\t".join(name.strip() for name in SCALE_SIM.split(","))
    with pytest.raises(InputError, match=r"row 1: tabs between the names, expected commas$"):
        read_table(table(tmp_path, "c\t9\t9\t3\t3\t8\t4\t1", header=tabs))


def test_a_slip_in_a_topology_is_read_by_place(tmp_path):
    """SCALE-Sim goes by the place alone; a name that stands twice is a slip, two that changed places are not."""
    rows = ",,,,,,,\none, 9, 7, 3, 3, 16, 32, 1,\none, 9, 7, 3, 3, 16, 32, 2,\n"
    header = "Layer name, IFMAP Width, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n"
    (tmp_path / "a.csv").write_text(header + rows)
    layers = read_table(tmp_path / "a.csv")
    assert [(layer.name, layer.height, layer.width) for layer in layers] == [("one", 9, 7), ("one (2)", 9, 7)]
    (tmp_path / "one.csv").write_text(header.replace("Channels", "channel") + rows)
    assert read_table(tmp_path / "one.csv") == layers
    (tmp_path / "b.csv").write_text(header.replace("IFMAP Width, IFMAP Width", "IFMAP Width, IFMAP Height") + rows)
    with pytest.raises(InputError, match="column 2 is 'ifmap width', expected 'ifmap height'"):
        read_table(tmp_path / "b.csv")


def test_a_name_alone_is_a_heading_in_a_topology_and_nothing_else_is(tmp_path):
    layers = read_table(table(tmp_path, "Encoder,\nc, 9, 9, 3, 3, 8, 4, 1,\nDecoder", header=SCALE_SIM))
    assert [layer.name for layer in layers] == ["c"]
    with pytest.raises(InputError, match="row 2, column 'channels': empty"):
        read_table(table(tmp_path, "Encoder, 9,", header=SCALE_SIM))
    with pytest.raises(InputError, match="no layers"):
        read_table(table(tmp_path, "Encoder,", header=SCALE_SIM))


def test_a_product_of_many_rows_becomes_an_image_of_as_many(tmp_path):
    (tmp_path / "a.csv").write_text("Layer,M,N,K\none,4186116,64,9\n")  # 2046 x 2046
    (layer,) = read_table(tmp_path / "a.csv")
    assert (layer.height, layer.width, layer.in_channels, layer.out_channels) == (2046, 2046, 9, 64)
    (tmp_path / "b.csv").write_text("Layer,M,N,K\none,1048583,64,9\n")  # the first prime above 2^20
    with pytest.raises(InputError, match="1048583 is no product of two numbers"):
        read_table(tmp_path / "b.csv")


@pytest.mark.parametrize(
    ("kernel", "image", "channels", "positions"),
    [((1, 12544), (147, 12544), 12544, 147), ((80, 60), (80, 60), 3 * 4800, 1), ((9000, 1), (9000, 5), 27000, 5)],
)
def test_a_kernel_of_thousands_of_taps_is_a_matrix_product(kernel, image, channels, positions):
    """As many multiplies, and channels that machines can cut."""
    inputs = channels // (kernel[0] * kernel[1])
    layer = TableLayer("one", "conv", inputs, 8, *image, kernel=kernel)
    product = as_product(layer)
    assert (product.in_channels, product.kernel) == (channels, (1, 1))
    assert product.output_size[0] * product.output_size[1] == positions
    assert layer.output_size[0] * layer.output_size[1] == positions
    small = TableLayer("two", "conv", 16, 8, 7, 7, kernel=(7, 7))
    assert as_product(small) is small


READING = "a,conv,3,16,8,8,3,3,1,1,1,1,1,input"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("b,conv,16,4,8,8,1,1,1,0,1,1,1,a;a", "a layer named twice is read twice, 32 channels, expected 16"),
        ("b,add,16,16,8,8,1,1,1,0,1,1,1,a", "'a' alone, expected two layers or more to add"),
        (200 * "b" + "c,conv,16,4,8,8,1,1,1,0,1,1,1,a", "is of 201 characters, expected 200 at most"),
    ],
)
def test_what_a_row_reads_is_what_it_names(tmp_path, row, message):
    with pytest.raises(InputError, match=message):
        read_table(table(tmp_path, READING, row, header=f"{HEADER},inputs"))


def test_a_layer_behind_itself_is_read_twice(tmp_path):
    row = "b,conv,32,4,8,8,1,1,1,0,1,1,1,a;a"
    assert read_table(table(tmp_path, READING, row, header=f"{HEADER},inputs"))[1].inputs == ("a", "a")


def test_a_topology_without_its_stride_is_refused(tmp_path):
    header = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,"
    with pytest.raises(InputError, match="row 2, column 'stride': empty"):
        read_table(table(tmp_path, "c, 10, 10, 3, 3, 3, 8,", header=header))
