/** The model with the adapter merged into it, as a download: in which form, how large, and how far it is. */

import { useEffect } from "preact/hooks";
import type { MergedFormat, MergedType } from "../../api/types";
import { strength } from "../compare";
import { ahead, downloadMerged, form, giveUp, look, refusal, told, writing } from "../merging";
import { adapter, model } from "../state";
import { bytes, megabytes, percent, sentence } from "../words";
import { Notices } from "./notices";
import { Quoted } from "./quoted";

const FORMS: { value: MergedFormat; label: string }[] = [
  { value: "safetensors", label: "Python and MLX: a checkpoint, zipped" },
  { value: "gguf", label: "llama.cpp: one GGUF file" },
];
const AS_THEY_ARE = { value: "", label: "the bits that the model's files have" };
const BITS = [
  { value: "f16", label: "16 bits" },
  { value: "f32", label: "32 bits" },
];
const EIGHT = { value: "q8_0", label: "8 bits: half the size, a little less exact" };

export function Merged() {
  useEffect(() => {
    look();
  }, [form.value, adapter.value, model.value]);
  const isGguf = form.value.format === "gguf";
  return (
    <>
      <h3>The model with your adapter in it</h3>
      <p>
        A program that knows nothing of adapters runs this one, which needs nothing beside it. The adapter is added to
        the numbers of the model's own files, at the strength of {percent(strength.value)} that is set above, and each
        sum is rounded once.
      </p>
      <div class="knobs">
        <div class="knob">
          <label for="merged-format">Made for</label>
          <div class="knob-control">
            <select
              id="merged-format"
              disabled={writing.value !== null}
              value={form.value.format}
              onChange={(event) => {
                const format = event.currentTarget.value as MergedFormat;
                form.value = { format, type: format === "gguf" ? "f16" : undefined };
              }}
            >
              <Options all={FORMS} />
            </select>
          </div>
        </div>
        <div class="knob">
          <label for="merged-type">Each number in</label>
          <div class="knob-control">
            <select
              id="merged-type"
              disabled={writing.value !== null}
              value={form.value.type ?? ""}
              onChange={(event) => {
                form.value = {
                  ...form.value,
                  type: (event.currentTarget.value || undefined) as MergedType | undefined,
                };
              }}
            >
              <Options all={isGguf ? [...BITS, EIGHT] : [AS_THEY_ARE, ...BITS]} />
            </select>
          </div>
        </div>
      </div>
      {refusal.value && (
        <p class="note">
          <Quoted words={`${sentence(refusal.value.message)} ${refusal.value.hint}`} />
        </p>
      )}
      <Notices notices={[...(ahead.value?.warnings ?? [])]} />
      {writing.value ? <Writing {...writing.value} /> : <Download />}
      {told.value && <p role="status">{told.value}</p>}
    </>
  );
}

function Options({ all }: { all: { value: string; label: string }[] }) {
  return (
    <>
      {all.map(({ value, label }) => (
        <option key={value} value={value}>
          {label}
        </option>
      ))}
    </>
  );
}

function Download() {
  return (
    <div class="buttons">
      <button type="button" disabled={!ahead.value} onClick={downloadMerged}>
        Download the merged model{ahead.value && `, ${bytes(ahead.value.bytes)}`}
      </button>
    </div>
  );
}

function Writing({ done, total }: { done: number; total: number }) {
  return (
    <>
      <p>
        Written: {megabytes(done, total)} ({percent(total > 0 ? done / total : 0)}).
      </p>
      <progress value={done} max={total} aria-label="The merged model" />
      <div class="buttons">
        <button type="button" onClick={giveUp}>
          Give up
        </button>
      </div>
    </>
  );
}
