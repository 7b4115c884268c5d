"""Mistakes of a new user, and the files that they are about.

A line of the table: the command line, the exit code, and what its one line must say. ``T`` is a tiny ``iapo train``.
"""

import json
import shutil
from pathlib import Path

from iapo.embedded import generate_problems, model_path, rows

TINY = (
    "train --output out --limit 24 --eval_problems 4 --eval_samples 1 --steps 1 --prompts_per_step 2 --group_size 2 "
    "--sampler.max_new_tokens 8"
)

MISTAKES = [
    # words and flags
    ("", 2, ["no subcommand is given", "train, eval"]),
    ("trian", 2, ["'trian' is no command", "did you mean train?"]),
    ("shwo runs", 2, ["'shwo' is no command", "show"]),
    ("train extra", 2, ["'extra' is one word too many"]),
    ("train --data a.jsonl b.jsonl", 2, ["'b.jsonl' is one word too many", "quotes", "a pattern of files"]),
    ("train --data nowhere/*.jsonl", 1, ["data: no file matches nowhere/*.jsonl in "]),
    ("train --data [a.jsonl,b.jsonl]", 1, ["data: no file a.jsonl; a list has files, and patterns of files"]),
    ("T --stesp 3", 2, ["--stesp is no flag", "did you mean --steps?"]),
    ("T --learning_rat 3", 2, ["--learning_rat is no flag"]),
    ("T --steps", 2, ["--steps", "expected one argument"]),
    ("eval --model embedded", 2, ["--model is no flag", "--models"]),
    ("eval --models embedded", 2, ["models: got embedded", "want a list", "[embedded"]),
    ("compare", 2, ["comparison: is missing", "iapo://compare/embedded"]),
    ("export run", 2, ["output: is missing", "--output"]),
    ("show", 2, ["run: is missing", "--output of iapo train"]),
    # numbers and choices
    ("T --steps many", 2, ["steps: got many", "want a whole number"]),
    ("T --steps 0", 2, ["steps: got 0", "number >0"]),
    ("T --steps 1.5", 2, ["steps: got 1.5", "want a whole number"]),
    ("T --group_size 1", 2, ["group_size: got 1", "number ≥2"]),
    ("T --max_tokens 0", 2, ["max_tokens: got 0", "number >0"]),
    ("T --limit few", 2, ["limit: got few", "want a whole number"]),
    ("T --seed x", 2, ["seed: got x", "want a whole number"]),
    ("T --max_grad_norm inf", 2, ["max_grad_norm: got inf", "want a number", "number >0 and finite"]),
    ("T --shard maybe", 2, ["shard: got maybe", "want true or false"]),
    ("T --chat_template_kwargs x", 2, ["chat_template_kwargs: got x", "want a mapping"]),
    ("T --precision fp16", 2, ["precision: got fp16", "bf16, fp32"]),
    ("T --answer gold", 2, ["answer: got gold", "own, reference"]),
    ("T --tracker tensorbord", 2, ["tracker: got tensorbord", "did you mean tensorboard?"]),
    ("T --answer_style tag", 2, ["answer_style", "'tag'", "did you mean tags"]),
    ("T --sampler.max_new_tokens 0", 1, ["max_new_tokens: got 0", "at least 1"]),
    ("T --sampler.max_new_tokens 9999", 1, ["9999", "256 positions", "lower --sampler.max_new_tokens"]),
    ("T --estimator AnswerLikelihood --assigner GroupRelative --sampler.max_new_tokens 999", 1, ["with 999 that may"]),
    ("T --estimator AnswerLikelihood --assigner InformationAware --sampler.max_new_tokens 999", 1, ["with 1002 that"]),
    (
        "T --estimator.temperature 2.0",
        2,
        ["--estimator.temperature: follows from --sampler.temperature", "leave it out"],
    ),
    ("T --estimator EarlyExitEntropy --estimator.postfix_ids=[5]", 2, ["postfix_ids: follows from --postfix"]),
    (
        "inspect --estimator Refined --estimator.estimator AnswerLikelihood --estimator.estimator.closing_ids [5]",
        2,
        ["--estimator.estimator.closing_ids: follows from --closing"],
    ),
    ("T --sampler.temperature 0", 1, ["sampler.temperature: got 0.0", "positive"]),
    ("T --prompts_per_step 1000", 1, ["prompts_per_step: got 1000", "number of problems"]),
    ("T --eval_problems 1000", 1, ["eval_problems: got 1000"]),
    ("eval --problems 1000000 --limit 10", 1, ["iapo eval: problems: got 1000000", "want at most the 10"]),
    ("eval --problems 2 --samples 3 --ks [1,4]", 1, ["ks: got [4]", "number of samples, 3"]),
    ("inspect --index 99999", 1, ["index: got 99999", "want 0 to"]),
    ("inspect --answer reference --prompt 1+1=", 1, ["answer: 'reference'", "--prompt has no reference"]),
    ("T --answer reference", 1, ["answer: got 'reference'", "LeaveOut asks for no answer", "AnswerLikelihood"]),
    (
        "T --answer reference --assigner GroupRelative",
        1,
        ["answer: got 'reference'", "GroupRelative reads no information"],
    ),
    ("inspect --answer reference --estimator NextTokenEntropy", 1, ["NextTokenEntropy asks for no answer"]),
    (
        "inspect --answer reference --estimator EarlyExitEntropy",
        1,
        ["EarlyExitEntropy measures how sure an answer is, whichever it is", "AnswerLikelihood"],
    ),
    (
        "inspect --prompt 1+1= --sampler.max_new_tokens 252",  # with the prompt 256, before the answer is asked for
        1,
        ["row 0 (--prompt) has 4 tokens", "256 positions", "lower --sampler.max_new_tokens"],
    ),
    ('inspect --prompt ""', 1, ["--prompt", "is empty"]),
    ("eval --correct_above .nan", 2, ["eval: correct_above: got .nan, want a finite number;"]),
    ("eval --budgets 8", 2, ["eval: budgets: got 8, want auto or a list, as in '[1, 2]', each a whole number ≥0;"]),
    ('eval --precision ""', 2, ["eval: precision: got an empty text, want one of auto, bf16, fp32;"]),
    # components
    ("T --estimator 5", 2, ["train: estimator: got 5, want an object of MIEstimator (its import path"]),
    ("T --sampler [1]", 2, ["train: sampler: got [1], want an object of Sampler"]),
    ("T --task 1.5", 2, ["train: task: got 1.5, want an object of Task (its import path, or my_file.py:Name) or null"]),
    ("T --config outcome.yaml", 2, ["train: assigner.outcome: got 5, want an object of AdvantageAssigner"]),
    ("T --config number.yaml", 2, ["train: assigner: got {'class_path': 5}, want an object of AdvantageAssigner"]),
    ("T --assigner.help GroupRelativ", 2, ["assigner.help: no assigner is called 'GroupRelativ'", "GroupRelative?"]),
    ("T --lora 8", 2, ["train: lora: got 8, want its parameters one by one, as --lora.NAME VALUE"]),
    ("T --assigner GroupRelativ", 2, ["assigner", "'GroupRelativ'", "did you mean GroupRelative?"]),
    ("T --assigner LeaveOut", 2, ["assigner", "LeaveOutPriced"]),
    ("T --estimator EarlyExit", 2, ["estimator", "did you mean EarlyExitEntropy?"]),
    ("T --loss torch.nn.MSELoss", 2, ["MSELoss is no loss", "ClippedPolicyLoss"]),
    ("T --sampler Compacting", 2, ["sampler", "CompactingSampler"]),
    ("T --optimizer torch.optim.Adamm", 2, ["optimizer", "'Adamm'", "Adam"]),
    ("T --optimizer.lr fast", 2, ["optimizer.lr: got fast", "want a number"]),
    ("T --assigner.alpha nan", 2, ["assigner.alpha: got nan", "want a number or"]),
    ("T --assigner GroupRelative --assigner.scale foo", 2, ["assigner.scale: got foo", "std, none"]),
    (
        "T --assigner LengthShaped --assigner.shaping KimiLength --assigner.shaping.weight x",
        2,
        ["shaping.weight: got x"],
    ),
    ("T --loss.clip_low nan", 2, ["train: loss.clip_low: got nan, want a number"]),
    ("T --sampler.max_new_tokens many", 2, ["train: sampler.max_new_tokens: got many, want a whole number"]),
    ("T --estimator.chunk 0.5", 2, ["estimator.chunk: got 0.5, want a whole number or null"]),
    ("T --optimizer.betas x", 2, ["train: optimizer.betas: got x, want a list"]),
    ("T --seed 1180591620717411303424", 2, ["seed", "got 1180591620717411303424", "number ≥-2^63"]),
    ("T --assigner.alph 3", 2, ["has no parameter 'alph'"]),
    (
        "T --assigner.outcome.scal std",
        2,
        ["train: assigner.outcome: iapo.", "GroupRelative has no parameter 'scal'", "scale?"],
    ),
    (
        "T --estimator.boundaries.stps 3",
        2,
        ["train: estimator.boundaries: iapo.estimators.TextBoundaries has no param"],
    ),
    (
        "T --assigner.outcome Nonsense",
        2,
        ["train: assigner.outcome: no AdvantageAssigner is called 'Nonsense'; there are"],
    ),
    (
        "T --rewards '{own: {class_path: iapo.rewards.WithinLength}}'",
        2,
        ["rewards.WithinLength has no default for max_length, want 'init_args: {max_length: VALUE}'"],
    ),
    (
        "inspect --estimator LeaveOut",
        2,
        ["has no default for boundaries, want --estimator.boundaries VALUE (ClassBoundaries, "],
    ),
    ("T --assigner.outcome nothing.Outcome", 2, ["train: assigner.outcome: there is no module 'nothing'"]),
    (
        "T --assigner.outcome GFPO",
        2,
        [
            "train: assigner.outcome: iapo.advantages.GFPO has no default for keep, want ",
            "want --assigner.outcome.keep VALUE",
        ],
    ),
    (
        "T --estimator Refined --estimator.estimator LeaveOut",
        2,
        ["train: estimator.estimator: LeaveOut is no PrefixEstimator; there are AnswerEntropy, AnswerLikelihood,"],
    ),
    ("T --sampler.max_new_token 3", 2, ["no parameter 'max_new_token'", "did you mean max_new_tokens?"]),
    ("T --optimizer.lr -1", 1, ["optimizer.lr: got -1.0", "at least 0"]),
    ("T --optimizer.weight_decay -0.5", 1, ["optimizer.weight_decay: got -0.5", "at least 0"]),
    ("T --optimizer.betas [1.5,0.9]", 1, ["optimizer.betas: got 1.5", "0 up to below 1"]),
    ("T --optimizer.eps -1", 1, ["optimizer.eps: got -1", "at least 0"]),
    ("T --optimizer torch.optim.Adafactor --optimizer.lr -2", 1, ["optimizer.lr: got -2", "at least 0"]),
    ("T --estimator iapo.Refined", 2, ["no estimator is called 'iapo.Refined'; did you mean Refined?"]),
    ("T --task Nope", 2, ["no task is called 'Nope'", "EmbeddedTask", "my_file.py:Name"]),
    ("T --lora.r -1", 1, ["lora.r: got -1"]),
    ("T --lora.r 2 --lora.target_modules [nope]", 1, ["lora.target_modules", "nope"]),
    ('T --estimator EarlyExitEntropy --postfix ""', 1, ["postfix"]),
    ("T --estimator EarlyExitEntropy --assigner LeaveOutPriced --sampler.temperature -1", 1, ["temperature"]),
    # configuration files
    ("T --config nope.yaml", 2, ["config: file does not exist", "nope.yaml", "iapo://NAME"]),
    ("T --config list.yaml", 2, ["config: want a mapping of settings"]),
    ("T --config bad.yaml", 2, ["config: the file is no YAML", "line 1"]),
    ("T --config twice.yaml", 2, ["config: ", "the key 'steps' is there twice, want it once", "line 3"]),
    ("compare twice.yaml", 1, ["comparison: twice.yaml", "the key 'steps' is there twice", "line 3"]),
    ("T --rewards '{a: mine.py:fine, a: mine.py:half}'", 2, ["rewards: got", "a: mine.py:half", "by name"]),
    ("T --config typo.yaml", 2, ["config: stepps is no setting", "did you mean steps"]),
    ("T --config null.yaml", 2, ["train: device: got null, want a text;"]),
    ("T --config lora.yaml", 2, ["train: lora: got 8, want a mapping of its parameters;"]),
    ("T --config rank.yaml", 2, ["train: lora.r: got null, want a whole number;"]),
    ("T --config nested.yaml", 2, ["no parameter 'scal'", "did you mean scale?"]),
    (
        "T --config linked.yaml",
        2,
        ["iapo train: estimator.temperature: follows from --sampler.temperature", "leave it"],
    ),
    ("compare linked_plan.yaml", 1, ["methods.a", "--estimator.temperature: follows from --sampler.temperature"]),
    ("compare linked_whole.yaml", 1, ["methods.a", "estimator.postfix_ids: follows from --postfix"]),
    ("inspect --config linked_inside.yaml", 2, ["estimator.estimator.closing_ids: follows from --closing"]),
    ("T --config iapo://gfop", 2, ["no iapo://gfop", "did you mean iapo://gfpo"]),
    ("compare iapo://compare/embeded", 2, ["no iapo://compare/embeded", "iapo://compare/embedded"]),
    ("compare nope.yaml", 1, ["comparison: no file nope.yaml"]),
    ("compare list.yaml", 1, ["comparison", "list"]),
    ("compare typo.yaml", 1, ["comparison.stepps: unknown key", "methods"]),
    # models and devices
    ("T --device gpu", 1, ["device: got 'gpu'", "auto, cpu, cuda"]),
    ("T --device cuda:99", 1, ["device: got 'cuda:99'", "CUDA device"]),
    ("T --model embeded", 2, ["model: no directory embeded", "did you mean embedded?"]),
    ("T --model ./nope", 2, ["model: no directory ./nope"]),
    ("T --model nope.gguf", 2, ["model: no file nope.gguf"]),
    ("T --model empty", 2, ["model: empty cannot be loaded", "config.json"]),
    ("T --model noweights", 1, ["model: noweights cannot be loaded", "no weights"]),
    ("T --model kept", 2, ["model: kept cannot be loaded", "folder of a run; name kept/checkpoint-12"]),
    ("T --model notokenizer", 2, ["model: notokenizer cannot be loaded", "no tokenizer"]),
    ("T --model some/model", 2, ["model: some/model cannot be loaded", "hub cannot be reached"]),
    ("T --model empty.jsonl", 2, ["model: empty.jsonl cannot be loaded", "is a file", "want a complete folder"]),
    ("T --model begun", 2, ["model: begun cannot be loaded", "folder of a run that has no checkpoint yet"]),
    ("eval --models [embedded,./nope] --limit 24 --problems 4 --samples 1", 1, ["model: no directory ./nope"]),
    ("eval --models [./nope]", 1, ["model: no directory ./nope"]),
    # data
    ("T --data nope.jsonl", 1, ["data: no file nope.jsonl"]),
    ("T --data empty.jsonl", 1, ["data: empty.jsonl has no rows"]),
    ("T --data broken.jsonl", 1, ["data: line 2 of broken.jsonl is no JSON"]),
    ("T --data empty", 1, ["data: the folder empty cannot be loaded", "want a file (.jsonl"]),
    ("T --data some/data", 1, ["data: some/data is no file or folder here", "hub cannot be reached"]),
    ("T --data reasoning-gym:chain_sums", 1, ["no task 'chain_sums'", "did you mean reasoning-gym:chain_sum"]),
    ("T --data reasoning-gym:", 1, ["no task ''", "such as reasoning-gym:"]),
    ("T --data mine.py", 2, ["data: the ending of mine.py", ".jsonl"]),
    ("T --data numbers.jsonl", 1, ["data: the prompt of row 0", "want a text"]),
    ("T --data noanswer.jsonl", 1, ["reward 'accuracy' needs the columns ['answer']"]),
    ("T --data sums.jsonl --prompt_column problem", 1, ["no column ['problem']", "prompt"]),
    ("T --data sums.jsonl --answer_column solution", 1, ["no column ['solution']", "answer"]),
    ("T --prompt_template solve", 1, ["prompt_template: got 'solve'", "{prompt}"]),
    # rewards
    ("T --rewards no_such_module.f", 2, ["rewards: there is no module 'no_such_module'", "PYTHONPATH", "my_file.py:N"]),
    ("T --task no_such_module.T", 2, ["task: there is no module 'no_such_module'", "PYTHONPATH"]),
    ("T --sampler no_such_module.T", 2, ["sampler: there is no module 'no_such_module'"]),
    ("T --estimator no_such_module.T", 2, ["estimator: there is no module 'no_such_module'"]),
    ("T --assigner GFPO", 2, ["assigner: iapo.advantages.GFPO has no default for keep, want --assigner.keep VALUE"]),
    ("T --rewards MathAnser", 2, ["rewards", "did you mean MathAnswer"]),
    ("T --rewards 3", 2, ["rewards: got 3", "want functions by name"]),
    ("T --rewards nope.py:f", 2, ["nope.py:f: no file"]),
    ("T --rewards mine.py:nothing", 2, ["mine.py has no 'nothing'", "raises"]),
    ("T --rewards mine.py:Other", 2, ["rewards: ", "mine.py:Other is a class without __call__, want a function, or"]),
    ("T --rewards mine.py:LIMIT", 2, ["rewards: ", "mine.py:LIMIT is no function and no class"]),
    ("T --rewards '{a: MathAnswer, a: MathAnswer}'", 2, ["rewards: got {a: ", "the key 'a' is there twice"]),
    ("T --rewards '{a: MathAnswer b: MathAnswer}'", 2, ["rewards: got {a: ", "(expected ',' or '}', but got ':')"]),
    ("T --rewards '{a: MathAnswer'", 2, ["rewards: got {a: MathAnswer (expected ',' or '}', but got"]),
    ("T --rewards syntax.py:f", 2, ["syntax.py, line 1: SyntaxError"]),
    ("T --rewards exits.py:f", 2, ["exits.py, line 2: SystemExit: 3"]),
    ("T --rewards zeros_in.py:f", 2, ["zeros_in.py: SyntaxError", "null bytes"]),
    ("T --rewards untyped.py:Reward", 2, ["rewards: the parameter 'scale' of", "untyped.py:Reward", "scale: float"]),
    (
        "T --assigner untyped.py:Assigner",
        2,
        ["assigner: ", "untyped.py:Assigner is abstract, want one that has assign"],
    ),
    ("T --assigner untyped.py:Fixed", 2, ["train: assigner: Fixed is no assigner, want a subclass of Advantage"]),
    ("T --estimator own.py:Shaped", 2, ["train: estimator: Shaped is no estimator, want a subclass of MIEstimator"]),
    ("T --loss untyped.py:Assigner", 2, ["train: loss: Assigner is no loss, want a subclass of PolicyLoss"]),
    ("T --loss untyped.py:nothing", 2, ["train: loss: nothing is no loss, want a subclass of PolicyLoss"]),
    ("T --assigner own.py:Shaped --assigner.price 2", 2, ["own.py:Shaped has no parameter 'price'; it takes none"]),
    ("T --loss untyped.py:Fixed", 2, ["loss: Fixed is no loss"]),
    ("T --sampler untyped.py:Drawn", 2, ["the parameter 'model' of", "untyped.py:Drawn", "as in model: nn.Module"]),
    ("T --sampler untyped.py:Fixed", 1, ["sampler: cannot be made of a model and a tokenizer", "takes no arguments"]),
    ("T --sampler untyped.py:nothing", 1, ["sampler: what is called with model and tokenizer returned None"]),
    (
        "T --sampler untyped.py:nothing --sampler.max_new_tokens 9",
        2,
        ["sampler: a function takes no parameters from flags, got --sampler.max_new_tokens", "name a class"],
    ),
    (
        "T --optimizer untyped.py:Steps",
        2,
        ["optimizer: ", "untyped.py:Steps is no optimizer of torch", "iapo.PolicyOptimizer", "iapo.Components"],
    ),
    (
        "T --assigner own.py:Priced",
        2,
        ["assigner: ", "own.py:Priced has no default for price, want --assigner.price VALUE"],
    ),
    ("T --assigner own.py:Raises()", 2, ["assigner: got own.py:Raises(), want a class", "my_file.py:Name"]),
    ("T --assigner own.py", 2, ["assigner: got own.py, want a class by its import path, or as my_file.py:Name"]),
    ("T --answer_style own.py:Style", 2, ["answer_style: ", "own.py:Style is abstract, want one that has find"]),
    ("T --optimizer own.py:Steps", 2, ["the parameter 'params' of", "as in params: Any"]),
    (
        "T --loss arguments.py:Loss",
        2,
        ["arguments.py, line 2: TypeError: Loss.compute: takes (self, a, b), want (self"],
    ),
    (
        "T --assigner own.py:Listed --estimator NoInformation",
        1,
        ["AdvantageOutput: advantages: got [ [ 1.0, 1.0, ", " ..., want Float[Tensor, 'batch token']"],
    ),
    ("T --assigner own.py:Made", 1, ["KeyError: 'oh' (own.py, line 8, in __init__)"]),
    (
        "T --assigner own.py:Raises",
        1,
        ["'AdvantageInputs' object has no attribute 'reward'", "own.py, line 11, in assi"],
    ),
    (
        "T --assigner own.py:Shaped",
        1,
        ["TypeCheckError: types.AdvantageOutput: advantages: got f32[4](torch), want Float[Tensor, 'batch token']"],
    ),
    ("T --sampler own.py:Drawn", 1, ["pad_id: got None, want an integer of at least 0", "own.py, line 27, in sample"]),
    ("T --rewards lacking.py:f", 2, ["lacking.py, line 1: ModuleNotFoundError", "no_such_module"]),
    ("T --rewards mine.py:raises", 1, ["reward 'raises' raised KeyError"]),
    ("T --rewards mine.py:half", 1, ["reward 'half': got 1 scores, want a list of"]),
    ("T --rewards mine.py:texts", 1, ["reward 'texts': score at index 0 is 'a'"]),
    # folders and files
    ('T --output ""', 1, ["output: got an empty text"]),
    ("T --output list.yaml", 1, ["output: list.yaml cannot be used", "name another"]),
    ("T --output /proc/none/run", 1, ["output: /proc/none/run cannot be used", "name another"]),
    ("T --output begun", 1, ["output: begun holds a run already", "--resume"]),
    ("T --output evaluated", 1, ["output: evaluated holds a run already", "--resume"]),
    ("T --output kept", 1, ["output: kept holds a run already", "--resume"]),
    ("eval --output /nonexistent/x.json", 1, ["output: cannot write /nonexistent/x.json", "folder that is there"]),
    ("eval --output e.jsonl", 1, ["output: got e.jsonl", "want a name ending in .json"]),
    ("inspect --html /nonexistent/x.html", 1, ["html: cannot write /nonexistent/x.html"]),
    ("inspect --html list.yaml", 1, ["html: list.yaml is there and is no page of iapo inspect", "name another file"]),
    ("show nope", 1, ["run: no folder or file nope"]),
    ("show empty", 1, ["run: empty holds no samples"]),
    ("show list.yaml", 1, ["no samples beside list.yaml"]),
    ("show sampled --right --wrong", 1, ["right: got --right and --wrong"]),
    ("show sampled --step 7", 1, ["step: got 7", "[0]"]),
    ("export nope --output model", 1, ["run: no folder nope"]),
    (
        "export kept/checkpoint-8 --output model",
        1,
        ["run: no folder kept/checkpoint-8; want one of kept: checkpoint-12"],
    ),
    ("export empty --output model", 1, ["run: empty has no checkpoint"]),
    ("T --shard true", 1, ["shard: there is one process", "torchrun"]),
]


