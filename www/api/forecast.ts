/** What is known of a model before it is created: how much is to be fetched, and what a run takes. */

import type { Availability, Available } from "./availability";
import { loraError } from "./errors";
import { fetchThing } from "./fetching";
import { filesIn, onDisk } from "./host";
import { glanceAt, type HubOptions } from "./hub";
import { modelFiles } from "./model_files";
import { chosenFiles, MODEL, type ModelSource, type PackagedModel } from "./model_source";
import { blankAfter, headerEnd, LENGTH_BYTES } from "./outline";
import { type PlanOptions, plan } from "./planner";
import type { ModelFiles } from "./weights";

/** Files that a run can be planned from, and the bytes that are still to come. */
export interface Glance {
  files?: ModelFiles | undefined;
  download?: number | undefined;
}

/** `planning` is left out where no engine can be started for it. */
export async function forecast(
  found: Available,
  model: ModelSource,
  hub: HubOptions,
  planning: PlanOptions | undefined,
): Promise<Availability> {
  try {
    const { files, download } = await glance(model, hub);
    const foreseen = files && planning && (await plan(files, planning));
    const bytes = {
      ...(download === undefined ? {} : { download }),
      ...(foreseen ? { gpuPeak: foreseen.memory } : {}),
    };
    if (!foreseen) return { ...found, bytes };
    const { memory: _, ...run } = foreseen;
    return { ...found, bytes, run };
  } catch (error) {
    if (hub.signal?.aborted) throw error;
    const { code, message: reason, hint: advice } = loraError(error);
    return { state: "unavailable", code, reason, advice };
  }
}

async function glance(source: ModelSource, hub: HubOptions): Promise<Glance> {
  if (typeof source === "string") return glanceAt(source, hub);
  if ("files" in source) return { files: modelFiles(chosenFiles(source.files)), download: 0 };
  if ("folder" in source) return { files: modelFiles(await filesIn(source.folder)), download: 0 };
  return "url" in source ? {} : packaged(source, hub.signal);
}

async function packaged(source: PackagedModel, signal: AbortSignal | undefined): Promise<Glance> {
  const { name, config, tokenizer, weights, bytes } = source;
  const there = onDisk(weights);
  if (there) {
    const [first, second] = await Promise.all([onDisk(config), onDisk(tokenizer)]);
    if (first && second)
      return { files: { name, config: first, tokenizer: second, weights: await there }, download: 0 };
  }
  const [small, head] = await Promise.all([
    fetchThing(
      MODEL,
      config,
      (response) => response.blob(),
      () => {},
      signal,
    ),
    fetchThing(MODEL, weights, headOf, () => {}, signal),
  ]);
  const files = { name, config: small, tokenizer: new Blob(), weights: blankAfter(head, lengthOf(head)) };
  return { files, download: bytes };
}

/** The header of a safetensors file; what follows it is not waited for. */
async function headOf(response: Response): Promise<Uint8Array<ArrayBuffer>> {
  const pieces: BlobPart[] = [];
  let head: Uint8Array<ArrayBuffer> = new Uint8Array();
  const reader = response.body?.getReader();
  for (;;) {
    const { value } = (await reader?.read()) ?? {};
    if (!value) return head;
    pieces.push(value as Uint8Array<ArrayBuffer>);
    head = new Uint8Array(await new Blob(pieces).arrayBuffer());
    const end = headerEnd(head);
    if (head.length < LENGTH_BYTES || (end !== null && end > head.length)) continue;
    await reader?.cancel();
    return head.subarray(0, end ?? 0);
  }
}

/** Of the whole file: the header says where its last tensor ends. The engine says what is wrong with others. */
function lengthOf(head: Uint8Array<ArrayBuffer>): number {
  try {
    const entries = JSON.parse(new TextDecoder().decode(head.subarray(LENGTH_BYTES))) as Record<
      string,
      { data_offsets?: [number, number] }
    >;
    const ends = Object.values(entries).map((entry) => entry.data_offsets?.[1] ?? 0);
    return head.length + Math.max(0, ...ends);
  } catch {
    return head.length;
  }
}
