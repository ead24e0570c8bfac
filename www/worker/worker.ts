/** Owns the wasm and the device. Serves one call after the other, except for what is quick, and wishes. */

import { LoraError, plainError } from "../api/errors";
import { writeKept } from "../api/kept_store";
import type { Call, Calls, FromWorker, Note, Request, ToWorker, Wish } from "../api/protocol";
import type { Event, Settings, TextDocument } from "../api/types";
import { blobSource, bytesOf, type ModelFiles, weightSource } from "../api/weights";
import { help, helperBehind } from "./helping";
import { engineMerge, pieces } from "./outgoing";
import type { Dataset, Engine, EngineFiles, Kept, Program } from "./program";
import { train, whole } from "./training";
import { keepTuned, recallTuned } from "./tuned";
import * as wasm from "./wasm/tabtune.js";

const program = wasm as unknown as Program;
let engine: Engine | undefined;
/** The model that is loaded: full fine-tuning and merging read it again. */
let model: ModelFiles | undefined;
const datasets = new Map<number, Dataset>();
/** Files that are being merged, by the ids that their readers gave them. */
const merging = new Map<number, AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined>>();
let last: Promise<void> = Promise.resolve();
/** Calls that need no graphics card need not wait for those that do. */
const quick = new Set<Call>([
  "adapterSize",
  "memory",
  "foresee",
  "dataset",
  "columnNames",
  "keep",
  "exportAdapter",
  "merged",
  "openMerged",
  "readMerged",
  "closeMerged",
]);

/** The last wish made between the request to train and the start of the run, which other calls may delay. */
let queued: { wish?: Wish } | undefined;
/** The measurement that was asked for, until it is over. */
let measurement: { begun: boolean; unwanted: boolean } | undefined;

self.onmessage = ({ data }: MessageEvent<ToWorker>) => {
  // Of a run that has not begun, there is nothing to save.
  if (data.call === "save") {
    if (!queued) engine?.save();
    return;
  }
  if (data.call === "stopProfile") {
    if (measurement?.begun) engine?.stop(false);
    else if (measurement) measurement.unwanted = true;
    return;
  }
  if (data.call === "stop" || data.call === "pause") {
    if (queued) queued.wish = data;
    else grant(data);
    return;
  }
  if (data.call === "train") queued = {};
  if (data.call === "profile") measurement = { begun: false, unwanted: false };
  if (engine && quick.has(data.call)) serve(data);
  else last = last.then(() => serve(data));
};

function grant(wish: Wish) {
  if (wish.call === "stop") engine?.stop(wish.keep);
  else engine?.pause(wish.paused);
}

/** The engine has begun to train, or never will: now it gets the wish made in the meantime. */
function begun() {
  const wish = queued?.wish;
  queued = undefined;
  if (wish) grant(wish);
}

// A trap leaves the engine's promise pending forever: it surfaces here, or as a rejection that nobody awaits.
self.addEventListener("error", (event) => die(event.message));
self.addEventListener("unhandledrejection", (event) => die(String(event.reason)));

async function serve(request: Request): Promise<void> {
  const { id } = request;
  try {
    const value = await perform(request, (note) => post({ type: "note", id, note }));
    post({ type: "result", id, value });
  } catch (error) {
    if (error instanceof WebAssembly.RuntimeError) die(error.message);
    else post({ type: "failure", id, error: plainError(error) });
  }
}

