/** Owns the wasm and the graphics card. Answers one call at a time, except for wishes (`stop`, `pause`), which overtake. */

import { plainError } from "../api/errors";
import { blobSource, bytesOf, type ModelFiles } from "../api/weights";
import type { Engine, EngineFiles, Program } from "./engine";
import type { Calls, FromWorker, Note, Request, TextDocument, ToWorker, Wish } from "./protocol";
import { train } from "./training";
import * as wasm from "./wasm/tabtune.js";

const program = wasm as unknown as Program;
let engine: Engine | undefined;
let last: Promise<void> = Promise.resolve();

/** From the request to train until the run begins, which other calls may hold up: the last wish made meanwhile. */
let queued: { wish?: Wish } | undefined;

self.onmessage = ({ data }: MessageEvent<ToWorker>) => {
  if (data.call === "stop" || data.call === "pause") {
    if (queued) queued.wish = data;
    else grant(data);
    return;
  }
  if (data.call === "train") queued = {};
  last = last.then(() => answer(data));
};

function grant(wish: Wish) {
  if (wish.call === "stop") engine?.stop(wish.keep);
  else engine?.pause(wish.paused);
}

/** The engine has begun to train, or never will: it hears what was wished while it had not. */
function begun() {
  const wish = queued?.wish;
  queued = undefined;
  if (wish) grant(wish);
}

// A trap leaves the engine's promise open for ever: it surfaces here, or as a rejection nobody waits for.
self.addEventListener("error", (event) => die(event.message));
self.addEventListener("unhandledrejection", (event) => die(String(event.reason)));

async function answer(request: Request): Promise<void> {
  const { id } = request;
  try {
    const value = await perform(request, (note) => post({ type: "note", id, note }));
    post({ type: "answer", id, value });
  } catch (error) {
    if (error instanceof WebAssembly.RuntimeError) die(error.message);
    else post({ type: "failure", id, error: plainError(error) });
  }
}

async function perform(request: Request, tell: (note: Note) => void): Promise<unknown> {
  if (request.call === "load") return load(request.input, tell);
  if (!engine) throw new Error("the model is not loaded");
  switch (request.call) {
    case "dataset":
      return engine.dataset(await readAll(request.input.documents), request.input.settings);
    case "probe":
      return engine.probe(request.input);
    case "train":
      return train(engine, request.input, tell, begun).finally(begun);
    case "generate":
      return engine.generate(request.input, (text) => tell({ type: "piece", text }));
    case "adapter":
      return engine.adapter();
    case "setAdapter":
      return engine.setAdapter(request.input.config, request.input.weights);
    case "logits":
      return engine.logits(Uint32Array.from(request.input));
    case "stats":
      return engine.stats();
  }
}

async function load({ program: module, files }: Calls["load"]["input"], tell: (note: Note) => void) {
  await program.default({ module_or_path: module });
  engine = await program.Engine.create(await engineFiles(files), (event) => tell({ type: "event", event }));
  return { info: engine.info(), defaults: engine.defaults() };
}

/** The small files are read here; of the weights, only the ranges that the engine asks for. */
async function engineFiles({ name, config, tokenizer, weights, ...others }: ModelFiles): Promise<EngineFiles> {
  const optional = Object.entries(others).map(async ([key, blob]) => [key, await bytesOf(blob)] as const);
  return {
    name,
    config: await bytesOf(config),
    tokenizer: await bytesOf(tokenizer),
    weights: blobSource(weights),
    ...Object.fromEntries(await Promise.all(optional)),
  };
}

function readAll(documents: TextDocument[]) {
  return Promise.all(documents.map(async ({ name, content }) => ({ name, bytes: await bytesOf(content) })));
}

function die(message: string) {
  post({ type: "dead", message });
}

function post(message: FromWorker) {
  self.postMessage(message);
}
