"""Networks in the runtimes of the peers: ONNX Runtime, OpenVINO, PyTorch as people write it and compiled.

A runtime is made of what it needs, and called with images, float32 [n, 3, side, side] in NumPy; it returns
the network's outputs in NumPy.
"""

import threading

import numpy


def make(runtime, threads, network, onnx):
    """`network` is a function that makes the network in PyTorch, `onnx` a file of the same. `threads` is
    the number of a forward pass; 0 is the library's own choice."""
    if runtime == "onnxruntime":
        return onnxruntime(threads, onnx)
    if runtime == "openvino":
        return openvino(threads, onnx)
    return pytorch(threads, network(), compiled=runtime == "compiled")


def onnxruntime(threads, onnx):
    import onnxruntime

    # All optimisations are on by default.
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(onnx, options, ["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})[0]


def openvino(threads, onnx):
    import openvino

    # It chooses the precision by itself: bf16 where the CPU has it.
    # Pinned, the threads of several processes would share a processor.
    options = {"PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}
    if threads:
        options["INFERENCE_NUM_THREADS"] = threads
    model = openvino.Core().compile_model(onnx, "CPU", options)
    # A request is for one thread at a time.
    own = threading.local()

    def run(images):
        if not hasattr(own, "request"):
            own.request = model.create_infer_request()
        return numpy.array(own.request.infer([images])[0])

    return run


def pytorch(threads, network, compiled):
    import torch
    import torch._inductor.config
    from measure import fast_type

    if threads:
        torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = network.to(device).requires_grad_(False)
    bf16 = compiled and fast_type() == "bf16"
    if compiled:
        # For inference: weights are folded and laid out when it compiles.
        torch._inductor.config.freezing = True
        network = torch.compile(network.to(memory_format=torch.channels_last))

    def run(images):
        x = torch.from_numpy(images).to(device)
        if compiled:
            x = x.to(memory_format=torch.channels_last)
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=bf16):
            return network(x).float().cpu().numpy()

    return run