def write_desk(folder: Path) -> None:
    """The files that the mistakes are about."""
    sums = rows(generate_problems(40, seed=1))
    texts = {
        "list.yaml": "- a\n- b\n",
        "bad.yaml": "a: [1\n",
        "typo.yaml": "stepps: 3\n",
        "linked.yaml": "estimator: {class_path: iapo.LeaveOut, init_args: {temperature: 2.0}}\n",
        "linked_plan.yaml": "reporting: {seeds: [0]}\n"
        "methods: {a: {config: iapo://leave_out, estimator.temperature: 2.0}}\n",
        "linked_whole.yaml": "reporting: {seeds: [0]}\nmethods:\n  a:\n    config: iapo://iapo\n    estimator:\n"
        "      class_path: iapo.estimators.AnswerLikelihood\n      init_args: {postfix_ids: [5]}\n",
        "linked_inside.yaml": "estimator:\n  class_path: iapo.estimators.Refined\n  init_args:\n    estimator:\n"
        "      class_path: iapo.estimators.AnswerLikelihood\n      init_args: {closing_ids: [5]}\n",
        "null.yaml": "limit: null\ndevice: null\n",
        "lora.yaml": "lora: 8\n",
        "rank.yaml": "lora: {r: null}\n",
        "number.yaml": "assigner: {class_path: 5}\n",
        "outcome.yaml": "assigner: {class_path: LeaveOutPriced, init_args: {outcome: 5}}\n",
        "nested.yaml": "assigner: {class_path: GroupRelative, init_args: {scal: none}}\n",
        "mine.py": "def raises(completions, **_):\n    raise KeyError('oh')\n"
        "def half(completions, **_):\n    return [0.5]\n"
        "def texts(completions, **_):\n    return ['a'] * len(completions)\n"
        "def fine(completions, **_):\n    return [1.0] * len(completions)\n"
        "LIMIT = 3\n"
        "class Other: pass\n",
        "syntax.py": "def f(:\n",
        "twice.yaml": "steps: 1\nbase: {steps: 1, limit: &few 8}\nsteps: 2\n",
        "own.py": "from dataclasses import dataclass\nfrom typing import Any\nimport torch\n"
        "from iapo import AdvantageAssigner, AdvantageOutput, Sampler\n"
        "from iapo.rollout import collate\nfrom iapo.styles import AnswerStyle\n"
        "class Made(AdvantageAssigner):\n"
        "    def __init__(self, price: float = 0.1): raise KeyError('oh')\n"
        "    def assign(self, inputs): pass\n"
        "class Raises(AdvantageAssigner):\n"
        "    def assign(self, inputs): return inputs.reward\n"
        "class Shaped(AdvantageAssigner):\n"
        "    def assign(self, inputs): return AdvantageOutput(inputs.rewards, inputs.completion_mask, {})\n"
        "class Listed(AdvantageAssigner):\n"
        "    def assign(self, inputs):\n"
        "        wide = inputs.completion_mask.float().repeat(1, 9).tolist()\n"
        "        return AdvantageOutput(wide, inputs.completion_mask, {})\n"
        "@dataclass(frozen=True)\nclass Priced(Raises):\n"
        "    price: float\n"
        "class Style(AnswerStyle): pass\n"
        "class Steps(torch.optim.Optimizer):\n"
        "    def __init__(self, params, lr: float = 0.1): pass\n"
        "class Drawn(Sampler):\n"
        "    def __init__(self, model: torch.nn.Module, tokenizer: Any): self.tokenizer = tokenizer\n"
        "    def sample(self, prompts, group_size):\n"
        "        return collate([[4]], [[5]], [0], None, self.tokenizer)\n",
        "arguments.py": "from iapo import PolicyLoss\nclass Loss(PolicyLoss):\n    def compute(self, a, b): pass\n",
        "lacking.py": "import no_such_module\n",
        "exits.py": "import sys\nsys.exit(3)\n",
        "zeros_in.py": "f = None\n\0",
        "untyped.py": "from iapo import AdvantageAssigner, PolicyOptimizer, Sampler\n"
        "class Reward:\n"
        "    def __init__(self, scale): pass\n"
        "    def __call__(self, completions, **_): return [1.0] * len(completions)\n"
        "class Assigner(AdvantageAssigner): pass\n"
        "class Drawn(Sampler):\n"
        "    def __init__(self, model, tokenizer): pass\n"
        "    def sample(self, prompts, group_size): pass\n"
        "class Fixed(Sampler):\n"
        "    def sample(self, prompts, group_size): pass\n"
        "class Steps(PolicyOptimizer):\n"
        "    def accumulate(self, loss, boundary): pass\n"
        "def nothing(model, tokenizer) -> Sampler: pass\n",
        "empty.jsonl": "",
        "broken.jsonl": '{"prompt": "1+1=", "answer": "2"}\n{oops\n',
        "numbers.jsonl": '{"prompt": 3, "answer": "2"}\n' * 40,
        "noanswer.jsonl": "".join(json.dumps({"prompt": row["prompt"]}) + "\n" for row in sums),
        "sums.jsonl": "".join(json.dumps(row) + "\n" for row in sums),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    for name in ("empty", "noweights", "notokenizer", "begun", "sampled", "evaluated", "kept"):
        (folder / name).mkdir()
    (folder / "begun" / "config.json").write_text("{}")
    (folder / "begun" / "metrics.jsonl").write_text("")
    (folder / "evaluated" / "evaluation-0.json").write_text("{}")
    for step in (9, 12):
        (folder / "kept" / f"checkpoint-{step}").mkdir()
    sample = {"problem": 0, "prompt": "1+1=", "completion": "2", "reference": "2", "answer": "2", "rewards": {"a": 1.0}}
    sample |= {"reward": 1.0, "correct": True, "tokens": 1, "finished": True}
    (folder / "sampled" / "evaluation-0.jsonl").write_text(json.dumps(sample) + "\n")
    for path in model_path().iterdir():
        if path.suffix != ".safetensors":
            shutil.copy(path, folder / "noweights")
        if "tokenizer" not in path.name:
            shutil.copy(path, folder / "notokenizer")
