/**
 * One training step by this engine and by its peers, in one run: natively, and in headless Chromium. A row counts only
 * if the losses are PyTorch's; of this engine the trained matrices are compared too.
 *
 *   node bench.mjs JOB_DIR --python PYTHON --tabtune TABTUNE [--only NAME[,NAME]]
 *
 * JOB_DIR is what `reference.py make` wrote.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { runInBrowser, serve } from "./browser.mjs";
import { runProgram } from "./native.mjs";
import { tensorsOf } from "./tensors.mjs";

const LOSS_WITHIN = 1e-3;
/**
 * How far a trained matrix may be from PyTorch's, as a part of the way that it went. The first steps of AdamW go by the
 * sign of a gradient, so a number whose gradient is almost zero may go the other way; a wrong gradient is off by 1.
 */
const MATRIX_WITHIN = 0.1;
/** The shaders on a software adapter take ten seconds a step. */
const GPU_STEPS = 4;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { python: { type: "string" }, tabtune: { type: "string" }, only: { type: "string" } },
});
const [folder] = positionals;
const job = JSON.parse(readFileSync(join(folder, "job.json"), "utf8"));
const tokens = job.batch * job.seqLen;
const bytesOf = (adapter) => new Uint8Array(readFileSync(join(adapter, "adapter_model.safetensors")));
const adapterOf = (name) => new Map(tensorsOf(bytesOf(join(folder, name))));

const pytorch = () =>
  runProgram(options.python, [fileURLToPath(new URL("reference.py", import.meta.url)), "run", folder]);

/** The rows of the table, in the order in which they are measured. */
const engines = {
  "tabtune-native": native,
  "tabtune-cpu": (site) => runInBrowser(site.address, "tabtune", { device: "cpu", steps: job.steps }, "products"),
  "jaxjs-wasm": (site) => runInBrowser(site.address, "jaxjs", { steps: job.steps }),
  "tfjs-wasm": (site) => runInBrowser(site.address, "tfjs", { steps: job.steps }),
  "tabtune-gpu": (site) => runInBrowser(site.address, "tabtune", { device: "gpu", steps: GPU_STEPS }),
};

async function native() {
  const [out, log] = [join(folder, "native"), join(folder, "native.jsonl")];
  const files = { model: "model", init: "adapter", data: "text.txt" };
  const settings = { batch: job.batch, "seq-len": job.seqLen, steps: job.steps, lr: job.lr };
  const recipe = { "weight-decay": job.weightDecay, schedule: "constant", warmup: 0, clip: 0, holdout: 0 };
  const flags = { device: "cpu", threads: 1, out, log, ...settings, ...recipe };
  for (const [flag, name] of Object.entries(files)) flags[flag] = join(folder, name);
  const args = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, String(value)]);
  const run = await runProgram(options.tabtune, ["train", "--no-shuffle", ...args], log);
  return { ...run, adapter: bytesOf(out) };
}

/** The furthest relative difference of a loss. */
function lossOff({ losses }, reference) {
  return Math.max(...losses.map((loss, step) => Math.abs(loss / reference.losses[step] - 1)));
}

/** Of the trained matrices the one that is furthest from PyTorch's, by the way that PyTorch's went. */
function matrixOff(adapter) {
  const [begun, trained] = [adapterOf("adapter"), adapterOf("trained")];
  const length = (a, b) => Math.hypot(...a.map((value, i) => value - b[i]));
  const found = tensorsOf(adapter);
  if (found.length !== trained.size) throw new Error(`${found.length} trained matrices, not ${trained.size}`);
  return Math.max(
    ...found.map(([name, { data }]) => {
      const goal = trained.get(name).data;
      return length(data, goal) / length(goal, begun.get(name).data);
    }),
  );
}

const columns = (...cells) => console.log(cells.map((cell, i) => String(cell).padEnd(i ? 14 : 26)).join(""));
const row = (name, { cpu, wall }, ...rest) =>
  columns(name, (tokens / cpu).toFixed(0), cpu.toFixed(3), wall.toFixed(3), ...rest);

columns("engine", "tok/CPU-s", "CPU-s a step", "s a step", "loss off", "matrix off");
const reference = await pytorch();
row("PyTorch + PEFT, 1 thread", reference);
const wanted = options.only?.split(",") ?? Object.keys(engines);
const site = wanted.some((name) => name !== "tabtune-native") && (await serve(folder));
let failed = false;
for (const name of wanted) {
  const run = await engines[name](site);
  const loss = lossOff(run, reference);
  const whole = run.adapter && run.losses.length === job.steps;
  const matrix = whole ? matrixOff(run.adapter) : undefined;
  const good = loss <= LOSS_WITHIN && !(matrix > MATRIX_WITHIN);
  failed ||= !good;
  row(name, run, loss.toExponential(1), matrix?.toExponential(1) ?? "-", good ? "" : "WRONG");
  if (run.also) products(run);
}
if (site) site.close();
process.exitCode = failed ? 1 : 0;

/** The rate of the step beside that of its products alone, which leave out those of attention. */
function products({ cpu, also }) {
  const { hidden_size, num_hidden_layers } = JSON.parse(readFileSync(join(folder, "model/config.json"), "utf8"));
  // Seven causal products of a head: two forward, five backward.
  const attention = (7 * 2 * tokens * job.seqLen * hidden_size * num_hidden_layers) / 2;
  const alone = also.operations / also.cpu;
  const step = (also.operations + attention) / cpu;
  columns("  its products alone", `${(alone / 1e9).toFixed(1)} GFLOP a CPU-second, ${also.cpu.toFixed(3)} CPU-s`);
  columns(
    "  the step",
    `${(step / 1e9).toFixed(1)} GFLOP a CPU-second, ${((100 * step) / alone).toFixed(0)} % of that`,
  );
}
