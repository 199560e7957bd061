"""The small network in fastai: loads, trains, evaluates and serves.

    python job_fastai.py PORT DATA EPOCHS

DATA has train/, validation/ and test/, each with a folder for each class.
"""

import sys

import torch
import torch.nn.functional as F
from fastai.callback.tracker import SaveModelCallback
from fastai.optimizer import RMSProp
from fastai.vision.all import ImageDataLoaders, Learner, Resize, ResizeMethod, get_image_files
from sklearn.metrics import classification_report

import job_server
import networks


def loss(logits, labels):
    return F.binary_cross_entropy_with_logits(logits, labels.float())


def accuracy(logits, labels):
    return ((logits > 0) == labels).float().mean()


def main():
    port, data, epochs = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    resize = Resize(180, method=ResizeMethod.Squish)
    loaders = ImageDataLoaders.from_folder(data, train="train", valid="validation", item_tfms=resize, bs=32)
    learner = Learner(loaders, networks.ScratchCnn(), loss, opt_func=RMSProp, metrics=accuracy)
    with learner.no_bar(), learner.no_logging():
        learner.fit(epochs, lr=1e-3, cbs=SaveModelCallback(monitor="valid_loss"))
        test = loaders.test_dl(get_image_files(f"{data}/test"), with_labels=True)
        logits, labels = learner.get_preds(dl=test)
    predicted = logits > 0
    print(classification_report(labels, predicted, target_names=list(loaders.vocab)))
    network = learner.model.eval()

    @torch.inference_mode()
    def predict(pixels):
        return network(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255).sigmoid()[0]

    job_server.serve(port, 180, predict, (predicted == labels).float().mean().item())


if __name__ == "__main__":
    main()
