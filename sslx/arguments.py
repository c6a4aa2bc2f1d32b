"""The command line: sslx pretrain | transfer | evaluate | embed | search | report | import | export | gallery | plan |
doctor | data | list. Exit codes: 0 done, 1 a failure, 2 wrong use, 3 stopped by a signal with everything saved."""

import argparse

from sslx import errors


class Parser(argparse.ArgumentParser):
  """Prints wrong use as one line, with the nearest valid choice."""

  def error(self, message):
    raise errors.UsageError(f"{message}; `{self.prog} --help` shows what there is")

  def _check_value(self, action, value):
    if action.choices is not None and value not in action.choices:
      raise errors.unknown(action.metavar or action.dest, value, action.choices)


def parser():
  """The whole command line."""
  top = Parser(prog="sslx", description=__doc__, allow_abbrev=False)
  top.add_argument("--debug", action="store_true", help="show the traceback of an error")
  commands = top.add_subparsers(metavar="command", required=True, dest="command", parser_class=Parser)

  def command(name, text):
    p = commands.add_parser(name, help=text.partition(":")[0], description=text, allow_abbrev=False,
                            formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return p

  def many(p):
    p.add_argument("--distributed", action="store_true", help="one of several processes, as the cluster says (SLURM, "
                   "Open MPI, Kubernetes, TPU pods): start the same command in each")
    p.add_argument("--coordinator", metavar="HOST:PORT", help="or as said here: the address of the first process ...")
    p.add_argument("--processes", type=int, metavar="N", help="... how many there are ...")
    p.add_argument("--process", type=int, metavar="I", help="... and which one this is, from 0 on")

  p = command("pretrain", "Pretrain, or go on with the run in --workdir: the same command resumes.\n\n"
              "Any key of the config can be set: --config.batch_size=512 --config.data.name=folder:photos\n"
              "(`sslx pretrain --config FILE --show` prints them all).\n"
              "Several runs, a workdir each below DIR: --config.seeds=3 --config.rates=0.001,0.003")
  p.add_argument("--config", metavar="FILE[:VARIANT]", help="a config file, such as configs/simclr.py:digits; "
                 "left out, the run in --workdir goes on as it was configured")
  p.add_argument("--workdir", metavar="DIR", help="folder of the run, made if need be")
  p.add_argument("--extend", metavar="total_steps=N", help="take a run past its planned end")
  p.add_argument("--profile", type=int, nargs="?", const=10, default=0, metavar="N", help="trace N steps (default: 10) "
                 "to DIR/profile, for xprof")
  p.add_argument("--show", action="store_true", help="print the config and exit")
  many(p)

  p = command("transfer", "Train a task with labels on a pretrained encoder, beside the same network from "
              "scratch: writes DIR/transfer.json.\n\nThe same command goes on with what is in --workdir. Any key of "
              "the config can be set, as in pretrain:\n--config.data.name=folder:photos --config.method.mixup=0.2")
  p.add_argument("--config", required=True, metavar="FILE[:VARIANT]", help="a config file, such as "
                 "configs/transfer/classify.py:digits")
  p.add_argument("--from", required=True, dest="source", metavar="RUN", help="workdir of the pretraining run, its "
                 "encoder's folder or that of a checkpoint")
  p.add_argument("--workdir", metavar="DIR", help="folder of this run, made if need be")
  p.add_argument("--strategy", metavar="S", help="linear (encoder frozen), freeze=K (its first K stages frozen), "
                 "finetune, copy=K (only the first K stages pretrained), copy_freeze=K (and frozen), scratch, or auto "
                 "(default: method.strategy)")
  p.add_argument("--no-scratch", action="store_true", help="leave out the comparison with random weights")
  p.add_argument("--scratch-lr", type=float, metavar="X", help="peak learning rate from scratch (default: optim.lr)")
  p.add_argument("--extend", metavar="total_steps=N", help="take a run past its planned end")
  p.add_argument("--show", action="store_true", help="print the config and exit")

  p = command("evaluate", "Evaluate the encoder of a run, beside a random one and the raw data: writes "
              "DIR/evaluation.json.")
  p.add_argument("--workdir", required=True, metavar="DIR")
  p.add_argument("--protocols", default="knn,linear,few_label,health", metavar="P,P,...",
                 help="of knn, linear, few_label, health (default: these), stages and "
                 "stages_ridge (a probe of every stage, the second in closed form), kmeans (clusters beside classes); "
                 "of runs on pairs also retrieval (default there) and zero_shot (classes by their names); of virtex "
                 "captions (BLEU-4 of what it says of held-out images)")
  p.add_argument("--templates", metavar="FILE", help="of zero_shot: a text a line, {} for the class (default: "
                 "a photo of a {}.)")
  p.add_argument("--data", action="append", metavar="NAME", help="another data set than the run's own, again for more "
                 "sets (default: the run's own, and those of evaluate.data)")
  p.add_argument("--step", metavar="N|best", help="a checkpoint in place of the final encoder")
  p.add_argument("--read", default="h", choices=("h", "z"), metavar="h|z", help="the representation (default), or the "
                 "projection that the loss compares")
  p.add_argument("--train", type=int, metavar="N", help="at most N training examples (default: evaluate.train)")
  p.add_argument("--test", type=int, metavar="N", help="at most N test examples (default: evaluate.test)")
  many(p)

  p = command("embed", "Write embeddings, labels, index and paths of a data set to an .npz file.")
  p.add_argument("--workdir", required=True, metavar="DIR")
  p.add_argument("--data", metavar="NAME", help="default: the run's own data")
  p.add_argument("--split", default="test", metavar="SPLIT", help="train or test (default: test)")
  p.add_argument("--out", required=True, metavar="FILE.npz")
  p.add_argument("--layer", metavar="LAYER", help="stage1, stage2, ... in place of the final representation")
  p.add_argument("--step", metavar="N|best", help="a checkpoint in place of the final encoder")
  p.add_argument("--read", default="h", choices=("h", "z"), metavar="h|z", help="the representation (default), or the "
                 "projection that the loss compares")
  p.add_argument("--batch", type=int, metavar="N", help="examples a forward pass (default: 256, fewer of long texts)")
  many(p)

  p = command("search", "Find the images, or voxels or points in .npy files, of a data set that are most like one or "
              "several: writes a page.\n\n"
              "sslx search --workdir runs/mine --image cat.jpg dog.png\n"
              "What `sslx embed` wrote is searched at once: --index FILE.npz, with the --data and --split it is of.")
  p.add_argument("--workdir", required=True, metavar="DIR")
  p.add_argument("--image", required=True, nargs="+", metavar="FILE", help="images to look for")
  p.add_argument("--data", metavar="NAME", help="where to look (default: the run's own data)")
  p.add_argument("--split", default="train", metavar="SPLIT", help="train or test (default: train)")
  p.add_argument("--index", metavar="FILE.npz", help="its embeddings (default: they are made)")
  p.add_argument("--k", type=int, default=12, metavar="K", help="how many to find for each (default: 12)")
  p.add_argument("--step", metavar="N|best", help="a checkpoint in place of the final encoder")
  p.add_argument("--out", metavar="FILE", help="the page (default: DIR/search.html)")

  p = command("report", "Write DIR/report.html: verdict, tables, curves, views, neighbours, a map.")
  p.add_argument("--workdir", required=True, metavar="DIR")
  p.add_argument("--out", metavar="FILE", help="default: DIR/report.html")

  p = command("import", "Make a workdir of somebody's weights: evaluate, embed and report work on it, and a "
              "run can start from it.\n\nsslx import dino_vits16.pth --from dino --encoder vit_s --workdir runs/dino\n"
              "A file that sslx exported needs no more than --workdir.")
  p.add_argument("file", metavar="FILE", help=".safetensors, .npz, or PyTorch's .pth, .pt, .ckpt, of which nothing is "
                 "ever run; these need `pip install 'sslx[torch]'`")
  p.add_argument("--from", dest="source", metavar="SOURCE", help="whose layout: timm, torchvision, dino, ibot, dinov2, "
                 "mae, mocov3, simclr, solo-learn, lightly, vissl or big_vision (default: the first that fits)")
  p.add_argument("--encoder", metavar="NAME", help="what the file holds: `sslx list encoders`")
  p.add_argument("--workdir", required=True, metavar="DIR", help="folder to be made")
  p.add_argument("--size", type=int, default=0, metavar="S", help="side of the images in pixels (default: 224)")
  p.add_argument("--options", nargs="+", default=[], metavar="KEY=VALUE", help="of the encoder, where the file does "
                 "not show them: width=16, pool=mean, 'mean=(0.5,)'")
  p.add_argument("--data", metavar="NAME", help="the data set that evaluate, embed and report take by default")
  p.add_argument("--prefix", metavar="PREFIX", help="what stands before the encoder's keys, in place of the source's")
  p.add_argument("--heads", nargs="+", default=[], metavar="PREFIX", help="further keys that are left out")

  p = command("export", "Write the encoder alone, for another library, and a JSON record beside it.\n\n"
              "sslx export --workdir runs/mine --to timm --out encoder.safetensors")
  p.add_argument("--workdir", required=True, metavar="DIR", help="of a run, or a file that --to safetensors wrote")
  p.add_argument("--to", required=True, choices=("timm", "torchvision", "safetensors", "stablehlo"),
                 metavar="timm|torchvision|safetensors|stablehlo", help="a state dict for their load_state_dict("
                 "strict=True), our own names for sslx.load_encoder, or a program that runs without this library")
  p.add_argument("--out", required=True, metavar="FILE", help=".safetensors, .npz or .pth; any name for stablehlo")
  p.add_argument("--step", metavar="N|best", help="a checkpoint in place of the final encoder")

  p = command("plan", "What a run costs on devices that are not here: compiles its step for them, runs nothing.\n\n"
              "sslx plan --config configs/simclr.py:imagenet --chip v5e --mesh data=32\n"
              "TPUs need pip install 'sslx[tpu-plan]'; GPUs and CPUs are simulated. Any key of the config can be set.")
  p.add_argument("--config", required=True, metavar="FILE[:VARIANT]", help="a config file")
  p.add_argument("--chip", required=True, metavar="CHIP", help="v4, v5e, v5p, v6e, a100, h100 or cpu")
  p.add_argument("--mesh", required=True, metavar="data=N[,fsdp=M]", help="how many devices, and how the state is "
                 "split: see config.mesh")
  p.add_argument("--shape", metavar="HxWxC", help="of images that stand in for the data, as many as in ImageNet "
                 "(default: the data's own; of tfds: data.size)")
  p.add_argument("--out", metavar="FILE.json", help="also write the figures to this file")

  p = command("doctor", "Look at this machine: devices, versions, rates, whether the numbers are right on it, and "
              "what to fix.\n\nExit code 1 where something is wrong.")
  p.add_argument("--workdir", metavar="DIR", help="where runs shall be written (default: the working folder)")

  p = command("gallery", "Show the augmentations on images of a data set: every operation at several "
              "strengths, every recipe.\n\nThe page needs nothing but itself: "
              "sslx gallery --data folder:photos --size 160 --out gallery.html")
  p.add_argument("--data", required=True, metavar="NAME", help="digits, fashion_mnist, folder:PATH, tfds:NAME, "
                 "npz:PATH, a prepared set, or your own")
  p.add_argument("--out", required=True, metavar="FILE", help="the page to write")
  p.add_argument("--recipes", metavar="R,R,...", help="recipes to show, your own by their dotted names (default: all; "
                 "`sslx list augmentations` names them)")
  p.add_argument("--images", type=int, default=6, metavar="N", help="images for the recipes (default: 6); operations "
                 "show two of them")
  p.add_argument("--size", type=int, default=0, metavar="S", help="side in pixels that images are resized to, the "
                 "short side first, the middle kept (default: 0, as they are)")
  p.add_argument("--seed", type=int, default=0, metavar="N", help="of the choice of images and of all draws (default: "
                 "0)")

  p = command("data", "Data sets: `sslx data list`, `sslx data prepare folder:PATH --name flowers`,\n"
              "`sslx data tokenizer text:PATH --vocab 4096 --out FILE.json` (subwords, for data.tokenizer),\n"
              "`sslx data split folder:PATH --labels 10% --out FILE.txt` (for data.labels).")
  p.add_argument("action", choices=("prepare", "list", "tokenizer", "split"), metavar="prepare|list|tokenizer|split")
  p.add_argument("source", nargs="?", metavar="NAME", help="folder:PATH or tfds:NAME, to prepare; text:PATH, to learn "
                 "subwords from; any set with labels, to split")
  p.add_argument("--labels", metavar="L", help="split: 10%% or 5, of each class, as data.labels would draw them")
  p.add_argument("--seed", type=int, default=0, metavar="N", help="split: the seed of the draw (default: 0)")
  p.add_argument("--vocab", type=int, default=4096, metavar="N", help="tokenizer: number of ids (default: 4096)")
  p.add_argument("--kind", default="subwords", metavar="K", help="tokenizer: subwords (byte-level BPE; default) "
                 "or words")
  p.add_argument("--lower", action="store_true", help="tokenizer: capitals are small letters to it")
  p.add_argument("--out", metavar="FILE", help="tokenizer: the .json to write; split: the .txt, of names where the "
                 "examples are files, else of positions, or the .json, of positions")
  p.add_argument("--name", metavar="NAME", help="what the prepared set shall be called")
  p.add_argument("--dir", metavar="DIR", help="where prepared sets live (default: TFDS_DATA_DIR, else a cache folder)")
  p.add_argument("--on_error", default="raise", choices=("raise", "skip"), metavar="raise|skip",
                 help="what to do with corrupt images (default: raise)")

  p = command("list", "List what there is: methods, encoders, augmentations.")
  p.add_argument("what", choices=("methods", "encoders", "augmentations"), metavar="methods|encoders|augmentations")
  p.add_argument("--cite", action="store_true", help="methods: their papers as BibTeX")
  return top