async function perform(request: Request, tell: (note: Note) => void): Promise<unknown> {
  if (request.call === "load") return load(request.input, tell);
  if (request.call === "assist") return assist(request.input);
  if (!engine) throw new Error("the model is not loaded");
  switch (request.call) {
    case "lead":
      engine.setHelpers(request.input.map(helperBehind));
      return engine.info();
    case "dataset":
      return make(engine, request.input);
    case "columnNames":
      return program.columnNames(request.input.name, await bytesOf(request.input.content));
    case "release":
      return release(request.input);
    case "probe":
      return timed(engine, engine.probe(held(request.input.dataset), request.input.settings));
    case "profile":
      return measured(engine, request.input);
    case "train":
      return begin(engine, request.input, tell).finally(begun);
    case "generate":
      return engine.generate(request.input, (text) => tell({ type: "piece", text }));
    case "evaluate":
      return engine.evaluate(held(request.input.dataset), request.input.options);
    case "adapter":
      return complete(engine.adapter());
    case "setAdapter":
      return engine.setAdapter(request.input.config, request.input.weights);
    case "keep":
      return writeKept(request.input);
    case "exportAdapter":
      return engine.exportAdapter(request.input.config, request.input.weights, request.input.format);
    case "merged":
      return engine.mergedFiles(await engineFiles(loaded()), await engineMerge(request.input));
    case "openMerged": {
      const { id, merge, name } = request.input;
      merging.set(id, pieces(engine, await engineFiles(loaded()), merge, name));
      return;
    }
    case "readMerged":
      return (await merging.get(request.input)?.next())?.value ?? null;
    case "closeMerged":
      await merging.get(request.input)?.return();
      merging.delete(request.input);
      return;
    case "setCheckpoint":
      return engine.setCheckpoint(request.input);
    case "notedBase":
      return engine.notedBase(request.input.config, request.input.weights);
    case "foresee": {
      const { files, weights, settings } = request.input;
      return engine.foresee(await engineFiles(files), weights, settings);
    }
    case "adapterSize":
      return engine.adapterSize(request.input.rank, request.input.targets);
    case "memory":
      return engine.memory(request.input);
    case "logits":
      return engine.logits(Uint32Array.from(request.input));
    case "stats":
      return engine.stats();
  }
}

async function make(engine: Engine, { id, documents, settings }: Calls["dataset"]["input"]) {
  const dataset = engine.dataset(await readAll(documents), settings);
  datasets.set(id, dataset);
  return dataset.summary();
}

function held(id: number): Dataset {
  const dataset = datasets.get(id);
  if (dataset) return dataset;
  throw new LoraError(
    "dataset",
    "the dataset cannot be used: it was released, or another session made it",
    "Make the dataset again from the text.",
  );
}

function release(id: number) {
  held(id).free();
  datasets.delete(id);
}

/** Null if it was stopped. */
async function measured(engine: Engine, settings: Settings) {
  const own = measurement;
  try {
    if (!own || own.unwanted) return null;
    own.begun = true;
    return await timed(engine, engine.profile(settings));
  } finally {
    if (own === measurement) measurement = undefined;
  }
}

/** What runs the plans of a run may measure what is fastest for them. */
function timed<T>(engine: Engine, work: Promise<T>): Promise<T> {
  return work.finally(() => keepTuned(engine));
}

async function begin(engine: Engine, training: Calls["train"]["input"], tell: (note: Note) => void) {
  const others = training.settings.method === "full" ? await companions() : {};
  return train(engine, held(training.dataset), training, tell, begun, others);
}

async function complete(kept: Kept) {
  return whole(kept, kept.method === "full" ? await companions() : {});
}

async function companions(): Promise<Record<string, string>> {
  return program.companions(await engineFiles(loaded()));
}

function loaded(): ModelFiles {
  if (!model) throw new Error("the model is not loaded");
  return model;
}

async function load({ program: module, files, device, weights }: Calls["load"]["input"], tell: (note: Note) => void) {
  await program.default({ module_or_path: module });
  const onEvent = (event: Event) => tell({ type: "event", event });
  engine = await program.Engine.create(await engineFiles(files), onEvent, device, weights);
  await recallTuned(engine);
  model = files;
  return {
    info: engine.info(),
    defaults: engine.defaults(),
    fullDefaults: engine.fullDefaults(),
    fullSize: engine.fullSize(),
    limits: engine.limits(),
  };
}

async function assist({ program: module, files, stored, port }: Calls["assist"]["input"]) {
  await program.default({ module_or_path: module });
  const assistant = await program.Assistant.create(await engineFiles(files), stored);
  help(assistant, port, (error) => die(error.message));
}

/** Reads the small files whole and, of the weights, only the ranges that the engine asks for. */
async function engineFiles(files: ModelFiles): Promise<EngineFiles> {
  if ("gguf" in files) return { name: files.name, gguf: blobSource(files.gguf) };
  const { name, config, tokenizer, weights, ...others } = files;
  const optional = Object.entries(others).map(async ([key, blob]) => [key, await bytesOf(blob)] as const);
  return {
    name,
    config: await bytesOf(config),
    tokenizer: await bytesOf(tokenizer),
    weights: weightSource(weights),
    ...Object.fromEntries(await Promise.all(optional)),
  };
}

function readAll(documents: TextDocument[]) {
  return Promise.all(documents.map(async ({ content, ...rest }) => ({ ...rest, bytes: await bytesOf(content) })));
}

function die(message: string) {
  post({ type: "dead", message });
}

function post(message: FromWorker) {
  self.postMessage(message);
}

post({ type: "started" });
