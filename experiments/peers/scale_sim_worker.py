"""SCALE-Sim's side, in its own Python: ``python scale_sim_worker.py FOLDER``.

FOLDER/scale.cfg, FOLDER/topology.csv -> FOLDER/result.json.
"""

import json
import sys
import time
from pathlib import Path

from scalesim.layout_utils import layouts
from scalesim.scale_config import scale_config
from scalesim.single_layer_sim import single_layer_sim
from scalesim.topology_utils import topologies


def main(folder: Path) -> None:
    """Run each layer by itself, as SCALE-Sim's own loop does, without its report files and traces."""
    config = scale_config()
    topology = topologies()
    config.read_conf_file(str(folder / "scale.cfg"))
    topology.load_arrays(str(folder / "topology.csv"))
    rows = []
    for i in range(topology.get_num_layers()):
        start = time.process_time()
        layer = single_layer_sim()
        layer.set_params(layer_id=i, config_obj=config, topology_obj=topology, layout_obj=layouts(), verbose=False)
        layer.run()
        _, cycles, *_ = layer.get_compute_report_items()
        detail = layer.get_detail_report_items()
        seconds = time.process_time() - start
        rows.append(
            {
                "cycles": int(cycles),
                "dram_input_bytes": int(detail[11]),
                "dram_weight_bytes": int(detail[14]),
                "dram_output_bytes": int(detail[17]),
                "cpu_seconds": seconds,
            }
        )
    (folder / "result.json").write_text(json.dumps(rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
