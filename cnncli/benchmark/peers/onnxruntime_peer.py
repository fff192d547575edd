"""ONNX Runtime as a peer, for inference: a worker process, run as a script."""

import numpy as np
import onnxruntime
from onnx_graph import model
from serving import serve


def network(request):
    program, tasks = request["program"], {}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = request["threads"], 1
    for task, batch in (("infer", request["batch"]), ("latency", 1)):
        text, parameters = model(program, batch)
        session = onnxruntime.InferenceSession(text, options, providers=["CPUExecutionProvider"])
        x = np.random.default_rng(0).standard_normal((batch, *program["input"]), np.float32)
        tasks[task] = lambda session=session, x=x: session.run(None, {"x": x})
    return tasks, {"parameters": parameters}


serve(onnxruntime.__version__, {"network": network})
