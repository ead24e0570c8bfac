/** Card 2: the model and the settings. */

import type { ModelInfo } from "../../api/types";
import { arrival } from "../arrival";
import { backToBuiltIn, picked, returning } from "../pick";
import { adapterSize, memory } from "../run_size";
import { settings } from "../settings";
import { changing, isFromHub, model } from "../state";
import { bits, bytes, parameters } from "../words";
import { CardFrame } from "./card";
import { Fold } from "./fold";
import { Knobs } from "./knobs";
import { Notices } from "./notices";
import { Picker } from "./picker";
import { SetBack } from "./set_back";
import { Stored } from "./stored";

export function ModelCard() {
  return (
    <CardFrame card="model" number={2} title="The model" waiting={<Waiting />} done={<DoneLine />} always={<SetBack />}>
      {model.value.state === "ready" && <About />}
    </CardFrame>
  );
}

function Waiting() {
  const now = model.value;
  if (now.state === "absent") return <>A small story model comes with the page. It cannot learn here.</>;
  return <>The built-in story model is being loaded: {arrival}.</>;
}

function DoneLine() {
  if (model.value.state !== "ready") return null;
  const { info } = model.value;
  return (
    <>
      {info.name}, {parameters(info.parameters)} parameters, {whereItRuns(info.device)}
      {settings.value?.method === "full"
        ? `; ${parameters(model.value.fullSize)} parameters learn`
        : adapterSize.value !== null && `; adapter ${parameters(adapterSize.value)}`}
    </>
  );
}

function About() {
  if (model.value.state !== "ready") return null;
  const { info, builtIn } = model.value;
  return (
    <>
      <p>
        <strong>{info.name}</strong>: {parameters(info.parameters)} parameters in {info.layers} layers.{" "}
        {builtIn ? <Story /> : <Origin />}
      </p>
      <Notices notices={info.warnings} />
      <WhatLearns />
      <p class="quiet">
        {bytes(info.weightBytes)} of weights{bitsOf(info)}, running {whereItRuns(info.device)}.
        {memory.value !== null && ` A run with these settings takes about ${bytes(memory.value.total)} of memory.`}
      </p>
      <Fold title="Advanced">
        <Stored />
        <Knobs />
      </Fold>
      {!builtIn && (
        <button type="button" disabled={returning.value} onClick={backToBuiltIn}>
          Back to the built-in model
        </button>
      )}
      <Fold title="Use another model" opens={picked.value !== null}>
        <Picker />
      </Fold>
      <button
        type="button"
        onClick={() => {
          changing.value = null;
        }}
      >
        Close
      </button>
    </>
  );
}

function WhatLearns() {
  if (settings.value?.method === "full")
    return (
      <p>
        The layers of the model themselves learn (full fine-tuning). Only its tables of words (embedding and head), its
        norms and its biases stay as they are. What you keep is a whole model.
      </p>
    );
  return (
    <p>
      The model itself does not change. What learns is an <em>adapter</em>: a few small matrices beside each layer
      (LoRA, low-rank adaptation), which are yours to keep.
    </p>
  );
}

function bitsOf({ weights }: ModelInfo): string {
  return weights === "auto" ? "" : ` in ${bits(weights)} bits`;
}

function whereItRuns({ kind, software, name, workers }: ModelInfo["device"]): string {
  if (kind === "cpu") return `on your processor${workers > 1 ? `, in ${workers} workers` : ""}`;
  return software ? "in software that stands in for a graphics card" : `on ${name || "your graphics card"}`;
}

function Origin() {
  return <>It comes from {isFromHub.value ? "the Hugging Face Hub" : "your own disk"}.</>;
}

function Story() {
  return (
    <>
      It learnt the English of children's stories, old and new, and nothing else: paragraphs hold together, plots often
      do not.{" "}
      <a href="./base/README.md" target="_blank" rel="noopener">
        How it was made
      </a>
    </>
  );
}
