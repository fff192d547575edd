"""OpenVINO as a peer, for inference: a worker process, run as a script."""

import numpy as np
import openvino
from onnx_graph import model
from serving import serve


def network(request):
    core, program, tasks = openvino.Core(), request["program"], {}
    options = {
        "INFERENCE_NUM_THREADS": request["threads"],
        "PERFORMANCE_HINT": "LATENCY",  # one request on all threads
        "INFERENCE_PRECISION_HINT": "f32",  # bfloat16 otherwise, where the processor has it
    }
    for task, batch in (("infer", request["batch"]), ("latency", 1)):
        text, parameters = model(program, batch)
        compiled = core.compile_model(core.read_model(text), "CPU", options)
        inference = compiled.create_infer_request()
        x = np.random.default_rng(0).standard_normal((batch, *program["input"]), np.float32)
        inference.set_input_tensor(openvino.Tensor(x, shared_memory=True))
        tasks[task] = inference.infer
        inference.keep = x  # the tensor is its memory
    return tasks, {"parameters": parameters}


serve(openvino.__version__.partition("-")[0], {"network": network})
