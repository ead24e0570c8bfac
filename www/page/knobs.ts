/** The one table of settings: what a visitor may change, in which words. */

import type { Settings } from "../api/types";

/** Choices that are the page's, not a run's. Each is "auto" unless it is made. */
export const PAGE_CHOICES = ["device", "weights", "workers", "theme", "hub"] as const;
export type PageChoice = (typeof PAGE_CHOICES)[number];

/** What can be in the page's address. */
export interface Named {
  key: keyof Settings | PageChoice;
  label: string;
  /** Absent: a number. */
  choices?: { value: string; label: string }[];
}

export interface Knob extends Named {
  key: keyof Settings;
  /** Only an adapter has it. */
  ofAdapter?: true;
  unit?: string;
  what: string;
  when: string;
}

const noOrYes = [
  { value: "false", label: "no" },
  { value: "true", label: "yes" },
];

export const knobs: Knob[] = [
  {
    key: "method",
    label: "What learns",
    choices: [
      { value: "lora", label: "an adapter" },
      { value: "full", label: "the layers" },
    ],
    what: "An adapter (LoRA) leaves the model as it is. With the layers (full fine-tuning), you keep a whole model.",
    when: "An adapter suits most texts; the layers take several times the memory.",
  },
  {
    key: "steps",
    label: "Steps",
    what: "How many times the model reads a batch of your rows and adjusts what learns.",
    when: "More for a long text. You can stop early and keep the best so far.",
  },
  {
    key: "lr",
    label: "Learning rate",
    what: "How large each adjustment is.",
    when: "Lower it if the loss jumps about or climbs; raise it if hardly anything changes.",
  },
  {
    key: "batch",
    label: "Batch",
    unit: "rows per step",
    what: "How many rows the model reads before each adjustment.",
    when: "Fewer for a slow machine or little memory.",
  },
  {
    key: "seqLen",
    label: "Length of a row",
    unit: "tokens",
    what: "How much text the model sees in one go. A token is a piece of a word.",
    when: "Longer for texts whose thoughts run over pages; shorter for a short text.",
  },
  {
    key: "rank",
    ofAdapter: true,
    label: "Rank",
    what: "How many directions of change each layer may learn. The adapter grows with it.",
    when: "8 suits most texts; try 16 or 32 for a long or varied one.",
  },
  {
    key: "alpha",
    ofAdapter: true,
    label: "Alpha",
    what: "How strongly the adapter acts: what it adds is multiplied by alpha ÷ rank.",
    when: "Leave it at twice the rank unless you follow a recipe.",
  },
  {
    key: "targets",
    ofAdapter: true,
    label: "Layers that learn",
    choices: [
      { value: "all-linear", label: "all of them" },
      { value: "attention", label: "attention only" },
    ],
    what: "Which matrices of the model get an adapter.",
    when: "Attention only makes a smaller adapter that learns a little less.",
  },
  {
    key: "lean",
    label: "Somewhat less memory",
    choices: noOrYes,
    what: "Norms and activations are computed again for the gradient instead of being kept (lean recomputation).",
    when: "Yes if memory is short: nothing else changes, and it is hardly slower. Runs that would not fit use it.",
  },
  {
    key: "checkpointing",
    label: "Less memory, more time",
    choices: noOrYes,
    what: "Every block of the model is computed again for its gradient instead of being kept (gradient checkpointing).",
    when: "Yes if memory is still short: the result is the same. A run that would not fit turns it on by itself.",
  },
  {
    key: "packing",
    label: "Short examples share rows",
    choices: [
      { value: "false", label: "no" },
      { value: "true", label: "yes" },
    ],
    what: "Short examples are put into one row, where they do not see each other (packing).",
    when: "Yes for many short examples: less time is spent on empty places. Plain text fills its rows anyway.",
  },
];

/** Those that a run with these settings has. */
export const knobsOf = (settings: Settings | null): Knob[] =>
  knobs.filter(({ ofAdapter }) => !ofAdapter || settings?.method !== "full");

/** These can be in the address too. The sample prompt cannot, because it can be a visitor's own words. */
const addressOnly: Named[] = [
  { key: "accumulate", label: "Batches per step" },
  {
    key: "schedule",
    label: "Course of the learning rate",
    choices: [
      { value: "linear", label: "falling evenly" },
      { value: "cosine", label: "falling in a curve" },
      { value: "constant", label: "staying the same" },
    ],
  },
  { key: "warmup", label: "Part of the run for warming up" },
  { key: "clip", label: "Largest gradient" },
  { key: "weightDecay", label: "Weight decay" },
  { key: "dropout", label: "Dropout" },
  { key: "holdout", label: "Part of the rows held out" },
  { key: "evalEvery", label: "Steps between tests on the held-out rows" },
  { key: "patience", label: "Tests without progress that end the run" },
  { key: "sampleEvery", label: "Steps between samples" },
  { key: "seed", label: "Seed" },
  {
    key: "shuffle",
    label: "Rows in mixed order",
    choices: noOrYes,
  },
  { key: "maxTokens", label: "Longest sample, in tokens" },
  {
    key: "device",
    label: "What computes",
    choices: [
      { value: "auto", label: "a graphics card if there is one" },
      { value: "gpu", label: "a graphics card" },
      { value: "cpu", label: "the processor" },
    ],
  },
  {
    key: "weights",
    label: "How the numbers of the model are kept",
    choices: [
      { value: "auto", label: "as in its file" },
      { value: "f32", label: "in 32 bits" },
      { value: "f16", label: "in 16 bits" },
      { value: "int8", label: "in 8 bits" },
      { value: "int4", label: "in 4 bits" },
    ],
  },
  {
    key: "workers",
    label: "How many workers compute on the processor",
    choices: [
      { value: "auto", label: "half as many as it has threads" },
      ...Array.from({ length: 8 }, (_, i) => ({ value: String(i + 1), label: String(i + 1) })),
    ],
  },
  { key: "hub", label: "Address of the Hub" },
  {
    key: "theme",
    label: "Colours",
    choices: [
      { value: "auto", label: "same as the system" },
      { value: "light", label: "light" },
      { value: "dark", label: "dark" },
    ],
  },
];

const named = new Map<string, Named>([...addressOnly, ...knobs].map((each) => [each.key, each]));

/** Undefined for what is no setting of this page. */
export const nameOf = (key: string): Named | undefined => named.get(key);

export const isPageChoice = (key: string): key is PageChoice => (PAGE_CHOICES as readonly string[]).includes(key);

export const isKnob = (key: string): key is Knob["key"] => knobs.some((knob) => knob.key === key);
