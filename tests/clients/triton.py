"""Asks a server as a user of Triton's client would: triton.py HOST:PORT TOKEN PHOTO...

Prints the labels of the photos, one a line; anything amiss ends it with an error.
"""

import base64
import sys

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

address, token, *paths = sys.argv[1:]
headers = {"Authorization": f"Bearer {token}"}
photos = [open(path, "rb").read() for path in paths]
client = triton.InferenceServerClient(address)


def image(elements, shape=None, binary_data=True):
    array = np.array(elements, dtype=np.object_).reshape(shape or [len(elements)])
    tensor = triton.InferInput("image", list(array.shape), "BYTES")
    tensor.set_data_from_numpy(array, binary_data=binary_data)
    return tensor


def infer(tensor, model="current", **more):
    # A copy: the client leaves the length of its JSON in the headers that it is given.
    return client.infer(model, [tensor], headers=dict(headers), **more)


def refused(status, words, ask):
    try:
        ask()
    except InferenceServerException as error:
        assert error.status() == str(status), error
        assert words in error.message(), error
    else:
        raise AssertionError(f"nothing was refused with {status}, {words}")


# About the server and its models.
assert client.is_server_live(headers=headers)
assert client.is_server_ready(headers=headers)
assert not client.is_server_live()
server = client.get_server_metadata(headers=headers)
assert server["name"] == "pawprint" and "binary_tensor_data" in server["extensions"], server
model = client.get_model_metadata("current", headers=headers)
name = model["name"]
assert model["versions"] == ["1"], model
assert model["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [-1]}], model
assert model == client.get_model_metadata(name, "1", headers=headers)
assert client.is_model_ready(name, headers=headers)
assert client.is_model_ready(name, "1", headers=headers)
assert not client.is_model_ready("nobody", headers=headers)
assert not client.is_model_ready(name, "2", headers=headers)

# In binary, as the client does unless told otherwise.
result = infer(image(photos), request_id="seven")
assert result.get_response()["id"] == "seven"
assert result.get_response()["model_name"] == name
labels, probabilities = result.as_numpy("label"), result.as_numpy("probabilities")
assert labels.shape == (len(photos),), labels
assert probabilities.shape == (len(photos), 2) and probabilities.dtype == np.float32
assert np.allclose(probabilities.sum(axis=1), 1)
named = [model["classes"][column] for column in probabilities.argmax(axis=1)]
assert [label.decode() for label in labels] == named

# In JSON, both ways: the photos go in base64.
wanted = [
    triton.InferRequestedOutput("probabilities", binary_data=False),
    triton.InferRequestedOutput("label", binary_data=False),
]
in_base64 = image([base64.b64encode(photo) for photo in photos], binary_data=False)
result = infer(in_base64, model=name, model_version="1", outputs=wanted)
assert "data" in result.get_output("label"), result.get_response()
assert list(result.as_numpy("label")) == named
assert np.array_equal(result.as_numpy("probabilities"), probabilities)

# One output of the two, a column of photos, and without waiting.
only = [triton.InferRequestedOutput("label")]
result = infer(image(photos, shape=[-1, 1]), outputs=only)
assert result.as_numpy("probabilities") is None
assert np.array_equal(result.as_numpy("label"), labels)
later = client.async_infer("current", [image(photos)], headers=dict(headers))
assert np.array_equal(later.get_result().as_numpy("probabilities"), probabilities)

# Compressed, as the client can: the length of the JSON is that before.
for algorithm in ("gzip", "deflate"):
    result = infer(image(photos), request_compression_algorithm=algorithm)
    assert np.array_equal(result.as_numpy("probabilities"), probabilities)

# What is refused says why.
refused(415, "image 1", lambda: infer(image([photos[0], b"no image at all"])))
refused(422, "base64", lambda: infer(image(["no base64!"], binary_data=False)))
refused(404, "nobody", lambda: infer(image(photos), model="nobody"))
refused(404, "version `2`", lambda: infer(image(photos), model_version="2"))
refused(401, "token", lambda: client.infer("current", [image(photos)]))
numbers = triton.InferInput("image", [1, 2], "FP32")
numbers.set_data_from_numpy(np.zeros([1, 2], dtype=np.float32))
refused(422, "BYTES", lambda: infer(numbers))
unknown = [triton.InferRequestedOutput("logits")]
refused(422, "logits", lambda: infer(image(photos), outputs=unknown))

print("\n".join(named))
